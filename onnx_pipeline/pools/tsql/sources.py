"""A scoring's source on a T-SQL server: a table, a view or a query, with its columns as SQL types."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError, SignatureError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.pools.queries import UserQuery, query_text
from onnx_pipeline.pools.records import Source
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.dialect import quoted, sql_type
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Catalogue", "find_source"]


class Catalogue(Protocol):
    """What a server says of its tables."""

    def columns_of(self, statement: sa.Select[Any]) -> pa.Schema: ...
    def collations_of(self, statement: sa.Select[Any]) -> Mapping[str, str]: ...
    def tables(self) -> list[str]: ...
    def retried(self, purpose: str, work: Callable[[Session], Any]) -> Any: ...


def find_source(catalogue: Catalogue, spec: ScoringSpec) -> Source:
    """The spec's source with its columns; PoolError, with what has a similar name, where it does not exist."""
    named = spec.source_spec.table
    if named is not None:
        schema_name, table_name = split_name(named)
        description = f"table {named}"
        probe = sa.select(sa.text("*")).select_from(sa.table(table_name, schema=schema_name))
    else:
        query = UserQuery(query_text(spec))
        description = f"query of {spec.scoring}"
        probe = sa.select(sa.text("*")).select_from(query.columns().subquery("source"))
    try:
        schema = catalogue.columns_of(probe)
    except PoolError as error:
        if error.transient or named is None:
            raise
        raise PoolError(f"{error} ({closest(named, catalogue.tables())})") from error
    collations = partial(catalogue.collations_of, probe)
    columns = [sa.column(field.name, _type_of(field)) for field in schema]
    if named is not None:
        # Named shortly: T-SQL is giving up columns named by schema, table and column.
        table = sa.table(table_name, *columns, schema=schema_name)
        return Source(description, schema, table.alias("source"), collations, partial(_never_null, catalogue, named))
    # Of what a query or a view gives, an outer join for one, nobody surely says that it is never NULL.
    return Source(description, schema, query.columns(*columns).subquery("source"), collations)


def _never_null(catalogue: Catalogue, table: str) -> frozenset[str]:
    """The columns that a table declares NOT NULL; of a view none."""
    asked = "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?, 'U') AND is_nullable = 0"
    rows = catalogue.retried(
        f"reading what table {table} declares", lambda session: session.rows(asked, [quoted(*split_name(table))])
    )
    return frozenset(name for (name,) in rows)


def _type_of(field: pa.Field) -> Any:
    """The column's SQL type; of one that can be no feature or key, none."""
    try:
        return sql_type(field.type, column=field.name)
    except SignatureError:
        return sa.types.NullType()
