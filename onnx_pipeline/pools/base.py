"""What every pool can do, whatever database it is.

A subclass is one database and states how that one differs. Statements are built by SQLAlchemy Core or come from `sql/`;
values are bound, identifiers quoted by the dialect.
"""

import datetime
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.arrow import mask, to_numpy
from onnx_pipeline.errors import SignatureError
from onnx_pipeline.hints import closest
from onnx_pipeline.partitions import Fingerprint, Inventory, Partitioning
from onnx_pipeline.spec import PROVENANCE, ScoringSpec, TargetSpec

__all__ = ["LOG_TABLE", "MODELS_TABLE", "Loaded", "LogRow", "Pool", "SliceLoad", "Source", "Target"]

MODELS_TABLE = "onnx_models"
LOG_TABLE = "onnx_scoring_log"


@dataclass(frozen=True)
class Source:
    """The rows to score, as something a statement can select from."""

    description: str
    """What a person calls it: the table's name, or `query`."""
    schema: pa.Schema
    selectable: sa.FromClause

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

    @property
    def staged_schema(self) -> pa.Schema:
        """Key and output columns with their types."""
        return pa.schema([field for field in self.schema if field.name not in PROVENANCE])

    @property
    def staged_names(self) -> list[str]:
        """Key and output columns: what staging holds. Provenance is added while loading."""
        return [name for name in self.schema.names if name not in PROVENANCE]


@dataclass(frozen=True)
class LogRow:
    """What the scoring log says of one slice."""

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
    """JSON: per output column what `onnx_pipeline.statistics` keeps."""


@dataclass(frozen=True)
class SliceLoad:
    """One slice's predictions, on their way into the target."""

    log: LogRow
    open: Callable[[], pa.RecordBatchReader]
    """Opens the staged predictions, key and output columns, from their first row: once per attempt, and one at a time,
    before the next slice is asked for."""
    keys_ascend: bool
    """Whether the staged keys were seen to be strictly ascending, and so are unique without asking the pool."""
    bytes: int = 0
    """Size of the staged file, which is about the size of the rows."""


@dataclass(frozen=True)
class Loaded:
    """What a load did to the target, as counted by the pool inside the transaction."""

    partition_key: str
    inserted: int
    updated: int
    deleted: int
    present: int
    """Rows of this run and partition that stand in the target at the end of the transaction."""
    null_keys: int
    duplicate_keys: int
    seconds: float = field(compare=False, default=0.0)


Verify = Callable[[Loaded], None]
"""Called before the commit with what the pool counted; raising rolls everything back. Once per attempt: a retried load
calls it again."""


class Pool(ABC):
    """A database that holds sources, targets, models and the scoring log."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def display_name(self) -> str:
        """What logs and errors call this pool; holds no secret."""

    @abstractmethod
    def source(self, spec: ScoringSpec) -> Source:
        """The spec's source with its columns; `PoolError` where it does not exist."""

    @abstractmethod
    def render(self, statement: sa.Select[Any]) -> str:
        """The statement in the pool's SQL, for people to read."""

    @abstractmethod
    def read(self, statement: sa.Select[Any]) -> AbstractContextManager[pa.RecordBatchReader]:
        """The statement's rows as Arrow batches, streamed from one snapshot."""

    @abstractmethod
    def bucket(self, columns: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
        """An integer in `[0, buckets)` that depends on the columns' values alone, today and with every version."""

    @abstractmethod
    def truncate(self, column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
        """A timestamp cut to the `day` or the `quarter_hour`."""

    @abstractmethod
    def ensure_target(self, target: Target) -> None:
        """Make the target where it is missing; `TargetError` where it stands with other columns."""

    @abstractmethod
    def load(self, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify) -> Iterator[Loaded]:
        """Load slices one after the other, each in one transaction with its log row; yields after each commit."""

    @abstractmethod
    def register_model(self, name: str, sha256: str, data: bytes, signature: str) -> None:
        """Keep the model's bytes in the models table under its name and sha256; the same pair once."""

    @abstractmethod
    def scoring_log(self, scoring: str, partition_keys: Sequence[str] | None = None) -> dict[str, LogRow]:
        """The log's rows of a scoring, by partition key, all or some; empty where nothing was ever scored."""

    @abstractmethod
    def preview(self, table: str, where: Mapping[str, str], rows: int) -> pa.Table:
        """Some rows of a table."""

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        """The rows of a small result."""
        with self.read(statement) as reader:
            return reader.read_all()

    def inventory(self, spec: ScoringSpec, partitioning: Partitioning) -> Inventory:
        """What the source holds, per partition, by one grouped query however many partitions there are."""
        source = self.source(spec)
        group = partitioning.group(source, self)
        measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
        changed = spec.source_spec.changed
        if changed is not None:
            measures.append(sa.func.max(source.column(changed, role="source.changed")).label("changed"))
        statement = sa.select(*measures).select_from(source.selectable)
        if group is not None:
            statement = statement.add_columns(group.label("marker")).group_by(group)
        table = self.fetch(statement).combine_chunks()
        return _roll_up(table, partitioning)

    def waiting_at_most(self, seconds: float) -> "Pool":
        """The same pool for somebody in a hurry: where it would wait, it raises `PoolBusyError` after `seconds`."""
        return self

    def for_run(self, run_id: str, unfinished: Callable[[], Collection[str]]) -> "Pool":
        """The same pool as a run uses it. `unfinished` gives the ids of all runs that are still going.

        A pool that puts files somewhere names them by `run_id`, and sweeps those of runs that are not among them.
        """
        return self

    def redacted(self, text: str) -> str:
        """`text` without anything secret that this pool knows."""
        return text


def changed_text(value: Any) -> str | None:
    """A `changed` value as the log keeps it: compared for equality only."""
    if value is None:
        return None
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _roll_up(table: pa.Table, partitioning: Partitioning) -> Inventory:
    keys = list(partitioning.keys())
    rows = to_numpy(table["rows"].combine_chunks()).astype(np.int64)
    changed = table["changed"].to_pylist() if "changed" in table.column_names else [None] * len(rows)
    inventory = Inventory()
    if not len(rows):
        return inventory
    if "marker" in table.column_names:
        markers = table["marker"].combine_chunks()
        # Without any partition yet, every row is late, except those that will never have one.
        codes = partitioning.place(markers, keys) if keys else np.where(mask(markers), -2, 0)
    else:
        codes = np.zeros(len(rows), dtype=np.int64)
    latest: dict[str, Any] = {}
    counts: dict[str, int] = {}
    timed = getattr(partitioning.definition, "timezone", None) is not None
    for code, count, value in zip(codes.tolist(), rows.tolist(), changed, strict=True):
        if code == -2 or (code == -1 and not timed):
            inventory.unplaced += count
        elif code == -1:
            inventory.early += count
        elif code >= len(keys):
            inventory.late += count
        elif count:
            key = keys[code]
            counts[key] = counts.get(key, 0) + count
            known = latest.get(key)
            latest[key] = value if known is None or (value is not None and value > known) else known
    inventory.slices = {key: Fingerprint(counts[key], changed_text(latest[key])) for key in keys if key in counts}
    return inventory
