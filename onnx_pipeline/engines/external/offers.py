"""What a server offers to external scripts, and why it would not run ours: asked before a row moves.

https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql and has-perms-by-name-transact-sql
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.engines.base import Reason
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.tsql.pool import MssqlPool

__all__ = ["NEAREST", "Offers", "lacks", "offers"]

NEAREST = "score it with `engine: {kind: onnxruntime}`, which runs every ONNX model"

_VERSION = (
    "SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS INT) AS major, "
    "CAST(SERVERPROPERTY('EngineEdition') AS INT) AS edition"
)
_SCRIPTS = (
    "SELECT (SELECT CAST(value_in_use AS INT) FROM sys.configurations WHERE name = 'external scripts enabled') "
    "AS enabled, HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'EXECUTE ANY EXTERNAL SCRIPT') AS may_run"
)
# HAS_PERMS_BY_NAME answers NULL for what is not there and for what it does not know.
_LANGUAGE = (
    "SELECT (SELECT COUNT(*) FROM sys.external_languages WHERE language = ?) AS registered, "
    "HAS_PERMS_BY_NAME(?, 'EXTERNAL LANGUAGE', 'EXECUTE EXTERNAL SCRIPT') AS may_use"
)
_BOXED = frozenset({2, 3, 4})
"""EngineEdition of Standard, Enterprise and Developer, Express."""


@dataclass(frozen=True)
class Offers:
    """What a server says of itself."""

    major: int
    """Its version: 15 is SQL Server 2019."""
    edition: int
    """EngineEdition; 8 is Azure SQL Managed Instance, 5 Azure SQL Database."""
    enabled: bool = False
    may_run: bool = True
    """Whether this user may run external scripts; True where the server does not say."""
    registered: bool = False
    may_use: bool = True
    """Whether this user may run the language; True where the server does not say."""

    @property
    def is_boxed(self) -> bool:
        return self.edition in _BOXED


def offers(pool: MssqlPool, language: str) -> Offers:
    """What a server offers to scripts in a language of CREATE EXTERNAL LANGUAGE. Raises PoolError."""
    with pool.session("asking what external scripts the server runs") as session:
        ((major, edition),) = session.rows(_VERSION)
        if edition not in _BOXED or major < 15:
            return Offers(major, edition)
        ((enabled, may_run),) = session.rows(_SCRIPTS)
        ((registered, may_use),) = session.rows(_LANGUAGE, [language, language])
    return Offers(major, edition, bool(enabled), may_run != 0, bool(registered), may_use != 0)


def lacks(pool: Pool, language: str) -> Sequence[Reason]:
    """Why a pool would not run scripts in an external language, and what would make it run them."""
    if not isinstance(pool, MssqlPool) or pool.kind != "mssql":
        return (Reason(f"a pool of the kind {pool.kind} runs no external languages", NEAREST),)
    try:
        return tuple(_reasons(offers(pool, language), language))
    except PoolError as error:
        if error.transient:
            raise
        return (Reason(f"the server does not say what external scripts it runs ({error})", NEAREST),)


def _reasons(found: Offers, language: str) -> Iterator[Reason]:
    if not found.is_boxed or found.major < 15:
        yield Reason(
            f"the server (version {found.major}, engine edition {found.edition}) runs no external languages, which "
            "take SQL Server 2019 or later with Machine Learning Services and Language Extensions",
            NEAREST,
        )
        return
    if not found.registered:
        yield Reason(
            f"the external language {language} is not registered in this database, or this user may not see it",
            "an administrator runs `onnx-pipeline extension deploy` on it",
        )
    if not found.enabled:
        yield Reason(
            "the server does not run external scripts",
            "an administrator runs EXEC sp_configure 'external scripts enabled', 1; RECONFIGURE WITH OVERRIDE",
        )
    if not found.may_run:
        yield Reason(
            "this user may run no external scripts",
            "GRANT EXECUTE ANY EXTERNAL SCRIPT TO it, as external_language_roles.sql does for the role onnx_scorer",
        )
    if found.registered and not found.may_use:
        yield Reason(
            f"this user may not run the external language {language}",
            f"GRANT EXECUTE EXTERNAL SCRIPT ON EXTERNAL LANGUAGE::{language} TO it, as external_language_roles.sql "
            "does for the role onnx_scorer",
        )
