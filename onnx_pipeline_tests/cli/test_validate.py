"""`onnx-pipeline validate`, as a person and as a script types it."""

import json
from pathlib import Path

from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.cli.test_commands import contents, query


def test_validate_shows_what_it_looked_at_and_writes_nothing(command: Command, project_home: Path) -> None:
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    before = contents(project_home)
    done = command("validate")
    assert done.code == 0, done.out + done.error
    assert "2 scorings: nothing keeps them from running." in done.out
    assert done.out.count("table encounters: 33 columns") == 2
    assert contents(project_home) == before


def test_validate_exits_with_1_where_a_scoring_fails_and_reports_the_others(
    command: Command, project_home: Path
) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "20").code == 0
    query(project_home, "ALTER TABLE encounters DROP COLUMN glucose")
    query(project_home, "ALTER TABLE encounters DROP COLUMN bmi")
    query(project_home, "CREATE TABLE readmission_predictions (encounter_id BIGINT)")
    done = command("validate", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    failed = [(row["scoring"], row["about"]) for row in found if row["level"] == "failed"]
    assert failed.count(("length_of_stay", "columns")) == 2
    assert failed.count(("readmission", "columns")) == 2
    assert {row["about"] for row in found if row["scoring"] == "readmission"} >= {"model", "source", "partitions"}
    shown = command("validate", "length_of_stay")
    assert shown.code == 1
    assert "1 scoring: length_of_stay cannot run." in shown.out
    assert "glucose" in shown.out and "bmi" in shown.out
    assert "readmission_predictions" not in shown.out


def test_validate_without_a_pool_says_so(command: Command) -> None:
    done = command("validate")
    assert done.code == 1
    assert "there is no pool at" in done.out and "Traceback" not in done.error
