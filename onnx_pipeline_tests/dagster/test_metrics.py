"""What Prometheus is told of scorings, against counts in the database and in Dagster's run storage."""

import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.orchestration.metrics import exporter as exporter_module
from onnx_pipeline.orchestration.metrics.exporter import Exporter
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, default_resources
from onnx_pipeline.pools.duckdb import pool as duckdb_pool
from onnx_pipeline.pools.duckdb.lock import hold
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, definitions, linear_model

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def exporter_of(
    project: Project, instance: dg.DagsterInstance | None, *specs: ScoringSpec, counters: bool = True
) -> Exporter:
    return Exporter(specs, project.pool, store(), instance, counters=counters)


def store() -> ArtifactStore:
    return ArtifactStoreResource().open()


def samples(exporter: Exporter) -> Samples:
    """Every sample of a scrape, read by Prometheus's own parser."""
    registry = CollectorRegistry()
    registry.register(exporter)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def of(found: Samples, name: str, scoring: str = "visits", **labels: str) -> float | None:
    return found.get((f"onnx_pipeline_{name}", tuple(sorted({"scoring": scoring, **labels}.items()))))


def test_figures_are_those_of_the_tables_and_the_run_storage(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    exporter = exporter_of(project, runner.instance, spec)
    exporter.look()
    found = samples(exporter)
    assert of(found, "up", error="") == 1
    assert of(found, "slices") == of(found, "rows") == 0
    assert of(found, "pending_slices", reason="never scored") == 4
    assert of(found, "pending_rows") == project.execute("SELECT count(*) FROM visits")[0][0]
    assert of(found, "last_scored_timestamp_seconds") is None
    assert of(found, "last_run_failed") == 0

    assert runner.run(spec, first=DAYS[0], last=DAYS[1]).success
    assert runner.run(spec, partition=DAYS[2]).success
    project.execute("INSERT INTO visits VALUES (9001, NULL, 'x', 1, 1, NULL)")
    exporter.look()
    found = samples(exporter)
    (rows,) = project.execute("SELECT count(*) FROM visits_scored")[0]
    ((slices, seconds, newest),) = project.execute(
        "SELECT count(*), sum(seconds), max(scored_at) FROM onnx_scoring_log WHERE scoring = 'visits'"
    )
    ((of_run, its_seconds),) = project.execute(
        "SELECT sum(rows), sum(seconds) FROM onnx_scoring_log WHERE run_id = (SELECT arg_max(run_id, scored_at) "
        "FROM onnx_scoring_log)"
    )
    assert (of(found, "rows"), of(found, "slices")) == (rows, slices) == (150, 3)
    assert of(found, "pending_slices", reason="never scored") == 1
    assert of(found, "rows_outside") == 1
    assert of(found, "last_scored_timestamp_seconds") == newest.replace(tzinfo=datetime.timezone.utc).timestamp()
    assert of(found, "last_run_rows") == of_run == 50
    assert of(found, "last_run_seconds") == pytest.approx(its_seconds)
    # Counted between the two looks.
    assert (of(found, "scored_rows_total"), of(found, "scored_slices_total")) == (rows, slices)
    assert of(found, "scored_seconds_total") == pytest.approx(seconds)


def test_what_stood_before_the_exporter_began_is_not_counted_and_what_is_scored_again_is(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    exporter = exporter_of(project, runner.instance, spec)
    exporter.look()
    assert of(samples(exporter), "scored_rows_total") == 0
    exporter.look()
    assert of(samples(exporter), "scored_rows_total") == 0
    assert runner.run(spec, partition=DAYS[1]).success
    exporter.look()
    found = samples(exporter)
    assert (of(found, "scored_rows_total"), of(found, "scored_slices_total")) == (50, 1)
    assert of(found, "rows") == 200


def test_failed_and_unfinished_runs_are_those_of_the_scoring(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(checks={"null_rate": 0.0, "blocking": ["null_rate"]})
    other = make_spec(name="others", target="others_scored")
    exporter = exporter_of(project, runner.instance, spec, other)
    exporter.look()
    project.execute("UPDATE visits SET a = NULL WHERE day = '2026-01-02'")
    assert not runner.run(spec, partition=DAYS[1]).success
    create_run_for_test(runner.instance, job_name="visits", status=DagsterRunStatus.STARTED)
    exporter.look()
    found = samples(exporter)
    assert of(found, "last_run_failed") == of(found, "failed_runs_day") == of(found, "failed_runs_total") == 1
    assert of(found, "unfinished_runs") == 1
    for name in ("last_run_failed", "failed_runs_day", "failed_runs_total", "unfinished_runs"):
        assert of(found, name, "others") == 0
    assert runner.run(spec, partition=DAYS[0]).success
    exporter.look()
    found = samples(exporter)
    assert of(found, "last_run_failed") == 0
    assert of(found, "failed_runs_day") == of(found, "failed_runs_total") == 1


def test_a_slice_that_was_never_scored_is_as_old_as_the_end_of_its_partition(
    project: Project, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.datetime(2026, 1, 8, 6, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr(exporter_module, "_now", lambda: now)
    exporter = exporter_of(project, None, make_spec())
    exporter.look()
    # 1 January ended on the 2nd at midnight.
    assert of(samples(exporter), "oldest_pending_seconds") == 6 * 86400 + 6 * 3600


def test_a_slice_that_changed_is_as_old_as_the_look_that_first_saw_it_and_is_forgotten_once_scored(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    start = datetime.datetime.now(tz=datetime.timezone.utc)
    exporter = exporter_of(project, None, spec)

    def look_after(minutes: int) -> float | None:
        monkeypatch.setattr(exporter_module, "_now", lambda: start + datetime.timedelta(minutes=minutes))
        exporter.look()
        return of(samples(exporter), "oldest_pending_seconds")

    assert look_after(0) == 0
    project.execute("UPDATE visits SET touched = '2026-02-01' WHERE day = '2026-01-02'")
    assert look_after(10) == 0
    assert look_after(25) == 15 * 60
    assert of(samples(exporter), "pending_slices", reason="source changed") == 1
    assert runner.run(spec, partition=DAYS[1]).success
    assert look_after(30) == 0
    assert of(samples(exporter), "pending_slices", reason="source changed") is None
    project.execute("UPDATE visits SET touched = '2026-03-01' WHERE day = '2026-01-02'")
    look_after(40)
    assert look_after(41) == 60


def test_slices_of_a_model_that_is_no_longer_current_count_as_pending(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(rescore="all")
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    project.put_model(linear_model(bias=5.0))
    assert runner.run(spec, only=["model"]).success
    exporter = exporter_of(project, None, spec)
    exporter.look()
    assert of(samples(exporter), "pending_slices", reason="model changed") == 4


def test_a_scoring_that_cannot_be_looked_at_is_told_and_shows_no_old_figures_and_hides_no_other(
    project: Project, make_spec: MakeSpec, caplog: pytest.LogCaptureFixture
) -> None:
    broken = make_spec(name="broken", source="gone_soon", target="broken_scored")
    project.execute("CREATE TABLE gone_soon AS FROM visits")
    exporter = exporter_of(project, None, broken, make_spec())
    exporter.look()
    assert of(samples(exporter), "up", "broken", error="") == 1
    project.execute("DROP TABLE gone_soon")
    exporter.look()
    found = samples(exporter)
    assert of(found, "up", "broken", error="PoolError") == 0
    assert of(found, "up", "broken", error="") is None
    assert of(found, "pending_rows", "broken") is None
    assert of(found, "pending_rows") == 200
    assert "broken: PoolError" in caplog.text


def test_a_scrape_asks_nobody_and_a_look_gives_way_to_who_holds_the_pool(
    project: Project, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "_WAIT_SECONDS", 0.1)
    exporter = exporter_of(project, None, make_spec())
    exporter.look()
    before = samples(exporter)
    connected: list[str] = []
    connect = DuckDBPool.connect
    monkeypatch.setattr(DuckDBPool, "connect", lambda *given, **named: connected.append("") or connect(*given, **named))
    with hold(project.pool.path, timeout=5, purpose="a test"):
        assert samples(exporter) == before
        assert connected == []
        exporter.look()
        assert of(samples(exporter), "up", error="PoolBusyError") == 0
    exporter.look()
    assert of(samples(exporter), "up", error="") == 1


def test_a_look_opens_the_pool_once_however_many_partitions(
    project: Project, make_spec: MakeSpec, opened: list[str]
) -> None:
    exporter_of(project, None, make_spec(partitions={"column": "day", "every": "day", "start": "2020-01-01"})).look()
    assert opened == ["looking at a scoring"]


def test_a_tick_of_a_sensor_opens_the_pool_once(
    project: Project, make_spec: MakeSpec, runner: Runner, opened: list[str]
) -> None:
    found = definitions(make_spec()).resolve_sensor_def("visits_new_rows")
    with dg.build_sensor_context(instance=runner.instance, resources=default_resources()) as context:
        assert len(found.evaluate_tick(context).run_requests or ()) == 1
    assert opened == ["looking for what is pending"]


@pytest.fixture
def opened(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the pool's file is opened for."""
    purposes: list[str] = []
    open_file = duckdb_pool.opened

    def counted(path: Path, *, purpose: str, **named: Any) -> Any:
        purposes.append(purpose)
        return open_file(path, purpose=purpose, **named)

    monkeypatch.setattr(duckdb_pool, "opened", counted)
    return purposes


def test_an_export_of_one_look_has_no_counters(project: Project, make_spec: MakeSpec, tmp_path: Path) -> None:
    exporter = exporter_of(project, None, make_spec(), counters=False)
    exporter.look()
    assert not [name for name, _ in samples(exporter) if name.endswith("_total")]
