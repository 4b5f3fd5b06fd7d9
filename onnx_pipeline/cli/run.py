"""`onnx-pipeline pending` and `onnx-pipeline run`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import ModelError, OnnxPipelineError, ServiceError, TargetError
from onnx_pipeline.cli.show import show_status
from onnx_pipeline.orchestration.automation import REQUESTED_BY_TAG, tags_of
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools import open_pool
from onnx_pipeline.project import current_project, find_scoring, scorings
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.pending import Outlook, PendingSlice, contiguous, outlook
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["chosen", "run_pending", "show_pending"]

_SHOWN = 40


def chosen(names: Sequence[str]) -> list[ScoringSpec]:
    """The scorings of those names; all of them where none is given."""
    found = [find_scoring(name) for name in names] if names else scorings()
    if not found:
        makes_one = "`dg scaffold defs onnx_pipeline.OnnxScoring <name>` makes one."
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"There is no scoring in {current_project().root}; {makes_one}")
    return found


def _find(spec: ScoringSpec) -> Outlook:
    store = ArtifactStoreResource().open()
    return outlook(spec, open_pool(pool_url()), partitioning(spec), model_origin(spec).latest(store).sha256)


def show_pending(names: Sequence[str], *, as_json: bool) -> None:
    """Print the slices that need scoring; a model that nobody can look at hides no other scoring's."""
    found, failures = {}, dict[str, OnnxPipelineError]()
    for spec in chosen(names):
        with _kept(spec, failures):
            found[spec.scoring] = _find(spec)
    _print_pending(found, as_json=as_json)
    _raise(failures)


def _print_notes(console: Console, scoring: str, found: Outlook) -> None:
    for note in found.notes:
        console.print(f"{scoring}: {note}.", soft_wrap=True, highlight=False)


def _print_pending(outlooks: Mapping[str, Outlook], *, as_json: bool) -> None:
    found = {scoring: looked.slices for scoring, looked in outlooks.items()}
    if as_json:
        rows = [
            {"scoring": scoring, "partition": piece.partition_key, "reason": piece.reason.value, "rows": piece.rows}
            for scoring, slices in found.items()
            for piece in slices
        ]
        print(json.dumps(rows, indent=1))
        return
    console = Console()
    total = sum(map(len, found.values()))
    if not total:
        if found:
            console.print("Nothing is pending.")
        for scoring, looked in outlooks.items():
            _print_notes(console, scoring, looked)
        return
    table = Table("scoring", "partition", "reason", "rows", "what changed")
    for scoring, slices in found.items():
        for piece in slices[:_SHOWN]:
            table.add_row(scoring, piece.partition_key, piece.reason.value, f"{piece.rows:,}", piece.detail)
        if len(slices) > _SHOWN:
            table.add_row(scoring, f"... {len(slices) - _SHOWN} more", "", "", "")
    console.print(table)
    console.print(f"{total} {'slice needs' if total == 1 else 'slices need'} scoring.")
    for scoring, looked in outlooks.items():
        _print_notes(console, scoring, looked)


def run_pending(names: Sequence[str]) -> None:
    """Ask each scoring's job for its pending slices, one `dagster job execute` per run of neighbours.

    A scoring whose model or run failed holds up no other one; what failed is raised at the end.
    """
    console = Console()
    specs = chosen(names)
    failures: dict[str, OnnxPipelineError] = {}
    for spec in specs:
        with _kept(spec, failures):
            _run(console, spec)
    if specs:
        show_status([spec.scoring for spec in specs])
    _raise(failures)


def _run(console: Console, spec: ScoringSpec) -> None:
    found = _find(spec)
    slices = found.slices
    if not slices:
        console.print(f"{spec.scoring}: nothing is pending.")
    _print_notes(console, spec.scoring, found)
    if not slices:
        return
    partitions = partitioning(spec)
    for group in contiguous(slices, partitions.keys(), most=spec.partitions_per_run):
        tags = tags_of(group, partitioned=partitions.definition is not None)
        _execute(console, spec, group, tags | {REQUESTED_BY_TAG: "onnx-pipeline run"})


class _RunError(OnnxPipelineError):
    """`dagster job execute` ended with another code than 0."""


@contextmanager
def _kept(spec: ScoringSpec, failures: dict[str, OnnxPipelineError]) -> Iterator[None]:
    """Keeps what concerns one scoring only; a pool or a spec that fails ends the command."""
    try:
        yield
    except (ModelError, ServiceError, TargetError, _RunError) as error:
        failures[spec.scoring] = error


def _raise(failures: Mapping[str, OnnxPipelineError]) -> None:
    if failures:
        raise OnnxPipelineError("\n".join(_named(scoring, error) for scoring, error in failures.items()))


def _named(scoring: str, error: OnnxPipelineError) -> str:
    return str(error) if isinstance(error, _RunError) else f"{scoring}: {type(error).__name__}: {error}"


def _execute(console: Console, spec: ScoringSpec, group: Sequence[PendingSlice], tags: dict[str, str]) -> None:
    first, last = group[0].partition_key, group[-1].partition_key
    span = first if first == last else f"{first} to {last}"
    rows = sum(piece.rows for piece in group)
    console.print(f"{spec.scoring}: {len(group)} {'slice' if len(group) == 1 else 'slices'}, {span}, {rows:,} rows")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", current_project().definitions_module]
    command += ["-j", spec.scoring, "--tags", json.dumps(tags)]
    environment = {"PYTHONWARNINGS": "ignore", **os.environ}
    if paths.resolve("dagster.yaml").exists():
        # Else Dagster forgets the run as soon as it has ended: history is not ours to spread over a project's root.
        environment.setdefault("DAGSTER_HOME", str(paths.home()))
    log = paths.resolve("data/last_run.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(command, cwd=paths.home(), env=environment, stdout=output, stderr=output, check=False)  # noqa: S603
    if done.returncode:
        raise _RunError(
            f"the run of {spec.scoring} over {span} failed with exit code {done.returncode}: {_cause(log.read_text())}"
            f"\nIts whole log is {log}."
        )


def _cause(log: str) -> str:
    """What a run's log says went wrong: our own failure where there is one, else its last lines."""
    failure = re.search(r"^dagster\._core\.definitions\.events\.Failure: (.+)$", log, re.MULTILINE)
    return failure.group(1) if failure else "\n".join(log.splitlines()[-20:])
