"""Four wards on an imitated Synapse pool whose rows lie in a file, and processes that score them by its PREDICT."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.landing import TableLanding
from onnx_pipeline_tests.faults import ward as faults
from onnx_pipeline_tests.faults.imitated_ward import LATE_PLACES, ImitatedWard
from onnx_pipeline_tests.faults.ward import Stop
from onnx_pipeline_tests.pools import predicting
from onnx_pipeline_tests.pools.conftest import synapse_on
from onnx_pipeline_tests.pools.imitation import Server


@dataclass(frozen=True)
class PredictingWard(ImitatedWard):
    """A ward whose pool answers PREDICT."""

    rows: ClassVar[int] = 200
    pool_engine: ClassVar[str] = "predict"

    @property
    def server(self) -> Server:
        if not self._running:
            place = str(self.home / "data" / "server.duckdb")
            self._running.append(Server(place=place, storage=self.home / "data" / "blob", answers_predict=True))
        return self._running[0]

    @property
    def pool(self) -> SynapsePool:  # type: ignore[override]
        return synapse_on(self.server)


def land_in_a_process(home: Path, mode: str, model: str, run_id: str, place: str | None) -> None:
    """What a child process runs: see `in_a_process`."""
    ward = PredictingWard(home)
    faults.in_a_process(ward, ward.land_and_end, PLACES, mode, model, run_id, place)


def _at_landing(*, before: bool) -> Callable[[Stop], None]:
    return lambda stop: faults._around(TableLanding, "insert", faults._always, stop, before=before, nth=2)


PLACES: dict[str, Callable[[Stop], None]] = {
    "before the model's form is registered": lambda stop: faults._around(
        TableLanding, "register", faults._always, stop, before=True
    ),
    "before rows land": _at_landing(before=True),
    "while PREDICT runs": lambda stop: faults._around(predicting, "answer", faults._always, stop, before=False, nth=2),
    "when rows have landed and nobody has judged them": _at_landing(before=False),
    **LATE_PLACES,
}
