"""`onnx-pipeline pending` and `onnx-pipeline run`."""

import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Column, Table

from onnx_pipeline.cli.chosen import chosen
from onnx_pipeline.cli.execute import execute
from onnx_pipeline.cli.failures import Failures
from onnx_pipeline.cli.outside import notes_of, print_notes
from onnx_pipeline.cli.status import print_status
from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.orchestration.automation import REQUESTED_BY_TAG, tags_of
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.scoring.pending import Outlook, contiguous, outlook
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.readiness import ready_plan
from onnx_pipeline.scoring.request import Request, requested
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["run_slices", "show_pending"]

_SHOWN = 40


def _plan(spec: ScoringSpec, pool: Pool) -> ScoringPlan:
    return ready_plan(spec, pool, ArtifactStoreResource().open())


def show_pending(names: Sequence[str], *, as_json: bool) -> None:
    """Print the partitions that need scoring; a scoring that cannot run is named at the end and hides no other's."""
    found: dict[str, Outlook] = {}
    notes: list[str] = []
    pool = open_pool(pool_url())
    asked = chosen(names)
    failures = Failures(pool, asked.broken)
    for spec in asked.whole:
        with failures.of(spec.scoring):
            plan = _plan(spec, pool)
            looked = outlook(spec, pool, plan.partitioning, plan.model.sha256, source=plan.source)
            found[spec.scoring] = looked
            notes += notes_of(spec, plan.partitioning, looked.inventory)
    _print_pending(found, as_json=as_json, others_failed=bool(failures))
    print_notes(notes)
    failures.end()


def _print_notes(console: Console, scoring: str, found: Outlook) -> None:
    for note in found.notes:
        console.print(f"{scoring}: {note}.", soft_wrap=True, highlight=False)


def _print_pending(outlooks: Mapping[str, Outlook], *, as_json: bool, others_failed: bool) -> None:
    found = {scoring: looked.slices for scoring, looked in outlooks.items()}
    if as_json:
        rows = [
            {"scoring": scoring, "partition": piece.partition_key, "reason": piece.reason.value, "rows": piece.rows}
            for scoring, slices in found.items()
            for piece in slices
        ]
        print(json.dumps(rows, indent=1))
        return
    console = terminal()
    total = sum(map(len, found.values()))
    if not total:
        if found:
            console.print(f"{', '.join(found)}: nothing is pending." if others_failed else "Nothing is pending.")
        for scoring, looked in outlooks.items():
            _print_notes(console, scoring, looked)
        return
    table = Table("scoring", "partition", "reason", Column("rows", justify="right"), "what changed")
    for scoring, slices in found.items():
        for piece in slices[:_SHOWN]:
            table.add_row(scoring, piece.partition_key, piece.reason.value, f"{piece.rows:,}", piece.detail)
        if len(slices) > _SHOWN:
            table.add_row(scoring, f"... {len(slices) - _SHOWN} more", "", "", "")
    console.print(uncut(table))
    console.print(f"{total} {'partition needs' if total == 1 else 'partitions need'} scoring.")
    for scoring, looked in outlooks.items():
        _print_notes(console, scoring, looked)


def run_slices(names: Sequence[str], request: Request) -> None:
    """Ask each scoring's job for the slices that are asked for, one `dagster job execute` per run of neighbours.

    A scoring that cannot run, or whose run failed, holds up no other one; what failed is raised at the end.
    """
    console = terminal()
    asked = chosen(names)
    pool = open_pool(pool_url())
    failures = Failures(pool, asked.broken)
    for spec in asked.whole:
        with failures.of(spec.scoring):
            _run(console, spec, pool, request)
    if asked.whole:
        print_status(asked.whole, pool, failures)
    failures.end()


def _run(console: Console, spec: ScoringSpec, pool: Pool, request: Request) -> None:
    plan = _plan(spec, pool)
    # The status at the end says what has no partition.
    found = requested(plan, pool, request)
    slices = found.slices
    if not slices:
        console.print(f"{spec.scoring}: {'no partition has rows' if request.everything else 'nothing is pending'}.")
    _print_notes(console, spec.scoring, found)
    if not slices:
        return
    partitions = plan.partitioning
    for group in contiguous(slices, partitions.keys(), most=spec.partitions_per_run):
        tags = tags_of(group, partitioned=partitions.definition is not None)
        execute(console, spec, group, tags | {REQUESTED_BY_TAG: "onnx-pipeline run"})
