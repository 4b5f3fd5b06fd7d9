"""The server that ONNX_PIPELINE_TEST_MSSQL names, asked plainly: the independent truth of these tests.

Nothing here uses the code under test but to read the URL.
"""

import logging
import os
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.pools.tsql.connections import Address, odbc_string, parse_url

_logger = logging.getLogger(__name__)

VARIABLE = "ONNX_PIPELINE_TEST_MSSQL"
URL = os.environ.get(VARIABLE)
"""Read when this module is imported: every test's environment is cleared of it."""

WITHOUT = f"no server to test on: set {VARIABLE} to the URL of one, with a login that may create databases"


def connect(address: Address) -> Any:
    import mssql_python

    mssql_python.pooling(enabled=False)
    return mssql_python.connect(odbc_string(address), autocommit=True)


@dataclass
class Server:
    """A database of these tests' own."""

    address: Address

    @classmethod
    @contextmanager
    def made(cls) -> Iterator["Server"]:
        assert URL is not None
        whole = parse_url(URL)
        server = cls(replace(whole, database=f"onnx_live_{secrets.token_hex(4)}"))
        name = server.address.database
        admin = connect(whole)
        try:
            _create(admin, name)
            try:
                yield server
            finally:
                server.close()
                _drop(admin, name)
        finally:
            admin.close()

    @cached_property
    def _connection(self) -> Any:
        return connect(self.address)

    def close(self) -> None:
        if "_connection" in self.__dict__:
            self._connection.close()
            del self.__dict__["_connection"]

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, list(values)) if values else cursor.execute(statement)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, list(values)) if values else cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def scalar(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self.rows(statement, values)[0][0]

    def takes(self, statement: str) -> bool:
        """Whether the server carries a statement out: what a compatible server lacks is found by trying.

        On a connection of its own, since some end with the refusal.
        """
        import mssql_python

        connection = connect(self.address)
        try:
            connection.cursor().execute(statement)
        except mssql_python.Error:
            return False
        finally:
            connection.close()
        return True

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows of plain values, 1,000 cells a statement."""
        names = ", ".join(columns)
        count = max(1, 1000 // len(columns))
        for start in range(0, len(rows), count):
            part = rows[start : start + count]
            marks = ", ".join(f"({', '.join('?' * len(columns))})" for _ in part)
            self.execute(f"INSERT INTO {table} ({names}) VALUES {marks}", [cell for row in part for cell in row])

    def end_other_sessions(self) -> int:
        return end_sessions(self._connection, self.address.database)

    def staging_tables(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT name FROM sys.tables WHERE name LIKE 'onnx[_]staging[_]%'")]

    def url(self, scheme: str, **options: str) -> str:
        """The database's URL for the code under test."""
        assert URL is not None
        url = sa.engine.make_url(URL).set(drivername=scheme, database=self.address.database)
        return url.update_query_dict(options).render_as_string(hide_password=False)


def end_sessions(connection: Any, database: str) -> int:
    """KILL every session of a database but the one that asks; how many there were."""
    import mssql_python

    cursor = connection.cursor()
    cursor.execute("SELECT spid FROM sys.sysprocesses WHERE dbid = DB_ID(?) AND spid <> @@SPID", [database])
    sessions = [row[0] for row in cursor.fetchall()]
    for session in sessions:
        try:
            cursor.execute(f"KILL {int(session)}")
        except mssql_python.Error as error:  # noqa: PERF203 - they may end one by one
            _logger.info("session %s is gone already: %s", session, error)
    return len(sessions)


def _create(admin: Any, name: str) -> None:
    """Make a database; of two that are made at the same moment a server may refuse one."""
    import mssql_python

    for left in reversed(range(5)):
        try:
            admin.cursor().execute(f"CREATE DATABASE {name}")
        except mssql_python.Error:  # noqa: PERF203 - waiting is a loop of tries
            if not left:
                raise
            time.sleep(random.uniform(0.5, 3.0))
        else:
            return


def _drop(admin: Any, name: str) -> None:
    """Drop a database; a test that failed may have left a connection to it."""
    end_sessions(admin, name)
    admin.cursor().execute(f"DROP DATABASE {name}")
