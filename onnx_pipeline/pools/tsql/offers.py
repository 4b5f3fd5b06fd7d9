"""What a T-SQL server is asked for: one small statement each, so that one that is refused keeps no other from its answer.

https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql
https://learn.microsoft.com/sql/t-sql/functions/has-perms-by-name-transact-sql
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from onnx_pipeline.base.errors import PoolError, first_line
from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools.offers import Offer, Offers, Value
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.transient import Retries

__all__ = ["IDENTITY", "READ_COMMITTED_SNAPSHOT", "TABLE_RIGHTS", "Probe", "Rows", "ask", "asked", "right", "text"]

Rows: TypeAlias = Sequence[tuple[Any, ...]]
Read: TypeAlias = Callable[[Rows], tuple[Value | None, str]]
"""What rows say: a value, and why it is not known or what a `no` comes from."""

_PURPOSE = "asking what it offers"
_ENGINE_EDITIONS = {
    1: "Personal or Desktop", 2: "Standard", 3: "Enterprise or Developer", 4: "Express", 5: "Azure SQL Database",
    6: "Synapse dedicated SQL pool", 8: "Azure SQL Managed Instance", 9: "Azure SQL Edge",
    11: "Synapse serverless SQL pool or Fabric Warehouse", 12: "SQL database in Fabric",
}  # fmt: skip
_NO_ANSWER = "the server gives no answer"


class _Pool(Protocol):
    @property
    def display_name(self) -> str: ...
    @property
    def retries(self) -> Retries: ...
    def session(self, purpose: str) -> Session: ...


@dataclass(frozen=True)
class Probe:
    """One question."""

    name: str
    statement: str
    read: Read
    values: tuple[str, ...] = ()
    """What is bound to its question marks."""
    refusal_is_no: bool = False
    """Whether a server that refuses the statement has said no, and not kept silent."""


def text(rows: Rows) -> tuple[Value | None, str]:
    """The first line of the one value."""
    found = rows[0][0] if rows else None
    return (None, _NO_ANSWER) if found is None else (str(found).partition("\n")[0].strip(), "")


def _number(rows: Rows) -> tuple[Value | None, str]:
    found = rows[0][0] if rows else None
    return (None, _NO_ANSWER) if found is None else (int(found), "")


def _flag(rows: Rows) -> tuple[Value | None, str]:
    """The one value as yes or no."""
    found = rows[0][0] if rows else None
    return (None, _NO_ANSWER) if found is None else (bool(found), "")


def _setting(rows: Rows) -> tuple[Value | None, str]:
    return _flag(rows) if rows else (False, "the server has no such setting")


def _exists(rows: Rows) -> tuple[Value | None, str]:
    return bool(rows), ""


def _names(rows: Rows) -> tuple[Value | None, str]:
    return tuple(str(row[0]) for row in rows), ""


def _granted(rows: Rows) -> tuple[Value | None, str]:
    """Names beside whether a right on them is had."""
    if any(row[1] is None for row in rows):
        return None, _NO_ANSWER
    return tuple(str(name) for name, has in rows if has), ""


def _engine_edition(rows: Rows) -> tuple[Value | None, str]:
    number, why = _number(rows)
    return (None, why) if number is None else (f"{number}, {_ENGINE_EDITIONS.get(int(str(number)), 'unknown')}", "")


def right(name: str, permission: str) -> Probe:
    """A right in the database."""
    return Probe(name, "SELECT HAS_PERMS_BY_NAME(NULL, N'DATABASE', ?) AS has", _flag, (permission,))


def _table_rights(name: str, table: str, *permissions: str) -> Probe:
    """Rights on a table of ours, which may not stand yet."""

    def read(rows: Rows) -> tuple[Value | None, str]:
        ((found, *has),) = rows
        if found is None:
            return "it does not stand yet, and whoever loads first makes it", ""
        if None in has:
            return None, _NO_ANSWER
        lacking = [permission for permission, one in zip(permissions, has, strict=False) if not one]
        return not lacking, f"{' and '.join(lacking)} is missing" if lacking else ""

    return Probe(name, _TABLE_RIGHTS, read, (table,) * 4)


def _setting_of(name: str) -> Probe:
    return Probe(
        name, "SELECT CAST(value_in_use AS INT) AS setting FROM sys.configurations WHERE name = ?", _setting, (name,)
    )


_TABLE_RIGHTS = (
    "SELECT CAST(OBJECT_ID(?) AS BIGINT) AS found, HAS_PERMS_BY_NAME(?, N'OBJECT', N'SELECT') AS may_select, "
    "HAS_PERMS_BY_NAME(?, N'OBJECT', N'INSERT') AS may_insert, HAS_PERMS_BY_NAME(?, N'OBJECT', N'DELETE') AS may_delete"
)
IDENTITY = (
    Probe(what.VERSION, "SELECT CAST(@@VERSION AS NVARCHAR(400)) AS version", text),
    Probe(what.EDITION, "SELECT CAST(SERVERPROPERTY('Edition') AS NVARCHAR(128)) AS edition", text),
    Probe(what.ENGINE_EDITION, "SELECT CAST(SERVERPROPERTY('EngineEdition') AS INT) AS edition", _engine_edition),
    Probe(
        what.COMPATIBILITY,
        "SELECT CAST(compatibility_level AS INT) AS level FROM sys.databases WHERE name = DB_NAME()",
        _number,
    ),
)
"""Who answers."""

READ_COMMITTED_SNAPSHOT = Probe(
    what.READ_COMMITTED_SNAPSHOT,
    "SELECT CAST(is_read_committed_snapshot_on AS INT) AS is_on FROM sys.databases WHERE name = DB_NAME()",
    _flag,
)
TABLE_RIGHTS = (
    right(what.MAY_CREATE_TABLE, "CREATE TABLE"),
    Probe(
        what.OWN_SCHEMAS,
        "SELECT name, HAS_PERMS_BY_NAME(QUOTENAME(name), N'SCHEMA', N'ALTER') AS has FROM sys.schemas ORDER BY name",
        _granted,
    ),
    _table_rights(what.MAY_WRITE_LOG, "onnx_scoring_log", "SELECT", "INSERT", "DELETE"),
    _table_rights(what.MAY_WRITE_MODELS, "onnx_models", "SELECT", "INSERT"),
)

_MSSQL = (
    *IDENTITY,
    Probe(
        what.SNAPSHOT,
        # 2 and 3 are the way to off and on.
        "SELECT CASE WHEN snapshot_isolation_state = 1 THEN 1 ELSE 0 END AS is_on FROM sys.databases WHERE name = DB_NAME()",
        _flag,
    ),
    READ_COMMITTED_SNAPSHOT,
    Probe(
        what.ML_SERVICES, "SELECT CAST(SERVERPROPERTY('IsAdvancedAnalyticsInstalled') AS INT) AS is_installed", _flag
    ),
    _setting_of(what.EXTERNAL_SCRIPTS),
    Probe(what.LANGUAGES, "SELECT language FROM sys.external_languages ORDER BY language", _names),
    Probe(
        what.USABLE_LANGUAGES,
        "SELECT language, HAS_PERMS_BY_NAME(QUOTENAME(language), N'EXTERNAL LANGUAGE', N'EXECUTE EXTERNAL SCRIPT') "
        "AS has FROM sys.external_languages ORDER BY language",
        _granted,
    ),
    right(what.MAY_RUN_SCRIPTS, "EXECUTE ANY EXTERNAL SCRIPT"),
    Probe(
        what.REST_PROCEDURE,
        "SELECT name FROM sys.system_objects WHERE name = N'sp_invoke_external_rest_endpoint'",
        _exists,
    ),
    _setting_of(what.REST_ENABLED),
    right(what.MAY_CALL_ENDPOINTS, "EXECUTE ANY EXTERNAL ENDPOINT"),
    *TABLE_RIGHTS,
)


def ask(pool: _Pool) -> Offers:
    """SQL Server, Azure SQL Database or Managed Instance. Raises PoolError where it cannot be reached."""
    takes_none = Offer(what.PREDICT, False, "in SQL Server and Managed Instance it takes models of RevoScale alone")
    return Offers([*asked(pool, _MSSQL), takes_none])


def asked(pool: _Pool, probes: Sequence[Probe]) -> Offers:
    """The answers. Raises PoolError where the server cannot be reached."""
    with ExitStack() as sessions:
        session: Session | None = pool.retries.run(lambda _: sessions.enter_context(pool.session(_PURPOSE)))
        gone = ""
        found = []
        for probe in probes:
            if session is None and not gone:
                try:
                    # A refusal ends some connections, and whatever is asked on them afterwards is refused.
                    session = sessions.enter_context(pool.session(_PURPOSE))
                except PoolError as error:
                    # Every other question would wait as long for a server that is not there any more.
                    gone = _said(error, pool)
            if session is None:
                found.append(Offer(probe.name, None, gone))
                continue
            try:
                found.append(Offer(probe.name, *probe.read(session.rows(probe.statement, probe.values))))
            except PoolError as error:
                found.append(_refused(probe, error, pool))
                session = None
    return Offers(found)


def _refused(probe: Probe, error: PoolError, pool: _Pool) -> Offer:
    no = probe.refusal_is_no and not error.transient
    return Offer(probe.name, False if no else None, _said(error, pool))


def _said(error: PoolError, pool: _Pool) -> str:
    """The server's own words: where they come from stands above all of them."""
    return first_line(error).removeprefix(f"{pool.display_name}, {_PURPOSE}: ")
