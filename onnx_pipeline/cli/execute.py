"""One `dagster job execute` of a scoring's job, and what went wrong in it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from onnx_pipeline.base import paths
from onnx_pipeline.base.disk import writing
from onnx_pipeline.cli.failures import RunError
from onnx_pipeline.project import current_project
from onnx_pipeline.scoring.pending import PendingSlice
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["execute"]


def execute(console: Console, spec: ScoringSpec, group: Sequence[PendingSlice], tags: Mapping[str, str]) -> None:
    """Score neighbouring slices in a process of their own. Raises RunError where that failed."""
    first, last = group[0].partition_key, group[-1].partition_key
    span = first if first == last else f"{first} to {last}"
    rows = sum(piece.rows for piece in group)
    counted = f"{len(group)} {'partition' if len(group) == 1 else 'partitions'}"
    console.print(f"{spec.scoring}: {counted}, {span}, {rows:,} rows")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", current_project().definitions_module]
    command += ["-j", spec.scoring, "--tags", json.dumps(dict(tags))]
    environment = {"PYTHONWARNINGS": "ignore", **os.environ}
    if paths.resolve("dagster.yaml").exists():
        # Else Dagster forgets the run as soon as it has ended: history is not ours to spread over a project's root.
        environment.setdefault("DAGSTER_HOME", str(paths.home()))
    # A failing run is the last one that a command starts for its scoring, so none is written over by another failure.
    log = paths.resolve(f"data/last_run/{spec.scoring}.log")
    with writing(log, RunError, lost=f"{spec.scoring} was not run", then="run this again"):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    with log.open("w") as output:
        done = subprocess.run(command, cwd=paths.home(), env=environment, stdout=output, stderr=output, check=False)  # noqa: S603
    if done.returncode:
        cause = _cause(log.read_text(encoding="utf-8", errors="replace"))
        raise RunError(
            f"the run of {spec.scoring} over {span} failed with exit code {done.returncode}: {cause}\n"
            f"Its whole log is {log}."
        )


def _cause(log: str) -> str:
    """What a run's log says went wrong: our own failure where there is one, else its last lines."""
    failure = re.search(r"^dagster\._core\.definitions\.events\.Failure: (.+)$", log, re.MULTILINE)
    return failure.group(1) if failure else "\n".join(log.splitlines()[-20:])
