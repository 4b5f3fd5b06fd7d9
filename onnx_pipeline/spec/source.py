"""The attribute `source`: the rows to score."""

from pydantic import Field, model_validator

from onnx_pipeline.spec.part import SpecPart

__all__ = ["SourceSpec"]


class SourceSpec(SpecPart):
    """The rows to score: a table, a query, or a file that holds one."""

    table: str | None = Field(
        None, description="Table or view, with its schema where it is not the default one: `dbo.encounters`."
    )
    query: str | None = Field(None, description="One SELECT in the pool's own SQL, which gets it to the byte.")
    file: str | None = Field(None, description="A `.sql` file beside `defs.yaml` that holds one SELECT.")
    changed: str | None = Field(
        None,
        description="Column that grows whenever a row changes (a time or a number). With it, changed rows are "
        "found even where the row count stays the same.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> "SourceSpec":
        given = [name for name in ("table", "query", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"source takes exactly one of table, query and file; got {given or 'none of them'}")
        return self
