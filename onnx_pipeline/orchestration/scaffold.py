"""What `dg scaffold defs onnx_pipeline.OnnxScoring <name>` writes."""

import dagster as dg
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


class OnnxScoringParameters(BaseModel):
    """Options of `dg scaffold defs`."""

    onnx: str = Field("model.onnx", description="The model: a path beside defs.yaml or from the project's root.")
    table: str = Field("my_table", description="The table to score.")
    key: str = Field("id", description="The column that identifies a row.")
    target: str | None = Field(None, description="The table of predictions; by default <table>_predictions.")


class OnnxScoringScaffolder(dg.Scaffolder[OnnxScoringParameters]):
    """Writes a defs.yaml that loads as it is, with its options filled in."""

    @classmethod
    def get_scaffold_params(cls) -> type[OnnxScoringParameters]:
        return OnnxScoringParameters

    def scaffold(self, request: dg.ScaffoldRequest[OnnxScoringParameters]) -> None:
        options = request.params or OnnxScoringParameters()
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = _TEMPLATE.format(
            onnx=options.onnx,
            table=options.table,
            key=options.key,
            target=options.target or f"{options.table}_predictions",
        )
        (request.target_path / "defs.yaml").write_text(text)
