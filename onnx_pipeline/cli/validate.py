"""`onnx-pipeline validate`."""

import json
from collections.abc import Mapping, Sequence

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from onnx_pipeline.cli.chosen import chosen
from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.pools import open_pool
from onnx_pipeline.project import found_scorings
from onnx_pipeline.scoring.validation import Finding, Level, validate

__all__ = ["validate_scorings"]

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILED: "bold red"}


def validate_scorings(names: Sequence[str], *, as_json: bool) -> None:
    """Print what is found of each scoring; exit code 1 where something fails."""
    asked = chosen(names)
    everyone = found_scorings().whole if names else asked.whole
    pool = open_pool(pool_url())
    found = {scoring: [Finding("spec", Level.FAILED, str(error))] for scoring, error in asked.broken.items()}
    for scoring, findings in found.items():
        if not as_json:
            _print(scoring, findings)
    for spec in asked.whole:
        found[spec.scoring] = validate(spec, pool, everyone)
        if not as_json:
            _print(spec.scoring, found[spec.scoring])
    failed = [scoring for scoring, findings in found.items() if any(one.level is Level.FAILED for one in findings)]
    if as_json:
        print(json.dumps(_records(found), indent=1))
    elif found:
        told = f"{', '.join(failed)} cannot run." if failed else "nothing keeps them from running."
        terminal().print(f"{len(found)} {'scoring' if len(found) == 1 else 'scorings'}: {told}")
    if failed:
        raise typer.Exit(1)


def _print(scoring: str, findings: Sequence[Finding]) -> None:
    table = Table("", "", "", title=scoring, title_justify="left", box=box.SIMPLE, show_header=False)
    for finding in findings:
        table.add_row(Text(finding.level.value, style=_STYLES[finding.level]), finding.about, Text(finding.text))
    terminal().print(uncut(table))


def _records(found: Mapping[str, Sequence[Finding]]) -> list[dict[str, str]]:
    return [
        {"scoring": scoring, "about": one.about, "level": one.level.value, "text": one.text}
        for scoring, findings in found.items()
        for one in findings
    ]
