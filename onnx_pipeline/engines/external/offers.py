"""What a server offers to external scripts, and why it would not run ours: asked before a row moves.

https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql and has-perms-by-name-transact-sql
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.engines.artifacts import NEAREST
from onnx_pipeline.engines.base import Reason
from onnx_pipeline.pools.base import Pool

if TYPE_CHECKING:  # every model asset asks every engine, and most projects have no such pool
    from onnx_pipeline.pools.tsql.pool import MssqlPool

__all__ = ["Offers", "lacks", "offers"]

_VERSION = (
    "SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS INT) AS major, "
    "CAST(SERVERPROPERTY('EngineEdition') AS INT) AS edition, "
    "CAST(SERVERPROPERTY('IsAdvancedAnalyticsInstalled') AS INT) AS installed"
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
_MANAGED_INSTANCE = 8
_LANGUAGES_TAKE = (
    "external languages, which take SQL Server 2019 or later with Machine Learning Services and Language Extensions"
)
_PYTHON_TAKES = "Python, which takes SQL Server 2019 or later, or Managed Instance, with Machine Learning Services"
_PYTHON = "PYTHON"
"""The language that Machine Learning Services bring; nobody may register one of that name."""


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
    """Whether the language is there; of Python, whether Machine Learning Services are, or the server does not say."""
    may_use: bool = True
    """Whether this user may run the language; True where the server does not say."""

    def runs(self, language: str) -> bool:
        """Whether such a server can be set up for the language; Managed Instance has Python, and takes no other."""
        if self.edition == _MANAGED_INSTANCE:
            return is_python(language)
        return self.edition in _BOXED and self.major >= 15


def is_python(language: str) -> bool:
    """Whether it is the language that comes with the server, and is not registered in a database."""
    return language.upper() == _PYTHON


def offers(pool: "MssqlPool", language: str) -> Offers:
    """What a server offers to scripts in a language: its own Python, or one of CREATE EXTERNAL LANGUAGE.

    Raises PoolError.
    """
    with pool.session("asking what external scripts the server runs") as session:
        ((major, edition, installed),) = session.rows(_VERSION)
        found = Offers(major, edition)
        if not found.runs(language):
            return found
        ((enabled, may_run),) = session.rows(_SCRIPTS)
        if is_python(language):
            there = edition == _MANAGED_INSTANCE or installed != 0
            return Offers(major, edition, bool(enabled), may_run != 0, there)
        ((registered, may_use),) = session.rows(_LANGUAGE, [language, language])
    return Offers(major, edition, bool(enabled), may_run != 0, bool(registered), may_use != 0)


def lacks(pool: Pool, language: str, *, registers: str) -> Sequence[Reason]:
    """Why a pool would not run scripts in a language, and what would make it run them.

    `registers` says what an administrator does to register one that does not come with the server.
    """
    if pool.kind != "mssql":
        what = "Python" if is_python(language) else "external languages"
        return (Reason(f"a pool of the kind {pool.kind} runs no {what}", NEAREST),)
    try:
        return tuple(_reasons(offers(cast("MssqlPool", pool), language), language, registers))
    except PoolError as error:
        if error.transient:
            raise
        return (Reason(f"the server does not say what external scripts it runs ({error})", NEAREST),)


def _reasons(found: Offers, language: str, registers: str) -> Iterator[Reason]:
    if not found.runs(language):
        yield Reason(
            f"the server (version {found.major}, engine edition {found.edition}) runs no "
            f"{_PYTHON_TAKES if is_python(language) else _LANGUAGES_TAKE}",
            NEAREST,
        )
        return
    if not found.registered:
        yield _absent(language, registers)
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


def _absent(language: str, registers: str) -> Reason:
    if is_python(language):
        return Reason(
            "Machine Learning Services are not installed on the server",
            "an administrator installs them with Python, as docs/external-python.md says",
        )
    return Reason(
        f"the external language {language} is not registered in this database, or this user may not see it",
        f"an administrator {registers}",
    )
