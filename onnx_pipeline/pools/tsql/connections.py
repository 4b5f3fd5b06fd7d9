"""Signing in to SQL Server, Azure SQL and Synapse: a URL becomes what a driver's `connect` takes.

    mssql+mssqlpython://login:password@server.database.windows.net/warehouse
    mssql+pyodbc://server/warehouse?authentication=ActiveDirectoryMSI
    synapse://workspace.sql.azuresynapse.net/pool?authentication=ActiveDirectoryServicePrincipal

What the URL leaves out comes from the environment: ONNX_PIPELINE_SQL_USER and ONNX_PIPELINE_SQL_PASSWORD are a SQL
login's, or a service principal's client id and secret; a managed identity's client id is the user. Without user and
`authentication`, DefaultAzureCredential signs in. The server's certificate is verified unless the URL says
`trust_server_certificate=yes`.
"""

import os
import struct
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from onnx_pipeline.base.errors import PoolError, SpecError
from onnx_pipeline.base.hints import closest

__all__ = ["Address", "Authentication", "access_token", "odbc_string", "parse_url"]

Authentication = Literal[
    "SqlPassword", "ActiveDirectoryMSI", "ActiveDirectoryServicePrincipal", "ActiveDirectoryDefault"
]

USER_VARIABLE = "ONNX_PIPELINE_SQL_USER"
PASSWORD_VARIABLE = "ONNX_PIPELINE_SQL_PASSWORD"  # noqa: S105 - a variable's name

_WAYS: tuple[Authentication, ...] = (
    "SqlPassword",
    "ActiveDirectoryMSI",
    "ActiveDirectoryServicePrincipal",
    "ActiveDirectoryDefault",
)
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_TOKEN_SCOPE = "https://database.windows.net/.default"  # noqa: S105 - an address


@dataclass(frozen=True)
class Address:
    """A database, and who signs in to it."""

    scheme: str
    server: str
    database: str
    port: int | None = None
    authentication: Authentication = "ActiveDirectoryDefault"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    encrypt: bool = True
    trust_server_certificate: bool = False
    options: dict[str, str] = field(default_factory=dict)
    """What else the URL says, for the pool to read."""

    @property
    def display_name(self) -> str:
        """Kind, server and database, and no more."""
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme.partition('+')[0]}:{self.server}{port}/{self.database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password as it is, and as URLs and connection strings spell it."""
        if not self.password:
            return ()
        spellings = (self.password, quote(self.password, safe=""), quote(self.password), quote_plus(self.password))
        return tuple(dict.fromkeys((*spellings, self.password.replace("}", "}}"))))

    def number(self, option: str, default: Any) -> Any:
        """What the URL says of an option that is a number, or `default`; SpecError where it is none."""
        text = self.options.get(option)
        try:
            return default if text is None else float(text)
        except ValueError as error:
            raise SpecError(f"{self.display_name}: {option}={text} in the pool's URL is no number") from error

    def redacted(self, text: str) -> str:
        """`text` without the password."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def parse_url(url: str) -> Address:
    """The address in a URL; `SpecError`, which never repeats the URL, for what cannot be one."""
    scheme = url.partition(":")[0]
    try:
        parts = sa.engine.make_url(url)
    except (ArgumentError, ValueError):
        raise SpecError(
            f"the {scheme} pool's URL cannot be read: write {scheme}://user:password@server:1433/database, with "
            "special characters of user and password in percent form (`@` is %40, `/` is %2F, `:` is %3A)"
        ) from None
    if not parts.host or not parts.database:
        raise SpecError(f"the {scheme} pool's URL names no server or no database: write {scheme}://server/database")
    options = {name: value if isinstance(value, str) else value[-1] for name, value in parts.query.items()}
    user = parts.username or os.environ.get(USER_VARIABLE)
    password = parts.password or os.environ.get(PASSWORD_VARIABLE)
    authentication = _way(options.pop("authentication", None), user, password)
    if authentication in ("SqlPassword", "ActiveDirectoryServicePrincipal") and not (user and password):
        raise SpecError(
            f"the {scheme} pool on {parts.host}: {authentication} needs a user and a password, in the URL or in "
            f"{USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )
    return Address(
        scheme=scheme,
        server=parts.host,
        port=parts.port,
        database=parts.database,
        authentication=authentication,
        user=user,
        password=str(password) if password and authentication != "ActiveDirectoryMSI" else None,
        encrypt=_flag(options, "encrypt", default=True),
        trust_server_certificate=_flag(options, "trust_server_certificate", default=False),
        options=options,
    )


def _way(given: str | None, user: str | None, password: str | None) -> Authentication:
    if given is None:
        return "SqlPassword" if user and password else "ActiveDirectoryDefault"
    for way in _WAYS:
        if way.casefold() == given.casefold():
            return way
    raise SpecError(f"pool URL: authentication {given!r} is not known; {closest(given, _WAYS)}")


def _flag(options: dict[str, str], name: str, *, default: bool) -> bool:
    text = options.pop(name, None)
    if text is None:
        return default
    if text.casefold() not in _YES_NO:
        raise SpecError(f"pool URL: {name}={text} must be yes or no")
    return _YES_NO[text.casefold()]


def odbc_string(address: Address, *, driver: str | None = None, sign_in: bool = True) -> str:
    """The connection string; without `sign_in` it names nobody, and an access token goes beside it."""
    parts: dict[str, str] = {} if driver is None else {"Driver": _braced(driver)}
    parts["Server"] = f"{address.server},{address.port}" if address.port is not None else address.server
    parts["Database"] = _braced(address.database)
    parts["Encrypt"] = "yes" if address.encrypt else "no"
    parts["TrustServerCertificate"] = "yes" if address.trust_server_certificate else "no"
    if sign_in:
        if address.authentication != "SqlPassword":
            parts["Authentication"] = address.authentication
        if address.user:
            parts["UID"] = _braced(address.user)
        if address.password:
            parts["PWD"] = _braced(address.password)
    return ";".join(f"{name}={value}" for name, value in parts.items()) + ";"


def _braced(value: str) -> str:
    """ODBC's quoting: braces, with a closing one doubled."""
    return "{" + value.replace("}", "}}") + "}"


def access_token(address: Address) -> dict[int, Any]:
    """Pyodbc's `attrs_before` with a token of DefaultAzureCredential, in the form of ODBC's ACCESSTOKEN structure.

    https://learn.microsoft.com/sql/connect/odbc/using-azure-active-directory#authenticating-with-an-access-token
    """
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential

        from onnx_pipeline.azure.account import no_token
    except ImportError as error:
        raise SpecError(
            f"{address.display_name}: signing in by ActiveDirectoryDefault needs the package azure-identity; "
            "install onnx-pipeline[azure], or name another `authentication`"
        ) from error
    credential = DefaultAzureCredential(managed_identity_client_id=address.user)
    try:
        token = credential.get_token(_TOKEN_SCOPE).token.encode("utf-16-le")
    except ClientAuthenticationError as error:
        raise PoolError(f"{address.display_name}: {no_token(_TOKEN_SCOPE, error)}") from None
    sql_copt_ss_access_token = 1256
    return {sql_copt_ss_access_token: struct.pack(f"<I{len(token)}s", len(token), token)}
