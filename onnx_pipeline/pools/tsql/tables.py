"""Targets and staging tables as T-SQL columns."""

from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import NVARCHAR

from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.dialect import key_text, literal, quoted, sql_type, stored_type
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.spec.target import PROVENANCE

__all__ = [
    "STAGING_PREFIX",
    "drop_table",
    "exists",
    "resource_of",
    "staging_name",
    "staging_table",
    "staging_tables",
    "stored_schema",
    "target_table",
]

STAGING_PREFIX = "onnx_staging_"


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
        kind = sql_type(field.type, column=field.name, is_key=field.name in target.key)
    return sa.Column(field.name, kind, nullable=nullable, autoincrement=False)


def staging_table(target: Target, schema: str | None, name: str) -> sa.Table:
    """Key and output columns, all of which may be NULL: what is wrong with the rows is found by asking the table."""
    columns = [_column(field, target, nullable=True) for field in target.staged_schema]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def staging_name(resource: str, run_id: str, attempt: int) -> str:
    """A staging table's name: what it loads, which run does, and which attempt of it."""
    run = "".join(character for character in run_id if character.isalnum())[:12]
    return f"{STAGING_PREFIX}{resource.removeprefix('onnx_')}_{run}_{attempt}"


def resource_of(name: str) -> str:
    """The lock that whoever fills a staging table holds."""
    return "onnx_" + name.removeprefix(STAGING_PREFIX).partition("_")[0]


def drop_table(schema: str, name: str) -> str:
    """Drops a table that may be gone already."""
    full = quoted(schema, name)
    return f"IF OBJECT_ID({literal(full)}) IS NOT NULL DROP TABLE {full}"


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
