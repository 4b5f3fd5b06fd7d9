"""Instances of DuckDB that outlive a use of the pool: to make one takes ten times as long as to attach a file to it.

Between two uses an instance has no file, so other processes have the pool meanwhile.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler

from onnx_pipeline.pools.duckdb.interruption import interruptible
from onnx_pipeline.pools.duckdb.statements import execute

__all__ = ["attached"]

_logger = logging.getLogger(__name__)

Config: TypeAlias = Mapping[str, Any]
_Key: TypeAlias = tuple[Path, tuple[tuple[str, Any], ...]]

_OWN_DATABASE = "memory"
"""What an instance without a file calls the database that it has. A file is called after itself."""
_MOST_KEPT = 2
"""Each has its threads, asleep, and 2 MB."""
_MOST_HELD = 16 * 2**20
"""Bytes that an instance may hold once it was used, and be kept: from one that is kept the system gets them back only later."""

_kept: "OrderedDict[_Key, _Instance]" = OrderedDict()


@contextmanager
def attached(path: Path, config: Config) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the file for as long as the block runs, which nobody else in this process may have meanwhile.

    Raises what `duckdb.connect` does, and KeyboardInterrupt where a signal ended a query.
    """
    key = (path, tuple(config.items()))
    instance = _kept.pop(key, None) or _Instance(path, config)
    keep = False
    try:
        with interruptible():
            connection = instance.attach()
            if connection is None:
                instance.close()
                with duckdb.connect(str(path), config=dict(config)) as connection:
                    yield connection
                return
            yield connection
            keep = instance.detach()
    finally:
        if keep:
            _kept[key] = instance
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)[1].close()
        else:
            # With it goes whatever a block that failed has left behind.
            instance.close()


class _Instance:
    def __init__(self, path: Path, config: Config) -> None:
        self._path = path
        self._spills = Path(f"{path}.tmp")
        # Where DuckDB spills to when it is given the file itself.
        self._base = duckdb.connect(":memory:", config={**config, "temp_directory": str(self._spills)})
        self._settings = self._state()[:-1]
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._name = ""

    def attach(self) -> duckdb.DuckDBPyConnection | None:
        """Open the file, and connect to it; what is temporary goes with the connection.

        None where the file, or a schema in it, is called as the instance's own database: no statement could name it.
        """
        if self._path.name.partition(".")[0].lower() == _OWN_DATABASE:
            return None
        execute(self._base, _Attach(self._path))
        # DuckDB calls temp.duckdb temp_db.
        ((self._name, clashes),) = self._base.execute(
            "SELECT database_name, (SELECT count(*) FROM duckdb_schemas() WHERE lower(schema_name) = $1) "
            "FROM duckdb_databases() WHERE path IS NOT NULL",
            [_OWN_DATABASE],
        ).fetchall()
        if clashes:
            return None
        self._connection = self._base.cursor()
        execute(self._connection, _Named("USE", self._name))
        return self._connection

    def detach(self) -> bool:
        """Close the file; False where the instance is not as it was, and only closing it will do."""
        assert self._connection is not None
        try:
            *settings, held = self._state()
            if settings != self._settings or held > _MOST_HELD or self._spills.exists():
                return False
            self._connection.close()
            execute(self._base, _Named("DETACH", self._name))
        except duckdb.Error as error:
            # The file has it all, in its log at least: what could not be written now is when it is opened next.
            _logger.debug("%s could not be detached: %s", self._path, error)
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._base.close()

    def _state(self) -> list[Any]:
        """The settings that the pool changes, and the bytes that are held."""
        (row,) = self._base.execute(
            "SELECT current_setting('memory_limit'), current_setting('preserve_insertion_order'), "
            "(SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory())"
        ).fetchall()
        return list(row)


def _close_kept() -> None:
    while _kept:
        _kept.popitem()[1].close()


if hasattr(os, "register_at_fork"):
    # No thread of an instance lives on in a fork.
    os.register_at_fork(before=_close_kept)


class _Attach(sa.schema.ExecutableDDLElement):
    """https://duckdb.org/docs/stable/sql/statements/attach; DuckDB 1.5 binds no value in it."""

    inherit_cache = False

    def __init__(self, path: Path) -> None:
        self.path = path


@compiles(_Attach)
def _attach(element: _Attach, compiler: DDLCompiler, **_: object) -> str:
    return f"ATTACH {compiler.sql_compiler.render_literal_value(str(element.path), sa.String())}"


class _Named(sa.schema.ExecutableDDLElement):
    """USE or DETACH, of a database."""

    inherit_cache = False

    def __init__(self, verb: str, database: str) -> None:
        self.verb = verb
        self.database = database


@compiles(_Named)
def _named(element: _Named, compiler: DDLCompiler, **_: object) -> str:
    return f"{element.verb} {compiler.preparer.quote(element.database)}"
