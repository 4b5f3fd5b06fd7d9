"""A database on the server under test, and the pool on it by each driver."""

import importlib.util
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from onnx_pipeline.pools.tsql.connections import parse_url
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.live.server import URL, VARIABLE, WITHOUT, Server

DRIVERS = {
    "mssqlpython": ("mssql+mssqlpython", "mssqlpython"),
    "pyodbc": ("mssql+pyodbc", "pyodbc"),
    "both": ("mssql+pyodbc", "mssqlpython"),
}
"""Who carries statements, and who moves rows."""

_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skipif(URL is None, reason=WITHOUT))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A new, empty database."""
    assert URL is not None, VARIABLE
    with Server.made() as server:
        yield server


OpenPool = Callable[[str], MssqlPool]


@pytest.fixture
def open_with(server: Server) -> OpenPool:
    """`open_with("pyodbc")`: the pool by those drivers, which waits a tenth of a second where it would wait five."""

    def make(drivers: str) -> MssqlPool:
        scheme, rows = DRIVERS[drivers]
        for module in {scheme.partition("+")[2], rows}:
            if importlib.util.find_spec({"mssqlpython": "mssql_python"}.get(module, module)) is None:
                pytest.skip(f"the driver {module} is not installed")
        return MssqlPool(parse_url(server.url(scheme, rows=rows, lock_timeout="60")), retries=Retries(first_wait=0.1))

    return make


@pytest.fixture(params=["mssqlpython", "pyodbc"])
def pool(request: pytest.FixtureRequest, open_with: OpenPool) -> MssqlPool:
    """The pool, by each driver alone."""
    return open_with(request.param)


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """`fresh("visits")`: a name that no other test uses."""
    return lambda name: f"{name}_{next(_numbers)}"
