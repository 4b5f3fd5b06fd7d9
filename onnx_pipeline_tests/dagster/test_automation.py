"""What the schedule and the sensors ask for, over time."""

import datetime
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from onnx_pipeline.orchestration import automation, run_history
from onnx_pipeline.orchestration.automation import REASON_TAG, REQUESTED_BY_TAG
from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.orchestration.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.duckdb import statements as duckdb_statements
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, definitions, linear_model

Requests = list[dg.RunRequest]


def look(
    instance: dg.DagsterInstance, spec: ScoringSpec, sensor: str = "new_rows", cursor: str | None = None
) -> tuple[Requests, str | None, str | None]:
    """One tick of a sensor: requests, skip message, cursor."""
    found = definitions(spec).resolve_sensor_def(f"visits_{sensor}")
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=default_resources()) as context:
        data = found.evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message, data.cursor


def asked(requests: Requests) -> list[tuple[str | None, str | None]]:
    """First and last partition of each request."""
    spans = []
    for request in requests:
        single = request.tags.get(PARTITION_TAG)
        spans.append((single or request.tags.get(RANGE_START_TAG), single or request.tags.get(RANGE_END_TAG)))
    return spans


def grant(runner: Runner, spec: ScoringSpec, requests: Requests) -> list[bool]:
    """Run what was asked for, as the daemon would; whether each run succeeded."""
    done = []
    for request in requests:
        only = [key.path[-1] for key in request.asset_selection] if request.asset_selection else None
        done.append(runner.run(spec, only=only, tags=request.tags).success)
    return done


