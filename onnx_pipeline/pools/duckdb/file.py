"""Opening a DuckDB file that other processes use too: the lock beside it, and whoever does not know that lock."""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb

from onnx_pipeline.base.errors import PoolBusyError, PoolError
from onnx_pipeline.pools.duckdb.instance import attached
from onnx_pipeline.pools.duckdb.lock import hold

__all__ = ["opened"]

_logger = logging.getLogger(__name__)


@contextmanager
def opened(
    path: Path, *, config: Mapping[str, Any], lock_timeout: float, purpose: str
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection, and with it the file, for as long as the block runs.

    Raises `PoolBusyError` where somebody else keeps the file longer than `lock_timeout` seconds, `PoolError` where it
    is no DuckDB database.
    """
    with ExitStack() as uses:
        left = uses.enter_context(hold(path, timeout=lock_timeout, purpose=purpose))
        yield _open(uses, path, config, left, lock_timeout)


def _open(
    uses: ExitStack, path: Path, config: Mapping[str, Any], seconds: float, lock_timeout: float
) -> duckdb.DuckDBPyConnection:
    """Open the file; a program that does not know our lock (a DuckDB shell, say) may still hold it."""
    deadline = time.monotonic() + seconds
    told = recovered = False
    while True:
        try:
            return uses.enter_context(attached(path, config))
        except duckdb.OutOfMemoryException as error:
            if recovered:
                raise PoolError(f"{path} cannot be opened as a DuckDB database: {error}") from error
            # A process died between registering a large model and writing it from the log into the file.
            _logger.info("%s has a log that needs more memory than the pool's limit: it is written into the file", path)
            _recover(path, config)
            recovered = True
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise PoolError(f"{path} cannot be opened as a DuckDB database: {error}") from error
            holder = _holder(str(error))
            if time.monotonic() >= deadline:
                raise PoolBusyError(
                    f"{path} was still held by {holder} after {lock_timeout:.0f} s, so nothing was "
                    "done. Close it there, or give the pool's URL a longer ?lock_timeout=<seconds>."
                ) from error
            if not told:
                _logger.warning("waiting up to %.0f s for %s, held by %s", seconds, path, holder)
                told = True
            time.sleep(0.2)
        except duckdb.Error as error:
            raise PoolError(f"{path} cannot be opened as a DuckDB database: {error}") from error


def _recover(path: Path, config: Mapping[str, Any]) -> None:
    """Write what DuckDB's log holds into the file, under DuckDB's own limit of memory."""
    free = {name: value for name, value in config.items() if name != "memory_limit"}
    try:
        with duckdb.connect(str(path), config=free) as connection:
            connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise PoolError(f"{path} cannot be opened as a DuckDB database: {error}") from error


def _holder(message: str) -> str:
    """Who DuckDB says holds the file, e.g. `/usr/bin/duckdb (PID 4711)`."""
    match = re.search(r"held in (.+?\(PID \d+\))", message)
    return f"{match.group(1)}, which has it open in DuckDB" if match else "another program"
