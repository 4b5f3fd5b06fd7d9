"""Four wards on an imitated SQL Server whose rows lie in a file, and processes that score them by the server's scripts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from onnx_pipeline.pools.tsql.landing import TableLanding
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.engines.external.as_python import Satellite, ServersPython
from onnx_pipeline_tests.extension import host
from onnx_pipeline_tests.extension.as_language import BuiltExtension
from onnx_pipeline_tests.faults import ward as faults
from onnx_pipeline_tests.faults.ward import Stop, Ward
from onnx_pipeline_tests.live.ward import after_a_commit, at_statement
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits
from onnx_pipeline_tests.pools.external_scripts import Language
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server


@dataclass(frozen=True)
class ImitatedWard(Ward):
    """A ward whose pool is an imitated server, which has the built extension as its language."""

    rows: ClassVar[int] = 300
    pool_engine: ClassVar[str] = "external_language"

    library: Path = Path()
    _running: list[Server] = field(default_factory=list)

    @property
    def server(self) -> Server:
        if not self._running:
            place = str(self.home / "data" / "server.duckdb")
            self._running.append(Server(place=place, languages=self.languages()))
        return self._running[0]

    def languages(self) -> dict[str, Language]:
        """What the server runs scripts by."""
        extension = host.Extension(self.library)
        extension.init(str(self.library.parent))
        return {"ONNX": BuiltExtension(extension)}

    def end(self) -> None:
        """The file is free for other processes."""
        for server in self._running:
            server.database.close()
        self._running.clear()

    def land_and_end(self, mode: str, model: str, run_id: str, keys: Sequence[str]) -> None:
        self.land(mode, model, run_id, keys)
        self.end()

    @property
    def pool(self) -> MssqlPool:  # type: ignore[override]
        return MssqlPool(ADDRESS, driver=ImitatedDriver(self.server), retries=Retries(sleep=Waits()))

    @contextmanager
    def looking(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(self.home / "data" / "server.duckdb")) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS dbo; SET schema = 'dbo'")
            yield connection

    def build(self) -> None:
        (self.home / "data").mkdir(parents=True)
        visits = self.visits()
        with self.looking() as connection:
            connection.register("visits_to_copy", visits)
            connection.execute("CREATE TABLE visits AS FROM visits_to_copy")
        self.write_models()


@dataclass(frozen=True)
class PythonWard(ImitatedWard):
    """A ward whose server runs its own Python."""

    pool_engine: ClassVar[str] = "external_python"

    def languages(self) -> dict[str, Language]:
        return {"PYTHON": ServersPython()}

    def end(self) -> None:
        for server in self._running:
            for language in server.languages.values():
                assert isinstance(language, ServersPython)
                language.end()
        super().end()


def land_in_a_process(ward: ImitatedWard, mode: str, model: str, run_id: str, place: str | None) -> None:
    """What a child process runs: see `in_a_process`."""
    faults.in_a_process(ward, ward.land_and_end, PLACES, mode, model, run_id, place)


def _at_landing(name: str, owner: Any = TableLanding, *, before: bool, nth: int = 2) -> Callable[[Stop], None]:
    return lambda stop: faults._around(owner, name, faults._always, stop, before=before, nth=nth)


LATE_PLACES: dict[str, Callable[[Stop], None]] = {
    "before the landing is named": faults.LANDING_PLACES["before the landing is named"],
    "after the landing is named": faults.LANDING_PLACES["after the landing is named"],
    "when the old rows are deleted and the new ones not there": at_statement("INSERT INTO scores", before=True),
    "when rows are in and the log is not": at_statement("INSERT INTO scores", before=False),
    "before the commit": at_statement("COMMIT", before=True),
    "after the commit, before the landing is dropped": at_statement("COMMIT", before=False),
    "after a load": after_a_commit,
}
"""From the end of a landing on, whoever filled it."""

PLACES: dict[str, Callable[[Stop], None]] = {
    "before rows land": _at_landing("execute", before=True),
    # Of the second ward: the first has a chunk for each of two tasks.
    "while the script runs": _at_landing("execute", host.Session, before=False, nth=3),
    # Two tasks are begun and get a chunk each.
    "while Python runs": _at_landing("ask", Satellite, before=False, nth=7),
    "when rows have landed and nobody has judged them": _at_landing("execute", before=False),
    **LATE_PLACES,
}
