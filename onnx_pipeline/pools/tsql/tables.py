"""Targets and staging tables as T-SQL columns."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import NVARCHAR

from onnx_pipeline.pools.records import Standing, Target
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.dialect import key_text, literal, quoted, sql_type, stored_type
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.spec.target import PROVENANCE

__all__ = [
    "LANDING_PREFIX",
    "STAGING_PREFIX",
    "drop_table",
    "exists",
    "is_of",
    "landing_name",
    "landing_table",
    "resource_of",
    "staging_name",
    "staging_table",
    "staging_tables",
    "standing",
    "stored_schema",
    "target_table",
]

_NAMED = (
    "SELECT s.name AS schema_name, o.name AS object_name FROM sys.objects AS o "
    "JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.object_id = OBJECT_ID(?)"
)

STAGING_PREFIX = "onnx_staging_"
LANDING_PREFIX = "onnx_landing_"
"""Of tables that stay from one asset to the next: a sweep of staging tables, whose locks are free, must not see them."""


def target_table(target: Target) -> sa.Table:
    """The target; keys and provenance are NOT NULL, predictions may be NULL (`checks: {nan_predictions: allow}`)."""
    schema, name = split_name(target.table)
    outputs = set(target.staged_names) - set(target.key)
    columns = [_column(field, target, nullable=field.name in outputs) for field in target.schema]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def _column(field: pa.Field, target: Target, *, nullable: bool) -> sa.Column[Any]:
    if field.name == "partition_key":
        kind: Any = key_text()
    elif field.name in PROVENANCE and pa.types.is_string(field.type):
        kind = NVARCHAR(64)
    else:
        collation = target.collations.get(field.name)
        kind = sql_type(field.type, column=field.name, is_key=field.name in target.key, collation=collation)
    return sa.Column(field.name, kind, nullable=nullable, autoincrement=False)


def staging_table(target: Target, schema: str | None, name: str) -> sa.Table:
    """Key and output columns, all of which may be NULL: what is wrong with the rows is found by asking the table."""
    columns = [_column(field, target, nullable=True) for field in target.staged_schema]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def staging_name(resource: str, run_id: str, attempt: int) -> str:
    """A staging table's name: what it loads, which run does, and which attempt of it."""
    return f"{STAGING_PREFIX}{resource.removeprefix('onnx_')}_{_short(run_id)}_{attempt}"


def landing_name(resource: str, run_id: str, nonce: str) -> str:
    """A landing table's name: what lands in it, in which run, and what no two landings of that share."""
    return f"{LANDING_PREFIX}{resource.removeprefix('onnx_')}_{_short(run_id)}_{nonce}"


def resource_of(name: str) -> str:
    """The lock that whoever fills a staging table or drops a landing holds."""
    return "onnx_" + name.removeprefix(STAGING_PREFIX).removeprefix(LANDING_PREFIX).partition("_")[0]


def is_of(name: str, run_ids: Iterable[str]) -> bool:
    """Whether a staging or landing table is of one of the runs."""
    return name.split("_")[-2] in {_short(run_id) for run_id in run_ids}


def _short(run_id: str) -> str:
    return "".join(character for character in run_id if character.isalnum())[:12]


def landing_table(target: Target, marks: Mapping[str, Any], schema: str, name: str) -> sa.Table:
    """A landing table: marks beside the key by their SQL types, then key and outputs, all of which may be NULL."""
    key = [_column(target.schema.field(column), target, nullable=True) for column in target.key]
    beside = [sa.Column(mark, kind, nullable=True, autoincrement=False) for mark, kind in marks.items()]
    outputs = [_column(field, target, nullable=True) for field in target.staged_schema if field.name not in target.key]
    return sa.Table(name, sa.MetaData(), *key, *beside, *outputs, schema=schema)


def drop_table(schema: str | None, name: str) -> str:
    """Drops a table that may be gone already."""
    full = quoted(schema, name)
    return f"IF OBJECT_ID({literal(full)}) IS NOT NULL DROP TABLE {full}"


def standing(session: Session, table: str) -> Standing:
    """A table or view of that name as the catalogue spells it: a server may compare names with case or without."""
    schema, name = split_name(table)
    found = session.rows(_NAMED, [quoted(schema, name)])
    if found:
        return Standing(f"{found[0][0]}.{found[0][1]}", exists=True)
    return Standing(f"{schema or session.scalar('SELECT SCHEMA_NAME() AS name')}.{name}", exists=False)


def exists(session: Session, table: str) -> bool:
    """Whether a table or view of that name stands in the pool."""
    return session.scalar("SELECT OBJECT_ID(?) AS found", [quoted(*split_name(table))]) is not None


def staging_tables(prefix: str, *, older_than_hours: int | None = None) -> tuple[str, list[Any]]:
    """The staging tables whose name begins so, as a statement and its values: schema and name."""
    statement = (
        "SELECT s.name AS schema_name, t.name AS table_name FROM sys.tables AS t "
        "JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE LEFT(t.name, ?) = ?"
    )
    values: list[Any] = [len(prefix), prefix]
    if older_than_hours is not None:
        statement += " AND t.create_date < DATEADD(HOUR, ?, GETDATE())"
        values.append(-older_than_hours)
    return statement, values


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """A table's columns as they are read back."""
    return pa.schema([pa.field(field.name, stored_type(field.type, column=field.name)) for field in schema])
