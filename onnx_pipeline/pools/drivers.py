"""The two Python drivers for SQL Server, and what differs between them: signing in, and moving rows as Arrow batches."""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from onnx_pipeline.errors import SpecError
from onnx_pipeline.pools.connections import Address

__all__ = ["Driver", "WatchedBatches", "open_driver"]


class Driver(Protocol):
    """One Python driver."""

    name: str

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """What it raises when the server or the connection fails."""

    def connect(self, address: Address, login_seconds: int) -> Any:
        """A DBAPI connection in autocommit mode, made within that many seconds."""

    def reader(self, cursor: Any, batch_rows: int, statement: str) -> pa.RecordBatchReader:
        """The rows of a SELECT that was executed as Arrow batches, streamed; raises the driver's errors."""

    def copy(self, connection: Any, table: str, names: Sequence[str], batches: "WatchedBatches") -> None:
        """Add rows to a table named by quoted identifiers, outside any transaction of `connection`."""


class WatchedBatches:
    """Batches that a driver pulls; what went wrong while making them is kept, since a driver may hide it."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self._batches = batches
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except Exception as error:
            self.error = error
            raise


def open_driver(name: str) -> Driver:
    """The driver `pyodbc` or `mssqlpython`; `SpecError` where it is not installed."""
    module, package = {"pyodbc": ("pyodbc", "pyodbc"), "mssqlpython": ("mssql_python", "mssql-python")}[name]
    if importlib.util.find_spec(module) is None:
        raise SpecError(f"the pool's URL asks for the driver {package}, which is not installed: pip install {package}")
    if name == "pyodbc":
        from onnx_pipeline.pools.driver_pyodbc import PyodbcDriver

        return PyodbcDriver()
    from onnx_pipeline.pools.driver_mssqlpython import MssqlPythonDriver

    return MssqlPythonDriver()


def has_driver(name: str) -> bool:
    """Whether a driver is installed."""
    return importlib.util.find_spec({"pyodbc": "pyodbc", "mssqlpython": "mssql_python"}[name]) is not None
