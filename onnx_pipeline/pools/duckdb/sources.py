"""A scoring's source in a DuckDB file: a table, a view or a query, with its columns as SQL types."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.pools.duckdb import statements
from onnx_pipeline.pools.duckdb.statements import collations_of, never_null, reader
from onnx_pipeline.pools.queries import UserQuery, query_text
from onnx_pipeline.pools.records import Source
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Connect", "find_source"]

Connect: TypeAlias = Callable[[str], AbstractContextManager[duckdb.DuckDBPyConnection]]
"""Opens the file, for what it is told."""


def find_source(connect: Connect, pool: str, spec: ScoringSpec) -> Source:
    """The spec's source with its columns; PoolError, with what has a similar name, where it does not exist."""
    source = spec.source_spec
    if source.table is not None:
        schema_name, table_name = split_name(source.table)
        table = sa.table(table_name, schema=schema_name)
        description = f"table {source.table}"
        probe = sa.select(sa.text("*")).select_from(table).limit(0)
    else:
        query = UserQuery(statements.one_select(query_text(spec)))
        description = f"query of {spec.scoring}"
        probe = sa.select(sa.text("*")).select_from(query.columns().subquery("source")).limit(0)
    with connect(f"reading the columns of {description}") as connection:
        try:
            with reader(connection, probe) as found:
                schema = found.schema
        except duckdb.CatalogException as error:
            hint = closest(source.table or "", _known(connection)) if source.table else str(error)
            raise PoolError(f"{pool}: {description} cannot be read; {hint}") from error
    named: list[sa.ColumnClause[Any]] = [sa.column(field.name, statements.source_type(field.type)) for field in schema]
    if source.table is None:
        # Of what a query gives nobody says that it is never NULL.
        selectable: sa.FromClause = query.columns(*named).subquery("source")
        return Source(description, schema, selectable, partial(_collations, connect, schema, selectable))
    selectable = sa.table(table_name, *named, schema=schema_name)
    return Source(
        description,
        schema,
        selectable,
        partial(_collations, connect, schema, selectable),
        partial(_never_null, connect, source.table),
    )


def _known(connection: duckdb.DuckDBPyConnection) -> list[str]:
    tables = connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()
    views = connection.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    return sorted(row[0] for row in tables + views)


def _collations(connect: Connect, schema: pa.Schema, selectable: sa.FromClause) -> dict[str, str]:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    if not texts:
        return {}
    with connect("reading collations") as connection:
        return collations_of(connection, selectable, texts)


def _never_null(connect: Connect, table: str) -> frozenset[str]:
    with connect(f"reading what table {table} declares") as connection:
        return never_null(connection, table)
