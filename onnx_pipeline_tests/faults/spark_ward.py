"""Four wards that a Spark cluster scores, each in several parts, and processes that are its drivers."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onnx_pipeline.cluster import spark as cluster
from onnx_pipeline.engines.spark import engine as engine_module
from onnx_pipeline.pools.duckdb.landing import FileLanding
from onnx_pipeline_tests.faults import ward as faults
from onnx_pipeline_tests.faults.ward import Stop, Ward


@dataclass(frozen=True)
class SparkWard(Ward):
    """A ward of more rows than DuckDB writes into one row group, so that it has more than one part."""

    rows: ClassVar[int] = 130_000
    pool_engine: ClassVar[str] = "spark"


def land_in_a_process(
    environment: Mapping[str, str], home: Path, mode: str, model: str, run_id: str, place: str | None
) -> None:
    """What a child process runs, a Spark driver: see `in_a_process`. A forked one has an older environment."""
    os.environ.update(environment)
    ward = SparkWard(home)
    faults.in_a_process(ward, ward.land, PLACES, mode, model, run_id, place)


def _while_tasks_run(stop: Stop) -> None:
    def never(*_: Any) -> Any:
        stop()  # in a task
        yield from ()

    cluster._answers = never


PLACES: dict[str, Callable[[Stop], None]] = {
    "while tasks run": _while_tasks_run,
    "when tasks have written and nothing is adopted": lambda stop: faults._around(
        engine_module, "carry_out", faults._always, stop, before=False, nth=2
    ),
    "when parts are adopted and nobody has judged them": lambda stop: faults._around(
        FileLanding, "_adopt", faults._always, stop, before=False, nth=2
    ),
    **{
        name: stopping
        for name, stopping in faults.LANDING_PLACES.items()
        if "rows land" not in name and "have landed" not in name
    },
}
