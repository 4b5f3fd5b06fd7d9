"""Rows that have no partition: what the commands say of them, against counts of the database."""

import json
from pathlib import Path

import pytest

from onnx_pipeline.project import FoundScorings, find_scoring
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.cli.test_commands import query


@pytest.fixture
def strays(command: Command, project_home: Path) -> str:
    """Twenty rows of 2026-01-01 and others without a partition; what is to be said of those."""
    (project_home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    query(
        project_home,
        "UPDATE encounters SET admitted_on = CASE WHEN encounter_id % 7 = 0 THEN NULL "
        "WHEN encounter_id % 2 = 0 THEN DATE '2013-05-05' ELSE DATE '-infinity' END WHERE admitted_on = '2026-01-02'",
    )
    ((null, early),) = query(
        project_home,
        "SELECT count(*) FILTER (admitted_on IS NULL), count(*) FILTER (admitted_on < '2026-01-01') FROM encounters",
    )
    assert null > 1 and early > 10 and null + early == 20
    return (
        f"20 rows have no partition, and are never scored: {null} with NULL in the partition column, "
        f"{early} before the first partition."
    )


def test_pending_says_how_many_rows_have_no_partition_and_why(command: Command, strays: str) -> None:
    done = command("pending", "--json")
    assert done.code == 0, done.error
    # What a program reads stays what it was.
    assert {(row["partition"], row["rows"]) for row in json.loads(done.out)} == {("2026-01-01", 20)}
    for scoring in ("length_of_stay", "readmission"):
        assert f"{scoring}: {strays}" in done.error
    assert f"length_of_stay: {strays}" in command("pending", "length_of_stay").error
    assert f"readmission: {strays}" in command("status").error


def test_run_says_it_too_and_scores_the_others(command: Command, strays: str, project_home: Path) -> None:
    done = command("run", "length_of_stay")
    assert done.code == 0, done.error
    assert done.error.count(f"length_of_stay: {strays}") == 1
    assert query(project_home, "SELECT count(*) FROM length_of_stay_predictions") == [(20,)]
    # The job's log, as somebody finds it who was not there.
    assert strays.removesuffix(".") in (project_home / "data" / "last_run" / "length_of_stay.log").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's, where a spec is read outside a command
def test_ends_that_were_moved_and_rows_beyond_them_are_told(
    command: Command, strays: str, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks = PartitionSpec(column="admitted_on", every="week", start="2013-05-07", until="2013-05-08")
    wards = PartitionSpec(column="gender", values=["F"])
    sample = find_scoring("length_of_stay")
    specs = [sample.model_copy(update={"name": name, "partitions": cut}) for name, cut in (("w", weeks), ("v", wards))]
    monkeypatch.setattr("onnx_pipeline.cli.run.chosen", lambda names: FoundScorings(specs, {}))
    ((after, null, early, others),) = query(
        project_home,
        "SELECT count(*) FILTER (admitted_on >= '2013-05-12'), count(*) FILTER (admitted_on IS NULL), "
        "count(*) FILTER (admitted_on < '2013-05-05'), count(*) FILTER (gender <> 'F') FROM encounters",
    )
    done = command("pending", "--json")
    assert {(row["scoring"], row["partition"]) for row in json.loads(done.out)} == {("w", "2013-05-05"), ("v", "F")}
    assert (
        "w: partitions.start '2013-05-07' is no beginning of a week: the first partition is the one that it lies in, and "
        "begins on 2013-05-05." in done.error
    )
    assert "partitions.until '2013-05-08'" in done.error and "and ends on 2013-05-12." in done.error
    assert (
        f"w: {after + null + early} rows have no partition, and are never scored: {null} with NULL in the partition column, "
        f"{early} before the first partition, {after} on or after `until`." in done.error
    )
    assert f"v: {others} rows have no partition" in done.error
    assert f"{others} with a value that `values` does not list." in done.error
