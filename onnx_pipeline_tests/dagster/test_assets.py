"""What the four assets do and show, partition by partition."""

import dagster as dg

from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner


def test_one_partition_is_scored_and_the_others_are_left(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    result = runner.run(make_spec(), partition="2026-01-02")
    assert result.success
    project.assert_scored("day = '2026-01-02'")
    assert {row[1] for row in project.target().values()} == {"2026-01-02"}


def test_a_range_is_scored_in_one_run(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    result = runner.run(make_spec(), first="2026-01-01", last="2026-01-03")
    assert result.success
    project.assert_scored("day <= '2026-01-03'")
    for asset in ("features", "predictions", "pool_predictions"):
        shown = runner.materialized(result, asset)
        assert set(shown) == set(DAYS[:3])
        assert {key: metadata["dagster/partition_row_count"].value for key, metadata in shown.items()} == dict.fromkeys(DAYS[:3], 50)
    print(runner.checks(result, "row_count"))
