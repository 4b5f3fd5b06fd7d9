"""Tasks, Python workers, executors, workers and drivers of Spark that die: every row is in the target once."""

import os
import threading
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import psutil
import pytest

from onnx_pipeline.cluster import spark as cluster
from onnx_pipeline.pools.duckdb.landing import FileLanding
from onnx_pipeline_tests.faults.disturbed_tasks import answers_that
from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.spark_ward import PLACES, SparkWard, land_in_a_process
from onnx_pipeline_tests.faults.ward import WARDS, forks, until
from onnx_pipeline_tests.spark_clusters import LOCAL, LOCAL_CLUSTER, TRIES, Standalone, engine_session

SPECULATING = {
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.minTaskRuntime": "100ms",
    "spark.speculation.multiplier": "1.01",
}
NIGHTLY = (pytest.mark.nightly, pytest.mark.timeout(900))


@pytest.fixture
def ward(project_home: Path) -> SparkWard:
    ward = SparkWard(project_home)
    ward.build()
    return ward


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each slice: the files that tasks left, and those that were taken over."""
    seen: list[tuple[int, int]] = []
    original = FileLanding._adopt

    def watched(landing: FileLanding, plan: Any, written: Any) -> None:
        seen.append((len(list(landing._written.glob("*.parquet"))), len(written)))
        original(landing, plan, written)

    monkeypatch.setattr(FileLanding, "_adopt", watched)
    return seen


@pytest.fixture
def disturbed(ward: SparkWard, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`disturbed("fails")`: what a task meets once it has written its part, and before it has told so."""

    def disturb(how: str) -> None:
        monkeypatch.setattr(cluster, "_answers", answers_that(how, ward.home))

    return disturb


def assert_each_row_once(ward: SparkWard, model: str = "first", run_id: str = "run-1") -> None:
    assert set(ward.assert_whole("replace").values()) == {run_id}
    ward.assert_scored("replace", model)


@pytest.mark.nightly
def test_of_a_part_that_was_tried_twice_one_try_is_loaded(
    ward: SparkWard, adopted: Any, disturbed: Callable[[str], None], spark_settings: object
) -> None:
    with engine_session(TRIES):
        for model, how in (("first", "fails"), ("second", "loses its Python worker")):
            disturbed(how)
            ward.land("replace", model, how)
            assert_each_row_once(ward, model, how)
    assert len(adopted) == 2 * len(WARDS)
    assert all(files == 2 * taken and taken > 1 for files, taken in adopted), adopted


@pytest.mark.nightly
@pytest.mark.parametrize("url", ["standalone", pytest.param(LOCAL_CLUSTER, marks=NIGHTLY)])
def test_the_parts_of_an_executor_that_was_killed_are_scored_by_another(
    url: str, ward: SparkWard, adopted: Any, disturbed: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    if url == "standalone":
        cluster: Standalone = request.getfixturevalue("standalone")
        cluster.whole()
        url = cluster.url
    else:
        request.getfixturevalue("spark_settings")
    disturbed("loses its executor")
    with engine_session(url):
        ward.land("replace", "first", "run-1")
    assert (ward.home / "killed").exists()
    assert any(files > taken for files, taken in adopted), adopted
    assert_each_row_once(ward)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_of_a_part_that_ran_twice_at_once_one_is_loaded(
    ward: SparkWard, adopted: Any, disturbed: Callable[[str], None], standalone: Standalone
) -> None:
    standalone.whole()
    disturbed("runs twice")
    with engine_session(standalone.url, SPECULATING):
        ward.land("replace", "first", "run-1")
    assert all(files > taken for files, taken in adopted), adopted
    assert_each_row_once(ward)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_worker_that_was_killed_takes_no_row_with_it(
    ward: SparkWard, disturbed: Callable[[str], None], standalone: Standalone
) -> None:
    standalone.whole()
    disturbed("loses a worker")

    def kill() -> None:
        until(lambda: len(list((ward.home / "flags").glob("*"))) == 2)
        standalone.kill_worker()
        (ward.home / "killed").touch()

    killing = threading.Thread(target=kill)
    killing.start()
    with engine_session(standalone.url):
        ward.land("replace", "first", "run-1")
    killing.join()
    assert_each_row_once(ward)


class DriverKiller(Killer):
    """Kills a run that is the driver of a cluster; the cluster, which lives in its process' JVM, ends with it."""

    def score(self) -> tuple[Any, ...]:
        kept = {
            name: value for name, value in os.environ.items() if name.startswith(("ONNX_PIPELINE", "SPARK", "PYSPARK"))
        }
        return land_in_a_process, kept, self._ward.home

    def settled(self) -> dict[str, str]:
        until(lambda: not _left_behind(self._ward.home))
        return super().settled()


def _left_behind(home: Path) -> list[psutil.Process]:
    """JVMs and Python workers of runs in that home, but for those of this process."""
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    found = []
    for process in psutil.process_iter():
        try:
            named = process.environ().get("ONNX_PIPELINE_HOME") == str(home)
        except psutil.Error:
            continue
        if named and process.pid not in ours and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.fixture(scope="module")
def processes(spark_settings: object) -> BaseContext:
    return forks("onnx_pipeline_tests.faults.spark_ward")


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("replace", ("while tasks run",)),
        *(pytest.param(mode, tuple(PLACES), marks=NIGHTLY) for mode in ("replace", "upsert", "append")),
    ],
)
def test_a_driver_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(
    mode: str, places: tuple[str, ...], ward: SparkWard, processes: BaseContext
) -> None:
    killer = DriverKiller(ward, processes, mode)
    with engine_session(LOCAL):
        for place in places:
            killer.kill(place=place)
    assert killer.killed == len(places)
