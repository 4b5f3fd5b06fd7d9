"""What `dg scaffold defs onnx_pipeline.OnnxScoring <name>` writes."""

import json
import re
import sys
from pathlib import Path

import click
import dagster as dg
import yaml
from pydantic import BaseModel, Field

__all__ = ["OnnxScoringScaffolder"]

_TEMPLATE = """\
type: {type}

attributes:
  onnx: {onnx}
  source: {{table: {table}}}
  key: [{key}]
  # Rows are scored by partition of a date, a list of values or hash buckets; without this, all at once.
  # partitions: {{column: created_on, every: day, start: 2026-01-01}}
  target: {target}
"""

_PLAIN = re.compile(r"[A-Za-z_][\w./:-]*")


_ASSUMED = {"onnx": "model.onnx", "table": "my_table", "key": "id"}
"""What stands in the file where nothing was said: it loads, and is to be corrected."""


class OnnxScoringParameters(BaseModel):
    """Options of `dg scaffold defs`; None is what was not said.

    Dagster hands over a field's default as if it had been given.
    """

    onnx: str | None = Field(None, description="The model: a path beside defs.yaml or from the project's root.")
    table: str | None = Field(None, description="The table to score.")
    key: str | None = Field(None, description="The column that identifies a row.")
    target: str | None = Field(None, description="The table of predictions; by default <table>_predictions.")


class OnnxScoringScaffolder(dg.Scaffolder[OnnxScoringParameters]):
    """Writes a defs.yaml that loads as it is. What no option says is asked for on a terminal, and else told."""

    @classmethod
    def get_scaffold_params(cls) -> type[OnnxScoringParameters]:
        return OnnxScoringParameters

    def scaffold(self, request: dg.ScaffoldRequest[OnnxScoringParameters]) -> None:
        options = request.params or OnnxScoringParameters()
        given = {name: value for name in _ASSUMED if (value := getattr(options, name)) is not None}
        missing = [name for name in _ASSUMED if name not in given]
        if sys.stdin.isatty():
            given |= _asked(missing, request.target_path)
            missing = []
        said = {**_ASSUMED, **given}
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = _TEMPLATE.format(
            type=request.type_name.replace("onnx_pipeline.component.", "onnx_pipeline."),
            onnx=_scalar(said["onnx"]),
            table=_scalar(said["table"]),
            key=_scalar(said["key"]),
            target=_scalar(options.target or re.sub(r"(\]?)$", r"_predictions\1", said["table"], count=1)),
        )
        file = request.target_path / "defs.yaml"
        file.write_text(text)
        if missing:
            named = ", ".join(f"--{name} is {said[name]}" for name in missing)
            sys.stderr.write(
                f"By default {named}: correct that in {file} where it is not so. `onnx-pipeline validate` says what is "
                "still missing.\n"
            )


def _asked(names: list[str], folder: Path) -> dict[str, str]:
    """What somebody at a terminal answers; whoever gives up finds no folder that is in the way of the next try."""
    fields = OnnxScoringParameters.model_fields
    try:
        return {
            name: str(click.prompt(f"--{name}: {str(fields[name].description).rstrip('.')}", default=_ASSUMED[name]))
            for name in names
        }
    except click.Abort:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _scalar(text: str) -> str:
    """A text as YAML reads it again: a name with brackets, blanks or a word like `no` goes into quotes."""
    return text if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text else json.dumps(text, ensure_ascii=False)
