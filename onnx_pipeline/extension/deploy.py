"""Registering the language over a connection: the package travels in the statement, as a hexadecimal literal.

https://learn.microsoft.com/sql/t-sql/statements/create-external-language-transact-sql
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from onnx_pipeline.base.errors import PoolError, SpecError
from onnx_pipeline.extension.package import Package
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.planned import signed
from onnx_pipeline.pools.records import NORMALISED
from onnx_pipeline.pools.scripts import script, statements_of
from onnx_pipeline.pools.tsql.dialect import literal, quoted
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session

__all__ = [
    "SCRIPTS",
    "Server",
    "abbreviated",
    "deploy",
    "deployment",
    "register",
    "registration",
    "server_of",
]

SCRIPTS = ("sp_onnx_scoring", "external_language_roles")
"""What comes after the language, from `sql/sqlserver/`."""

_SERVER = (
    "SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS INT), CAST(SERVERPROPERTY('EngineEdition') AS INT), "
    "(SELECT CAST(value_in_use AS INT) FROM sys.configurations WHERE name = 'external scripts enabled')"
)
_PLATFORM = "SELECT UPPER(host_platform) FROM sys.dm_os_host_info"
_REGISTERED = (
    "SELECT f.platform_desc FROM sys.external_languages AS l JOIN sys.external_language_files AS f "
    "ON f.external_language_id = l.external_language_id WHERE l.language = ?"
)
_PREPARED = "SELECT DATABASE_PRINCIPAL_ID('onnx_scorer'), COL_LENGTH('onnx_models', 'form')"
_BOXED = frozenset({2, 3, 4})
"""EngineEdition of Standard, Enterprise and Express; Azure's services run no external languages."""


@dataclass(frozen=True)
class Server:
    """What a server says of itself."""

    platform: str
    """`LINUX` or `WINDOWS`."""
    scripts_enabled: bool
    registered: frozenset[str]
    """The platforms that the language is registered for in this database."""


def server_of(session: Session, language: str, display_name: str) -> Server:
    """Asks a server; PoolError for one that runs no external languages."""
    major, edition, enabled = session.rows(_SERVER)[0]
    if edition not in _BOXED or major < 15:
        raise PoolError(
            f"{display_name} runs no external languages (version {major}, engine edition {edition}): they take SQL "
            "Server 2019 or later with Machine Learning Services and Language Extensions. Score with another engine"
        )
    registered = frozenset(row[0].upper() for row in session.rows(_REGISTERED, [language]))
    return Server(session.scalar(_PLATFORM), bool(enabled), registered)


def registration(package: Package, language: str, registered: Collection[str]) -> str:
    """The statement that registers the package: CREATE, or ALTER where the language stands.

    `registered` are the platforms that it stands for. Raises SpecError for a name that cannot be a language's.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", language) or language.upper() in ("R", "PYTHON", "JAVA"):
        raise SpecError(f"--language {language!r} must be letters, digits and underscores, and none of R, Python, Java")
    parts = (
        f"CONTENT = {literal(package.content)}, FILE_NAME = {literal(package.file_name)}, PLATFORM = {package.platform}"
    )
    if not registered:
        return f"CREATE EXTERNAL LANGUAGE {quoted(language)} FROM ({parts})"
    verb = "SET" if package.platform in registered else "ADD"
    return f"ALTER EXTERNAL LANGUAGE {quoted(language)} {verb} ({parts})"


def abbreviated(statement: str) -> str:
    """The statement for people to read: of a long hexadecimal literal its beginning and its length."""

    def shorter(found: re.Match[str]) -> str:
        return f"{found[0][:18]}... /* {(len(found[0]) - 2) // 2:,} bytes */"

    return re.sub(r"0x[0-9a-f]{64,}", shorter, statement)


def deployment(package: Package, language: str, registered: Collection[str]) -> list[str]:
    """All statements: what `registration` gives, then the procedure and the grants."""
    statements = [registration(package, language, registered)]
    for name in SCRIPTS:
        text = script(MssqlPool.sql_folder, name)
        text = text.replace("N''ONNX''", f"N''{language}''").replace("LANGUAGE::ONNX", f"LANGUAGE::{language}")
        statements += statements_of(text)
    return statements


def deploy(pool: MssqlPool, package: Package, language: str) -> Server:
    """Registers or replaces the language, its procedure and its grants; what the server said of itself before.

    Raises PoolError where the server runs no external languages or runs on another platform than the package, and where
    `sql apply` was not run; nothing has changed then.
    """
    with pool.session(f"deploying the external language {language}") as session:
        server = server_of(session, language, pool.display_name)
        if server.platform != package.platform:
            raise PoolError(
                f"{pool.display_name} runs on {server.platform.title()} and the package is for "
                f"{package.platform.title()}; make the other one by `onnx-pipeline extension package --platform "
                f"{server.platform.lower()}`"
            )
        if None in session.rows(_PREPARED)[0]:
            raise PoolError(
                f"{pool.display_name} lacks the role onnx_scorer, or the table onnx_models with its column `form`, "
                "which the language's procedure and grants are about; run `onnx-pipeline sql apply` first"
            )
        for statement in deployment(package, language, server.registered):
            session.execute(statement)
    return server


def register(pool: MssqlPool, model: OnnxModel, name: str) -> int:
    """Puts a model into the models table in the form that runs, without ZipMap for one; its id.

    The sha256 stays that of the bytes as they came. A model that normalising left alone is registered in this form,
    too: what looks for one to run asks for `normalised`, and need not know whether that differs.
    """
    return pool.register_model(name, model.sha256, model.normalised, signed(model), NORMALISED)
