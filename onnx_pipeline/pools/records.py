"""What pools take and give: sources, targets, slices on their way, rows of the scoring log."""

import datetime
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.base.instants import instant_text, instant_texts, is_instant, ticks
from onnx_pipeline.pools.rows import Rows, StagedRows
from onnx_pipeline.spec.target import PROVENANCE, TargetSpec

__all__ = [
    "LOG_TABLE",
    "MODELS_TABLE",
    "NORMALISED",
    "Fingerprint",
    "Loaded",
    "LogRow",
    "Scored",
    "SliceLoad",
    "Source",
    "Standing",
    "Target",
    "Verify",
    "changed_order",
    "changed_text",
    "changed_texts",
    "is_empty",
]


MODELS_TABLE = "onnx_models"

NORMALISED = "normalised"
"""The form of a registered model that ONNX Runtime and the external language run: `OnnxModel.normalised`."""

LOG_TABLE = "onnx_scoring_log"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells whether a slice changed: its row count and, where the spec names it, the largest `changed` as text."""

    rows: int
    changed: str | None = None


@dataclass(frozen=True)
class Source:
    """The rows to score, as something a statement can select from."""

    description: str
    """What a person calls it: the table's name, or `query`."""
    schema: pa.Schema
    selectable: sa.FromClause
    collations: Callable[[], Mapping[str, str]] = field(default=dict, compare=False)
    """By which collation the pool compares the columns of text that have one; asked for only where it matters."""
    never_null: Callable[[], Collection[str]] = field(default=frozenset, compare=False)
    """The columns that the pool declares NOT NULL, as far as it says so; asked for only where it matters."""

    def name(self, column: str, *, role: str = "column") -> str:
        """The column's name as the pool spells it; SQL names are compared without case where that is unambiguous."""
        if column in self.schema.names:
            return column
        folded: list[str] = [name for name in self.schema.names if name.casefold() == column.casefold()]
        if len(folded) == 1:
            return folded[0]
        raise SignatureError(
            f"{role}: {self.description} has no column {column!r}; {closest(column, self.schema.names)}"
        )

    def column(self, column: str, *, role: str = "column") -> sa.ColumnElement[Any]:
        return self.selectable.c[self.name(column, role=role)]


@dataclass(frozen=True)
class Target:
    """A table of predictions: key columns, output columns, provenance columns."""

    table: str
    schema: pa.Schema
    key: tuple[str, ...]
    options: TargetSpec | None = None
    """How the table is laid out, for pools where that is to be chosen."""
    collations: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Key columns of text to the source's collation: two keys are one for the target where they are for the source."""

    @property
    def staged_schema(self) -> pa.Schema:
        """Key and output columns with their types."""
        return pa.schema([field for field in self.schema if field.name not in PROVENANCE])

    @property
    def staged_names(self) -> list[str]:
        """Key and output columns: what staging holds. Provenance is added while loading."""
        return [name for name in self.schema.names if name not in PROVENANCE]


@dataclass(frozen=True, slots=True)
class LogRow:
    """What the scoring log says of one slice in one target."""

    scoring: str
    partition_key: str
    model_sha256: str
    rows: int
    fingerprint: Fingerprint
    seconds: float
    run_id: str
    scored_at: datetime.datetime
    """UTC."""
    statistics: str
    """JSON: per output column what `scoring.statistics` keeps."""
    target: str | None = None
    """The table that the slice stands in, as the pool names it: `schema.table`. None in rows of an earlier version."""
    settings: str | None = None
    """Fingerprint of what beside the model decides a prediction (`scoring.settings`). None in rows of an earlier version."""
    partitions: str | None = None
    """How the source was cut, as JSON (`Partitioning.way`). None in rows of an earlier version."""


@dataclass(frozen=True)
class Standing:
    """A table as the pool resolves its name."""

    name: str
    """`schema.table` as the catalogue spells them, else in the schema that a new table of that name would stand in."""
    exists: bool


@dataclass(frozen=True)
class Scored:
    """What a pool knows of a scoring and its target, by one look."""

    target: Standing
    rows: Mapping[str, LogRow]
    """The log's rows of the target's slices, by partition key. A row that names no target counts as this one's."""
    elsewhere: Mapping[str, int]
    """How many slices of the scoring stand in other targets, by target; those without rows are not counted."""
    owner: str | None
    """Another scoring that the log has rows of in this target; None where there is none."""
    signatures: Mapping[str, str]
    """Of the models that made the slices, by sha256: what the models table keeps as their signature."""


@dataclass(frozen=True)
class SliceLoad:
    """One slice's predictions, on their way into the target."""

    log: LogRow
    rows: Rows


@dataclass(frozen=True)
class Loaded:
    """What a load did to the target, as counted by the pool inside the transaction."""

    partition_key: str
    inserted: int
    updated: int
    deleted: int
    present: int
    """Rows of the partition that stand in the target at the end of the transaction: all of them for `replace`, which leaves
    no others, else those of this run."""
    null_keys: int
    duplicate_keys: int
    seconds: float = field(compare=False, default=0.0)
    examples: tuple[str, ...] = field(compare=False, default=())
    """Some keys that occur more than once, as text."""
    hint: str = field(compare=False, default="")
    """Why they do, where the pool knows."""


Verify = Callable[[Loaded], None]
"""Called before the commit with what the pool counted; raising rolls everything back. Once per attempt: a retried load
calls it again."""


def is_empty(piece: SliceLoad) -> bool:
    """Whether a slice has no rows, neither in the source nor staged, so that nothing of it need be read."""
    return piece.log.rows == piece.log.fingerprint.rows == 0 and isinstance(piece.rows, StagedRows)


def changed_order(value: pa.Scalar) -> Any:
    """What tells which of two `changed` values of one column is the later one; neither is NULL."""
    if is_instant(value.type):
        return value.value
    plain = value.as_py()
    # NaN is greater than every number, as `max` of DuckDB has it.
    return (math.isnan(plain), plain) if isinstance(plain, float) else plain


def changed_text(value: pa.Scalar | None) -> str | None:
    """A `changed` value as the log keeps it: compared for equality only."""
    if value is None or not value.is_valid:
        return None
    if is_instant(value.type):
        return instant_text(value.value, value.type)
    plain = value.as_py()
    # Which of -0.0 and 0.0 is the greatest is left open.
    return str(plain + 0.0 if isinstance(plain, float) else plain)


def changed_texts(values: pa.Array) -> list[str | None]:
    """`[N]` values of a `changed` column → what the log keeps of each, as `changed_text` has it."""
    if not pa.types.is_timestamp(values.type):
        return [changed_text(value) for value in values]
    texts: list[str | None] = [*instant_texts(ticks(values), values.type)]
    return (
        texts
        if not values.null_count
        else [text if value.is_valid else None for text, value in zip(texts, values, strict=True)]
    )
