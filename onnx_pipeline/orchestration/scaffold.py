"""What `dg scaffold defs onnx_pipeline.OnnxScoring <name>` writes."""

import json
import re
import sys

import dagster as dg
import yaml
from pydantic import BaseModel, Field

__all__ = ["OnnxScoringScaffolder"]

_TEMPLATE = """\
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: {onnx}
  source: {{table: {table}}}
  key: [{key}]
  # Rows are scored by partition of a date, a list of values or hash buckets; without this, all at once.
  # partitions: {{column: created_on, every: day, start: 2026-01-01}}
  target: {target}
"""

_PLAIN = re.compile(r"[A-Za-z_][\w./:-]*")


class OnnxScoringParameters(BaseModel):
    """Options of `dg scaffold defs`."""

    onnx: str = Field("model.onnx", description="The model: a path beside defs.yaml or from the project's root.")
    table: str = Field("my_table", description="The table to score.")
    key: str = Field("id", description="The column that identifies a row.")
    target: str | None = Field(None, description="The table of predictions; by default <table>_predictions.")


class OnnxScoringScaffolder(dg.Scaffolder[OnnxScoringParameters]):
    """Writes a defs.yaml that loads as it is, with its options filled in, and says which were not given."""

    @classmethod
    def get_scaffold_params(cls) -> type[OnnxScoringParameters]:
        return OnnxScoringParameters

    def scaffold(self, request: dg.ScaffoldRequest[OnnxScoringParameters]) -> None:
        options = request.params or OnnxScoringParameters()
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = _TEMPLATE.format(
            onnx=_scalar(options.onnx),
            table=_scalar(options.table),
            key=_scalar(options.key),
            target=_scalar(options.target or re.sub(r"(\]?)$", r"_predictions\1", options.table, count=1)),
        )
        file = request.target_path / "defs.yaml"
        file.write_text(text)
        # Dagster hands over defaults as if they had been given.
        fields = type(options).model_fields
        assumed = [name for name in ("onnx", "table", "key") if getattr(options, name) == fields[name].default]
        if assumed:
            named = ", ".join(f"--{name} is {getattr(options, name)}" for name in assumed)
            sys.stderr.write(
                f"By default {named}: correct that in {file} where it is not so. `onnx-pipeline validate` says what is "
                "still missing.\n"
            )


def _scalar(text: str) -> str:
    """A text as YAML reads it again: a name with brackets, blanks or a word like `no` goes into quotes."""
    return text if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text else json.dumps(text, ensure_ascii=False)
