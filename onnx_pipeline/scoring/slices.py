"""The slices of a run, one after the other, by the engine's way: rows through this process, or scored where they lie.

A slice that is refused is withdrawn, and the others go on.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.errors import DataError, OnnxPipelineError, PoolError
from onnx_pipeline.engines.base import Engine, PoolEngine, StreamEngine
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.extract import ExtractedSlice, extract
from onnx_pipeline.scoring.landing import land, survey
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline.scoring.offending import in_source, refused_row
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import PredictedSlice, predict
from onnx_pipeline.scoring.refusals import Watch, withdraw
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.scoring.statistics import Summary, summaries_from_json
from onnx_pipeline.scoring.verdicts import Reference
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["feature_slices", "predict_slices"]


def feature_slices(
    plan: ScoringPlan,
    pool: Pool,
    staging: Staging,
    keys: Sequence[str],
    *,
    say: Callable[[str], None],
    watch: Watch | None = None,
) -> Iterator[ExtractedSlice]:
    """Stage the features of `keys`, or record what is found of them where the engine scores elsewhere.

    Without a `watch`, the first refusal is raised at the end.
    """
    if plan.spec.engine.runs == "here":
        yield from extract(plan, pool, staging, keys, say=say, watch=watch)
        return
    yield from survey(plan, pool, staging, keys, watch=watch)


def predict_slices(
    plan: ScoringPlan,
    engine: Engine[Any],
    pool: Pool,
    staging: Staging,
    keys: Sequence[str],
    *,
    say: Callable[[str], None],
    watch: Watch | None = None,
) -> Iterator[PredictedSlice]:
    """Score the slices of `keys`: the staged ones here, or where they lie, as the engine does; yields each once staged.

    Each is compared with the partition before it, as scored here, else as the scoring log has it; where partitions have
    no order, with its own last run, of which the log tells until this one is loaded. A slice that is refused is
    withdrawn, and the others go on. Without a `watch`, the first refusal is raised at the end.
    """
    watching = watch or Watch()
    before = {key: plan.partitioning.compared_with(key) for key in keys}
    marks = Marks(plan, pool)
    known = _logged_summaries(pool, plan.spec, {key for key in before.values() if key is not None})

    def score(key: str, reference: Reference | None) -> PredictedSlice:
        if isinstance(engine, PoolEngine):
            return land(marks, engine, staging, key, say=say, reference=reference, watch=watching)
        assert isinstance(engine, StreamEngine)
        return predict(plan, engine, staging, key, say=say, reference=reference, watch=watching)

    def told(key: str, error: DataError | PoolError) -> OnnxPipelineError:
        """The refusal of a slice with its first row; a statement that failed for another reason as it is."""
        if not isinstance(engine, PoolEngine):
            return refused_row(plan, key, error, partial(staged, key)) if isinstance(error, DataError) else error
        if isinstance(error, DataError) or type(error) is PoolError:
            return refused_row(plan, key, error, partial(in_source, plan, pool, key))
        return error

    def staged(key: str) -> Iterator[pa.RecordBatch]:
        with staging.open(plan.spec.scoring, "features", key) as (_, reader):
            yield from reader

    for key in keys:
        previous = before[key]
        summaries = known.get(previous) if previous is not None else None
        reference = Reference(previous, summaries) if previous is not None and summaries is not None else None
        try:
            piece = score(key, reference)
        except (DataError, PoolError) as error:
            refusal = told(key, error)
            if not isinstance(refusal, DataError):
                raise
            withdraw(staging, pool, plan.spec.scoring, "predictions", key, refusal, watching)
            continue
        known[key] = {name: column.summary() for name, column in piece.statistics.items()}
        yield piece
    if watch is None:
        watching.end()


def _logged_summaries(pool: Pool, spec: ScoringSpec, keys: Collection[str]) -> dict[str, dict[str, Summary]]:
    scored = pool.scored(spec.scoring, spec.target_table) if keys else None
    log = scored.rows if scored is not None and scored.target.exists else {}
    return {key: summaries_from_json(row.statistics) for key, row in log.items() if key in keys and row.rows}