def test_new_rows_are_asked_for_in_one_run_of_neighbours_until_they_are_scored(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    requests, _, _ = look(runner.instance, spec)
    assert asked(requests) == [(DAYS[0], DAYS[3])]
    assert requests[0].tags[REASON_TAG] == "never scored"
    assert requests[0].tags[REQUESTED_BY_TAG] == "sensor visits_new_rows"
    assert requests[0].job_name == "visits"
    assert grant(runner, spec, requests) == [True]
    project.assert_scored()
    requests, skipped, _ = look(runner.instance, spec)
    assert requests == [] and skipped == "no partition of visits needs scoring"


def test_changed_rows_are_asked_for_also_where_their_number_stays(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    grant(runner, spec, look(runner.instance, spec)[0])
    project.execute("UPDATE visits SET a = a + 1, touched = '2026-02-01' WHERE day = '2026-01-02'")
    project.execute("DELETE FROM visits WHERE day = '2026-01-04'")
    project.fill(["2026-01-06"])
    requests, _, _ = look(runner.instance, spec)
    assert {span: request.tags[REASON_TAG] for span, request in zip(asked(requests), requests, strict=True)} == {
        (DAYS[1], DAYS[1]): "source changed",
        (DAYS[3], DAYS[3]): "source changed",
        ("2026-01-06", "2026-01-06"): "never scored",
    }
    assert grant(runner, spec, requests) == [True, True, True]
    project.assert_scored()
    assert look(runner.instance, spec)[0] == []


def test_a_run_takes_neighbours_of_both_reasons_and_at_most_partitions_per_run(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(partitions_per_run=3)
    assert runner.run(spec, partition=DAYS[0]).success
    project.fill([DAYS[0]], rows=1)
    requests, _, _ = look(runner.instance, spec)
    assert asked(requests) == [(DAYS[0], DAYS[2]), (DAYS[3], DAYS[3])]
    assert requests[0].tags[REASON_TAG] == "never scored, source changed"


def test_a_table_without_partitions_is_asked_for_without_partition_tags(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(partitions=None)
    requests, _, _ = look(runner.instance, spec)
    assert asked(requests) == [(None, None)]
    create_run_for_test(runner.instance, job_name="visits", status=DagsterRunStatus.STARTED)
    assert look(runner.instance, spec)[0] == []


@pytest.mark.parametrize(
    "run",
    [
        {"job_name": "visits", "tags": {PARTITION_TAG: DAYS[1]}},
        {"job_name": "score_all", "tags": {PARTITION_TAG: DAYS[1]}},
        {
            "job_name": "__ASSET_JOB",
            "tags": {RANGE_START_TAG: DAYS[1], RANGE_END_TAG: DAYS[1]},
            "asset_selection": frozenset([dg.AssetKey(["visits", "pool_predictions"])]),
        },
    ],
)
@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
def test_what_an_unfinished_run_is_about_to_score_is_not_asked_for_again(
    run: dict[str, Any], status: DagsterRunStatus, project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance
) -> None:
    create_run_for_test(instance, status=status, **run)
    assert asked(look(instance, make_spec())[0]) == [(DAYS[0], DAYS[0]), (DAYS[2], DAYS[3])]


def test_a_run_of_another_scoring_or_of_the_model_alone_keeps_nothing_back(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance
) -> None:
    create_run_for_test(instance, job_name="other", status=DagsterRunStatus.STARTED, tags={PARTITION_TAG: DAYS[1]})
    create_run_for_test(
        instance, job_name="visits", status=DagsterRunStatus.STARTED,
        asset_selection=frozenset([dg.AssetKey(["visits", "model"])]),
    )  # fmt: skip
    assert asked(look(instance, make_spec())[0]) == [(DAYS[0], DAYS[3])]


def test_while_everything_is_being_scored_the_tick_says_so(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance
) -> None:
    create_run_for_test(
        instance, job_name="visits", status=DagsterRunStatus.STARTED,
        tags={RANGE_START_TAG: DAYS[0], RANGE_END_TAG: DAYS[3]},
    )  # fmt: skip
    requests, skipped, _ = look(instance, make_spec())
    assert requests == [] and skipped == "of 4 pending partitions of visits 4 are being scored already"


def test_a_refused_slice_waits_a_while_and_is_asked_for_again_and_its_neighbours_are_scored(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    project.execute("UPDATE visits SET id = NULL WHERE id = 60")
    assert grant(runner, spec, look(runner.instance, spec)[0]) == [False]
    requests, skipped, _ = look(runner.instance, spec)
    assert requests == []
    assert skipped is not None and skipped.startswith(
        "of 1 pending partitions of visits 1 failed, and are asked for again"
    )
    assert set(project.log()) == {DAYS[0], DAYS[2], DAYS[3]}
    monkeypatch.setattr(run_history, "FIRST_WAIT", datetime.timedelta(0))
    requests, _, _ = look(runner.instance, spec)
    assert asked(requests) == [(DAYS[1], DAYS[1])]
    assert grant(runner, spec, requests) == [False]
    project.execute("UPDATE visits SET id = 60 WHERE id IS NULL")
    assert grant(runner, spec, look(runner.instance, spec)[0]) == [True]
    project.assert_scored()


def test_slices_of_a_run_that_failed_as_a_whole_are_asked_for_in_smaller_runs(
    make_spec: MakeSpec, instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "FIRST_WAIT", datetime.timedelta(0))
    spec = make_spec(partitions_per_run=10)
    assert asked(look(instance, spec)[0]) == [(DAYS[0], DAYS[-1])]
    tags = {RANGE_START_TAG: DAYS[0], RANGE_END_TAG: DAYS[-1]}
    create_run_for_test(instance, job_name="visits", status=DagsterRunStatus.FAILURE, tags=tags)
    assert asked(look(instance, spec)[0]) == [(day, day) for day in DAYS]


def test_waits_double_up_to_an_hour_and_end_with_a_success(make_spec: MakeSpec, instance: dg.DagsterInstance) -> None:
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    partitions = partitioning(make_spec())
    waits = []
    for _ in range(6):
        create_run_for_test(instance, job_name="visits", status=DagsterRunStatus.FAILURE, tags={PARTITION_TAG: DAYS[0]})
        history = run_history.run_history(instance, "visits", partitions, now=now)
        waits.append(round((history.not_before[DAYS[0]] - now) / datetime.timedelta(minutes=1)))
    assert waits == [5, 10, 20, 40, 60, 60]
    assert history.failures == {DAYS[0]: 6}
    create_run_for_test(instance, job_name="visits", status=DagsterRunStatus.SUCCESS, tags={PARTITION_TAG: DAYS[0]})
    assert run_history.run_history(instance, "visits", partitions, now=now).failures == {}


def test_a_busy_pool_is_a_skipped_tick_that_names_who_holds_it(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "_WAIT_SECONDS", 0.1)
    with project.pool.connect("holding it in a test"):
        requests, skipped, _ = look(instance, make_spec())
    assert requests == []
    assert skipped is not None and skipped.startswith("PoolBusyError: ") and "holding it in a test" in skipped


def test_a_missing_pool_a_missing_table_and_a_missing_model_are_skipped_ticks_with_the_reason(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance
) -> None:
    _, skipped, _ = look(instance, make_spec(source="visit"))
    assert skipped is not None and "table visit cannot be read; did you mean 'visits'?" in skipped
    _, skipped, _ = look(instance, make_spec(onnx="nowhere.onnx"), "new_model")
    assert skipped is not None and "no model lies at" in skipped
    project.pool.path.unlink()
    _, skipped, _ = look(instance, make_spec())
    assert skipped is not None and "there is no pool at" in skipped


def test_a_new_artifact_is_asked_for_once_and_then_stays(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec()
    requests, _, cursor = look(runner.instance, spec, "new_model")
    (request,) = requests
    assert request.asset_selection == [dg.AssetKey(["visits", "model"])]
    assert request.tags == request.tags | {REASON_TAG: "model changed", REQUESTED_BY_TAG: "sensor visits_new_model"}
    again, skipped, cursor = look(runner.instance, spec, "new_model", cursor)
    assert again == [] and skipped is not None and "was asked for already" in skipped
    assert grant(runner, spec, requests) == [True]
    again, skipped, cursor = look(runner.instance, spec, "new_model", cursor)
    assert again == [] and skipped is not None and skipped.startswith("the artifact is still ")


def test_an_artifact_that_comes_back_after_another_is_new_again(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec, cursor = make_spec(), None
    for bias in (1.0, 2.0, 1.0, 2.0):
        sha256 = project.put_model(linear_model(bias=bias))
        requests, _, cursor = look(runner.instance, spec, "new_model", cursor)
        assert grant(runner, spec, requests) == [True]
        assert look(runner.instance, spec, "new_model", cursor)[0] == []
        current = default_resources()["artifacts"].open().current("visits")  # type: ignore[attr-defined]
        assert current.sha256 == sha256


def test_a_refused_artifact_is_asked_for_once_until_it_is_replaced(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(rescore="all")
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    project.put_model(b"no model at all")
    requests, _, cursor = look(runner.instance, spec, "new_model")
    assert grant(runner, spec, requests) == [False]
    requests, skipped, cursor = look(runner.instance, spec, "new_model", cursor)
    assert requests == [] and skipped is not None and "Replace it, or materialize visits/model" in skipped
    project.put_model(linear_model(bias=3.0))
    assert len(look(runner.instance, spec, "new_model", cursor)[0]) == 1


@pytest.mark.parametrize(
    ("rescore", "spans"),
    [("none", []), ("latest 2", [(DAYS[2], DAYS[3])]), ("all", [(DAYS[0], DAYS[3])])],
)
def test_once_the_new_model_is_in_use_its_slices_are_asked_for_until_they_are_scored_with_it(
    rescore: str, spans: list[tuple[str, str]], project: Project, make_spec: MakeSpec, runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    spec = make_spec(rescore=rescore, checks={"psi": 1000.0})
    monkeypatch.setattr(run_history, "FIRST_WAIT", datetime.timedelta(0))
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    old = next(iter(project.target().values()))[2]
    new = project.put_model(linear_model(bias=3.0))
    requests, _, cursor = look(runner.instance, spec, "new_model")
    assert grant(runner, spec, requests) == [True]
    requests, _, cursor = look(runner.instance, spec, "new_model", cursor)
    assert asked(requests) == spans
    if spans:
        assert requests[0].tags[REASON_TAG] == "model changed"
        # The rescoring fails: its slices are found again.
        project.execute("ALTER TABLE visits_scored RENAME TO aside")
        project.execute("CREATE TABLE visits_scored (wrong INTEGER)")
        assert grant(runner, spec, requests) == [False]
        project.execute("DROP TABLE visits_scored")
        project.execute("ALTER TABLE aside RENAME TO visits_scored")
        requests, _, cursor = look(runner.instance, spec, "new_model", cursor)
        assert asked(requests) == spans
        assert grant(runner, spec, requests) == [True]
        assert look(runner.instance, spec, "new_model", cursor)[0] == []
    rescored = {span for first, last in spans for span in DAYS if first <= span <= last}
    assert {(row[1], row[2]) for row in project.target().values()} == {
        (day, new if day in rescored else old) for day in DAYS
    }


def test_the_new_rows_sensor_leaves_a_changed_model_alone(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(rescore="all")
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    project.put_model(linear_model(bias=3.0))
    assert look(runner.instance, spec)[0] == []


def evaluate_schedule(instance: dg.DagsterInstance, spec: ScoringSpec) -> tuple[Requests, str | None]:
    schedule = definitions(spec).resolve_schedule_def("visits_schedule")
    hour = datetime.datetime(2026, 2, 1, 6, tzinfo=datetime.timezone.utc)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=hour, resources=default_resources()
    ) as context:
        data = schedule.evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


def test_the_schedule_asks_for_everything_that_is_pending_also_for_a_new_model(
    project: Project, make_spec: MakeSpec, lasting_instance: dg.DagsterInstance
) -> None:
    runner = Runner(lasting_instance)
    spec = make_spec(schedule="0 6 * * *", rescore="latest 1")
    assert runner.run(spec, first=DAYS[0], last=DAYS[3]).success
    project.put_model(linear_model(bias=3.0))
    project.fill([DAYS[1]], rows=1)
    requests, _ = evaluate_schedule(runner.instance, spec)
    assert {span: request.tags[REASON_TAG] for span, request in zip(asked(requests), requests, strict=True)} == {
        (DAYS[1], DAYS[1]): "source changed",
        (DAYS[3], DAYS[3]): "model changed",
    }
    assert len({request.run_key for request in requests}) == 2, "Dagster wants a key in each of several requests"
    assert grant(runner, spec, requests) == [True, True]
    requests, skipped = evaluate_schedule(runner.instance, spec)
    assert requests == []
    assert skipped == (
        "no partition of visits needs scoring; 2 partitions were scored by another model; `onnx-pipeline run --force visits` "
        "scores them again"
    )


def test_the_schedule_asks_at_its_hour_for_what_failed_just_before(
    project: Project, make_spec: MakeSpec, lasting_instance: dg.DagsterInstance
) -> None:
    spec = make_spec(schedule="0 6 * * *", partitions_per_run=10)
    failed = {"status": DagsterRunStatus.FAILURE, "tags": {PARTITION_TAG: DAYS[1]}}
    create_run_for_test(lasting_instance, job_name="visits", **failed)  # type: ignore[arg-type]
    spans = asked(evaluate_schedule(lasting_instance, spec)[0])
    assert sorted(spans) == [(DAYS[0], DAYS[0]), (DAYS[1], DAYS[1]), (DAYS[2], DAYS[3])]


def test_the_schedule_runs_in_the_partitions_time_zone(make_spec: MakeSpec) -> None:
    partitions = {"column": "day", "every": "day", "start": "2026-01-01", "timezone": "Europe/Berlin"}
    schedule = definitions(make_spec(schedule="0 6 * * *", partitions=partitions)).resolve_schedule_def(
        "visits_schedule"
    )
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "Europe/Berlin")


def test_a_tick_over_ten_thousand_partitions_groups_the_source_in_one_statement(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.execute(
        "INSERT INTO visits SELECT 1000000 + i, DATE '1999-01-01' + INTERVAL (i) DAY, 'x', 1, 1, '2026-01-01' "
        "FROM range(10000) numbers(i) WHERE DATE '1999-01-01' + INTERVAL (i) DAY < '2026-01-01'"
    )
    spec = make_spec(partitions={"column": "day", "every": "day", "start": "1999-01-01"}, partitions_per_run=10_000)
    statements = []
    compiled = duckdb_statements.compiled

    def counted(statement: Any) -> Any:
        found = compiled(statement)
        statements.append(str(found))
        return found

    monkeypatch.setattr(duckdb_statements, "compiled", counted)
    requests, _, _ = look(instance, spec)
    assert len([text for text in statements if text.startswith("ATTACH")]) == 1
    (days,) = project.execute("SELECT count(DISTINCT day) FROM visits")[0]
    assert days > 9_800
    assert asked(requests) == [("1999-01-01", DAYS[3])]
    reading = [text for text in statements if "visits" in text and "LIMIT" not in text.upper()]
    assert len(reading) == 1 and "GROUP BY" in reading[0].upper()
    assert len([text for text in statements if "SELECT" in text]) <= 4
