"""Statements that only Synapse and Fabric have, and tables as Synapse wants them.

Written by hand: SQLAlchemy knows neither distributions nor NOT ENFORCED keys, COPY INTO nor CREATE EXTERNAL TABLE AS.
Identifiers are quoted and values written by `tsql.literal`, since none of these statements binds any.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import NVARCHAR

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.tsql.dialect import DIALECT, literal, quoted, readable
from onnx_pipeline.spec.target import TargetSpec

__all__ = [
    "StorageSignIn",
    "base_type",
    "column_lines",
    "copy_into",
    "create_external",
    "create_staging",
    "create_target",
    "labelled",
    "target_column",
]

_TAKES_LABEL = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|COPY|WITH|CREATE EXTERNAL TABLE)\b", re.IGNORECASE)

_COLUMNSTORE_TEXT = 4000
"""Columnstore holds no (max) types."""


def labelled(statement: str, label: str) -> str:
    """The statement with a label, by which a DBA finds it in sys.dm_pdw_exec_requests; some take none."""
    if not _TAKES_LABEL.match(statement):
        return statement
    return f"{statement} OPTION (LABEL = {literal(label[:255])})"


def create_target(target: Target, table: sa.Table) -> list[str]:
    """The target and its key, which the pool does not enforce: the load has checked it."""
    options = target.options or TargetSpec(table=target.table)
    key = ", ".join(quoted(name) for name in ("partition_key", *target.key))
    bounded = options.index != "heap"
    columns = column_lines(table.columns, _in_columnstore if bounded else _as_it_is)
    index = "CLUSTERED COLUMNSTORE INDEX" if bounded else "HEAP"
    return [
        f"CREATE TABLE {quoted(table.schema, table.name)} (\n{columns},\n"
        f"    PRIMARY KEY NONCLUSTERED ({key}) NOT ENFORCED\n)\n"
        f"WITH (DISTRIBUTION = {_distribution(target, options)}, {index})"
    ]


def _distribution(target: Target, options: TargetSpec) -> str:
    if (options.distribution or "").casefold() == "round_robin":
        return "ROUND_ROBIN"
    wanted = options.hash_column or target.key[0]
    for name in target.schema.names:
        if name.casefold() == wanted.casefold():
            return f"HASH({quoted(name)})"
    raise SpecError(
        f"target.distribution: {target.table} has no column {wanted!r}; {closest(wanted, target.schema.names)}"
    )


def create_staging(table: sa.Table) -> str:
    """A staging table: what is written once and read once wants neither index nor distribution."""
    columns = column_lines(table.columns, _as_it_is)
    return f"CREATE TABLE {quoted(table.schema, table.name)} (\n{columns}\n)\nWITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"


def target_column(column: sa.Column[Any]) -> str:
    """A column of a target, whose types fit both of its layouts."""
    return column_lines([column], _in_columnstore).strip()


def column_lines(columns: Iterable[sa.Column[Any]], stored: Callable[[Any], Any]) -> str:
    """A table's columns, one a line; `stored` says which type the server has for one of ours."""
    return ",\n".join(
        f"    {quoted(column.name)} {DIALECT.type_compiler_instance.process(stored(column.type))} "
        f"{'NULL' if column.nullable else 'NOT NULL'}"
        for column in columns
    )


def _as_it_is(kind: Any) -> Any:
    return kind


def _in_columnstore(kind: Any) -> Any:
    return NVARCHAR(_COLUMNSTORE_TEXT) if isinstance(kind, NVARCHAR) and kind.length is None else kind


@dataclass(frozen=True)
class StorageSignIn:
    """How the pool itself signs in to the storage that it copies from."""

    identity: str | None
    """`Managed Identity`, `Shared Access Signature` or `Storage Account Key`; None: whoever runs the statement."""
    secret: str | None = field(default=None, repr=False)

    @property
    def clause(self) -> str:
        if self.identity is None:
            return ""
        secret = f", SECRET = {literal(self.secret)}" if self.secret is not None else ""
        return f",\n    CREDENTIAL = (IDENTITY = {literal(self.identity)}{secret})"


def copy_into(table: sa.Table, names: Iterable[str], places: Iterable[str], sign_in: StorageSignIn) -> str:
    """Loads Parquet files by their URLs, in which `*` stands for any name. Without a column list the mapping would be by
    position.

    https://learn.microsoft.com/sql/t-sql/statements/copy-into-transact-sql
    """
    columns = ", ".join(quoted(name) for name in names)
    listed = ",\n    ".join(literal(place) for place in places)
    return (
        f"COPY INTO {quoted(table.schema, table.name)} ({columns})\nFROM {listed}\n"
        f"WITH (\n    FILE_TYPE = 'PARQUET'{sign_in.clause}\n)"
    )


def create_external(name: str, statement: sa.Select[Any], *, location: str, data_source: str, file_format: str) -> str:
    """Writes a SELECT's rows to storage as Parquet, and leaves an external table to drop.

    https://learn.microsoft.com/sql/t-sql/statements/create-external-table-as-select-transact-sql
    """
    return (
        f"CREATE EXTERNAL TABLE {quoted(name)}\nWITH (\n    LOCATION = {literal(location)},\n"
        f"    DATA_SOURCE = {quoted(data_source)},\n    FILE_FORMAT = {quoted(file_format)}\n)\nAS {readable(statement)}"
    )


def base_type(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """`datetime` of a DATETIME, by what it takes and how it is written: there is no SQL_VARIANT to ask."""
    text = sa.func.convert(sa.literal_column("VARCHAR(40)"), column, sa.literal_column("121"))
    milliseconds = sa.func.len(text) == sa.literal_column("23")
    # A DATETIME2(3) is written alike and takes seven bytes.
    old = sa.and_(milliseconds, sa.func.datalength(column) == sa.literal_column("8"))
    return sa.case((old, sa.literal_column("'datetime'")), else_=sa.literal_column("'datetime2'"))
