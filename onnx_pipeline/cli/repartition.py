"""`onnx-pipeline repartition`."""

from onnx_pipeline.cli.execute import execute
from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.orchestration.automation import REQUESTED_BY_TAG, tags_of
from onnx_pipeline.orchestration.names import INTO_TAG, SIDE_TABLE
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.pools import open_pool
from onnx_pipeline.project import find_scoring
from onnx_pipeline.scoring.pending import contiguous
from onnx_pipeline.scoring.readiness import ready_plan
from onnx_pipeline.scoring.repartition import Repartition, side_of

__all__ = ["repartition_scoring"]


def repartition_scoring(name: str, *, keep: bool) -> None:
    """Score all partitions into a table beside the target, then exchange the two with their log."""
    console = terminal(soft_wrap=True)
    spec, pool = find_scoring(name), open_pool(pool_url())
    plan = ready_plan(spec, pool, ArtifactStoreResource().open())
    work = Repartition(plan, pool, keep=keep)
    start = work.start()
    if start is None:
        console.print(
            f"{name}: nothing to do. {spec.target_table} holds no rows that were cut otherwise than `partitions` says."
        )
        return
    side, partitions = side_of(spec), plan.partitioning
    if start.done:
        stand = "partition stands" if start.done == 1 else "partitions stand"
        console.print(f"{name}: {start.done:,} {stand} in {side.target_table} already.")
    for group in contiguous(start.slices, partitions.keys(), most=spec.partitions_per_run):
        tags = tags_of(group, partitioned=partitions.definition is not None)
        execute(console, spec, group, tags | {REQUESTED_BY_TAG: "onnx-pipeline repartition", INTO_TAG: SIDE_TABLE})
    gone = work.gone()
    work.refuse_loss(gone)
    done = work.exchange()
    console.print(f"{name}: {done.now:,} rows stand in {spec.target_table} in place of {done.before:,}.")
    if gone:
        console.print(f"{gone:,} rows that stood there have no row of their key any more: no partition holds them now.")
    if work.backup is not None:
        console.print(f"The rows that stood are in {work.backup}, which you drop when you no longer need it.")
