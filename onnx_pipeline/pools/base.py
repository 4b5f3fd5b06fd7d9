"""What every pool can do, whatever database it is.

A subclass is one database and states how that one differs. Statements are built by SQLAlchemy Core or come from `sql/`;
values are bound, identifiers quoted by the dialect.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.exchange import Exchange, Exchanged
from onnx_pipeline.pools.landing import LandedSlice, Landing
from onnx_pipeline.pools.offers import Offers, offers_of
from onnx_pipeline.pools.records import Loaded, LogRow, Scored, SliceLoad, Source, Standing, Target, Verify
from onnx_pipeline.pools.rows import StoredTable
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.views import View
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Pool"]


class Pool(ABC):
    """A database that holds sources, targets, models and the scoring log."""

    kind: ClassVar[str]
    view_verb: ClassVar[str]
    """What makes a view, or gives one that stands its new SELECT, as far as one statement does."""
    default_schema: ClassVar[str]
    """Where a table lies whose name says no schema, as far as that is known without asking."""
    gives_parts: ClassVar[bool] = False
    """Whether a landing hands out parts of a slice to a cluster (`Landing.hand_out`)."""
    _offers: Offers | None = None

    @classmethod
    @abstractmethod
    def from_url(cls, url: str) -> "Pool":
        """The pool at a URL of its kind; SpecError, which repeats no secret, for one that cannot work."""

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

    def is_missing(self, column: sa.ColumnElement[Any], arrow: pa.DataType) -> sa.ColumnElement[bool]:
        """Whether a column's value is NULL, or NaN where the pool stores it; `arrow` is the column's type."""
        return column.is_(None)

    def times(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        """How many rows a condition is true of, as an aggregate; of no rows, 0 or NULL."""
        one, nothing = (sa.literal_column(text, sa.Integer) for text in ("1", "0"))
        return sa.func.sum(sa.cast(sa.case((condition, one), else_=nothing), sa.BigInteger))

    @abstractmethod
    def exact_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text column as listed values compare it: code point by code point, without the blanks at its end.

        Whatever its collation or padding, two rows have one of it exactly where Python has one `str.rstrip(" ")`.
        """

    @abstractmethod
    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text column as it is, which `max` compares code point by code point, whatever its collation."""

    def among(self, column: sa.ColumnElement[Any], texts: Sequence[str]) -> sa.ColumnElement[bool]:
        """Whether a text column's `exact_text` is one of `texts`."""
        return self.exact_text(column).in_(texts)

    @abstractmethod
    def truncate(self, column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
        """A timestamp cut to the `day` or the `quarter_hour`."""

    @abstractmethod
    def standing(self, table: str) -> Standing:
        """A table of that name as the pool resolves it."""

    @abstractmethod
    def scored(self, scoring: str, table: str) -> Scored:
        """What the log and the catalogue say of a scoring and its target, by one connection."""

    @abstractmethod
    def ensure_target(self, target: Target, scoring: str | None = None) -> str:
        """Make the target where it is missing, and give its name as the pool resolves it.

        What the log has of `scoring` in a table that is missing goes before the table is made: its rows are gone.
        Raises `TargetError` where the table stands with other columns.
        """

    @abstractmethod
    def check_target(self, target: Target) -> bool:
        """Whether the target stands; `TargetError` where it does with other columns. Makes and changes nothing."""

    @abstractmethod
    def load(self, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify) -> Iterator[Loaded]:
        """Load slices one after the other, each in one transaction with its log row; yields after each commit."""

    @abstractmethod
    def claim(self, scoring: str, place: str) -> None:
        """Name the target in the rows of a scoring's log that an earlier version wrote, which had one place for it."""

    @abstractmethod
    def exchange(self, work: Exchange) -> Exchanged:
        """Put the rows of one table in place of another one's, with their log, in one transaction.

        Whatever breaks, the old rows stand with their log or the new ones with theirs. The side table stays, and is the
        caller's to discard. Raises StagingError where the rows that came are not those that were scored.
        """

    @abstractmethod
    def stored_table(self, target: Target, table: str) -> StoredTable:
        """A table of the pool that holds rows of `target`, with what tells a later load whether it was touched."""

    @abstractmethod
    def landing(self, piece: LandedSlice) -> Landing:
        """The place where an engine puts one slice's predictions without moving rows through this process."""

    @abstractmethod
    def discard(self, table: str) -> None:
        """Drop a table that a landing left, where it is still there."""

    @abstractmethod
    def define_view(self, view: View) -> str:
        """Make a view, or give one that stands its new SELECT; its name as the pool resolves it.

        The model's sha256 is kept with it: in an extended property, a comment, or the view's text.
        """

    @abstractmethod
    def register_model(self, name: str, sha256: str, data: bytes, signature: str, form: str | None = None) -> int:
        """Keep a model in the models table, and give the id of its row: the same name, sha256 and form once.

        `sha256` is that of the bytes as they came. `data` is these bytes, or with a `form` what they were rewritten to.
        What stands is left as it is, also where `data` is another rewriting. A models table of an earlier version gets
        its column for the form; `PoolError` where this user may not add it.
        """

    @abstractmethod
    def scoring_log(self, scoring: str, partition_keys: Sequence[str] | None = None) -> dict[str, LogRow]:
        """The log's rows of a scoring, by partition key, all or some; empty where nothing was ever scored.

        Of a slice that stands in several targets, the row that was written last.
        """

    def offers(self) -> Offers:
        """What the pool offers beside its tables, asked once; what it refuses to say is not known.

        Raises PoolError where it does not answer at all.
        """
        if self._offers is None:
            self._offers = offers_of(self)
        return self._offers

    def preview(self, table: str, where: Mapping[str, str], rows: int) -> pa.Table:
        """Some rows of a table."""
        schema, name = split_name(table)
        selectable = sa.table(name, *(sa.column(column) for column in where), schema=schema)
        conditions = [selectable.c[column] == value for column, value in where.items()]
        return self.fetch(sa.select(sa.text("*")).select_from(selectable).where(*conditions).limit(rows))

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        """The rows of a small result."""
        with self.read(statement) as reader:
            return reader.read_all()

    def waiting_at_most(self, seconds: float) -> "Pool":
        """The same pool for somebody in a hurry: where it would wait, it raises `PoolBusyError` after `seconds`."""
        return self

    @contextmanager
    def looking(self, purpose: str) -> Iterator["Pool"]:
        """The same pool, by one connection for as long as the block runs where a connection is dear."""
        yield self

    def for_run(self, run_id: str, unfinished: Callable[[], Collection[str]]) -> "Pool":
        """The same pool as a run uses it. `unfinished` gives the ids of all runs that are still going.

        A pool that puts files somewhere names them by `run_id`, and sweeps those of runs that are not among them.
        """
        return self

    def redacted(self, text: str) -> str:
        """`text` without anything secret that this pool knows."""
        return text
