"""By which collation a T-SQL server compares keys of text: the source's, which a new target takes over, and a target's own."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.dialect import KEY_LENGTH, literal, quoted
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["as_standing", "hint", "of_statement"]

_logger = logging.getLogger(__name__)

_NAME, _COLLATION = 2, 9
"""Columns of what describes a statement.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-describe-first-result-set-transact-sql
"""


def of_statement(server: Server, select: str) -> Mapping[str, str]:
    """Columns of text to their collations; none where the server cannot describe the statement."""
    asked = f"EXEC sp_describe_first_result_set @tsql = N{literal(select).removeprefix('N')}"
    try:
        rows = server.retried("reading collations", lambda session: session.rows(asked))
    except PoolError as error:
        if error.transient:
            raise
        # Its keys then compare as the database does.
        _logger.info("the collations of the source's columns are not known: %s", error)
        return {}
    return {row[_NAME]: row[_COLLATION] for row in rows if row[_COLLATION] is not None}


def as_standing(session: Session, target: Target) -> Target:
    """The target with the collations that its table has, where it stands already: what joins it compares alike."""
    if not any(pa.types.is_string(field.type) for field in target.schema if field.name in target.key):
        return target
    asked = "SELECT name, collation_name FROM sys.columns WHERE object_id = OBJECT_ID(?) AND collation_name IS NOT NULL"
    standing = dict(session.rows(asked, [quoted(*split_name(target.table))]))
    return replace(target, collations=standing) if standing else target


def hint(target: Target, wanted: Mapping[str, str]) -> str:
    """What to do where a target holds keys for one that the source, which compares by `wanted`, tells apart."""
    for name, collation in wanted.items():
        standing = target.collations.get(name)
        if standing is not None and standing.casefold() != collation.casefold():
            return (
                f" {target.table} compares {name} by {standing}, and the source by {collation}. To tell these keys apart "
                f"there, too: ALTER TABLE {quoted(*split_name(target.table))} ALTER COLUMN {quoted(name)} "
                f"NVARCHAR({KEY_LENGTH}) COLLATE {collation} NOT NULL. An index on the column has to be dropped before and "
                "made anew. Or name another `target`, which is made to compare as the source does."
            )
    return ""
