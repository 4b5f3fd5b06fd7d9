"""`fresh_by`: a scoring that says by when its newest partition is expected."""

import datetime

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from onnx_pipeline.orchestration.assets.build import build_assets
from onnx_pipeline.orchestration.automation import build_automation
from onnx_pipeline.orchestration.freshness import build_freshness
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project

NEWEST = dg.AssetKey(["visits", "pool_predictions"])


@pytest.fixture
def fresh(make_spec: MakeSpec) -> dg.Definitions:
    spec = make_spec(fresh_by="0 9 * * *")
    assets = dg.Definitions(assets=build_assets(spec))
    return dg.Definitions.merge(assets, build_automation(spec), build_freshness(spec))


def judged(defs: dg.Definitions, instance: dg.DagsterInstance, day: int, hour: int) -> bool:
    """What the check says at that hour of January 2026."""
    with freeze_time(datetime.datetime(2026, 1, day, hour, tzinfo=datetime.timezone.utc)):
        only = dg.AssetSelection.checks(dg.AssetCheckKey(NEWEST, "freshness_check"))
        job = dg.define_asset_job("look", selection=only)
        result = (
            dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
            .resolve_job_def("look")
            .execute_in_process(instance=instance)
        )
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    return evaluation.passed


def test_the_latest_partition_is_expected_once_the_deadline_has_passed(
    fresh: dg.Definitions, project: Project, instance: dg.DagsterInstance
) -> None:
    for day in DAYS[:2]:
        job = fresh.resolve_job_def("visits")
        assert job.execute_in_process(instance=instance, tags={"dagster/partition": day}).success
    assert judged(fresh, instance, day=3, hour=10), "on the 3rd at 10 the partition of the 2nd is there"
    assert judged(fresh, instance, day=4, hour=8), "and before 9 on the 4th nobody expects more"
    assert not judged(fresh, instance, day=4, hour=10), "from 9 on that of the 3rd is missing"
    job = fresh.resolve_job_def("visits")
    assert job.execute_in_process(instance=instance, tags={"dagster/partition": DAYS[0]}).success
    assert not judged(fresh, instance, day=4, hour=10), "scoring an old partition again changes nothing about that"


def test_a_closed_history_stays_fresh_once_its_last_partition_is_there(
    make_spec: MakeSpec, project: Project, instance: dg.DagsterInstance
) -> None:
    partitions = {"column": "day", "every": "day", "start": DAYS[0], "until": DAYS[2]}
    spec = make_spec(fresh_by="0 9 * * *", schedule="0 6 * * *", partitions=partitions)
    assets = dg.Definitions(assets=build_assets(spec))
    closed = dg.Definitions.merge(assets, build_automation(spec), build_freshness(spec))
    job = closed.resolve_job_def("visits")
    assert job.execute_in_process(instance=instance, tags={"dagster/partition": DAYS[0]}).success
    assert judged(closed, instance, day=2, hour=10), "the 2nd is not over yet"
    assert not judged(closed, instance, day=3, hour=10), "the 2nd is the last partition, and missing"
    assert not judged(closed, instance, day=30, hour=10), "also weeks later"
    assert job.execute_in_process(instance=instance, tags={"dagster/partition": DAYS[1]}).success
    assert judged(closed, instance, day=30, hour=10), "and once it is there no other is expected"


def test_a_sensor_runs_the_check(fresh: dg.Definitions, instance: dg.DagsterInstance) -> None:
    repository = fresh.get_repository_def()
    with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
        (request,) = repository.get_sensor_def("visits_freshness").evaluate_tick(context).run_requests or []
    assert request.asset_check_keys == [dg.AssetCheckKey(NEWEST, "freshness_check")]


def test_it_is_off_unless_asked_for_and_changes_no_code_version(make_spec: MakeSpec) -> None:
    plain, fresh = make_spec(), make_spec(fresh_by="0 9 * * *")
    assert not build_freshness(plain).asset_checks and not build_freshness(plain).sensors
    versions = [{spec.code_version for asset in build_assets(spec) for spec in asset.specs} for spec in (plain, fresh)]
    assert versions[0] == versions[1]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"fresh_by": "at nine"}, "fresh_by 'at nine' is not a cron expression"),
        ({"fresh_by": "0 9 * * *", "partitions": None}, "add partitions with `every`, or leave fresh_by out"),
        ({"fresh_by": "0 9 * * *", "partitions": {"buckets": 4}}, "expects a partition by the clock"),
    ],
)
def test_a_deadline_that_nothing_can_meet_is_refused(
    attributes: dict[str, object], message: str, make_spec: MakeSpec
) -> None:
    with pytest.raises(ValueError, match=message):
        make_spec(**attributes)
