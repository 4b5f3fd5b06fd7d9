"""A defs.yaml that cannot be: its scoring is named, the exit code tells, and the others are done."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.project import FoundScorings, find_scoring
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.cli.test_commands import query

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's, where a spec is read by itself

WRONG = "defs/broken/defs.yaml:9: schedule 'daily' is not a cron expression"


@pytest.fixture
def one_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FoundScorings([find_scoring("length_of_stay")], {"broken": SpecError(WRONG)})
    monkeypatch.setattr("onnx_pipeline.cli.chosen.found_scorings", lambda: found)


@pytest.mark.usefixtures("one_broken")
def test_every_command_does_the_others_and_ends_by_naming_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("sample", "--days", "2", "--rows-per-day", "5").code == 0
    ran: list[str] = []

    def execute(_: Any, spec: Any, group: Sequence[Any], tags: Any) -> None:
        ran.append(spec.scoring)

    monkeypatch.setattr("onnx_pipeline.cli.run.execute", execute)
    listed = command("pending", "--json")
    assert [row["partition"] for row in json.loads(listed.out)] == ["2026-01-01", "2026-01-02"]
    done, status = command("run"), command("status")
    assert ran == ["length_of_stay"]
    for shown in (done, status):
        assert "length_of_stay" in shown.out
    for failed in (listed, done, status):
        assert failed.code == 1
        assert f"broken: SpecError: {WRONG}" in failed.error and "Traceback" not in failed.error
    validated = command("validate", "--json")
    assert validated.code == 1
    assert {"scoring": "broken", "about": "spec", "level": "failed", "text": WRONG} in json.loads(validated.out)
    assert command("pending", "length_of_stay").code == 0
    assert "did you mean 'broken'" in command("pending", "brokn").error


def test_status_shows_the_other_scorings_where_the_source_of_one_is_gone(
    command: Command, project_home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "5").code == 0
    gone = find_scoring("readmission").model_copy(update={"source": "nowhere"})
    found = FoundScorings([gone, find_scoring("length_of_stay")], {})
    monkeypatch.setattr("onnx_pipeline.cli.chosen.found_scorings", lambda: found)
    query(project_home, "SELECT 1")
    status = command("status")
    assert status.code == 1 and "length_of_stay" in status.out and "readmission" in status.out
    assert "readmission: PoolError: " in status.error and "nowhere" in status.error


def test_a_table_in_a_pipe_is_as_wide_as_its_cells(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "1234").code == 0
    monkeypatch.delenv("COLUMNS")
    out = command("pending").out
    assert "…" not in out and "1,234" in out
    (line,) = [line for line in out.splitlines() if "length_of_stay" in line and "│" in line]
    assert line.count("│") == 6
    monkeypatch.setenv("COLUMNS", "40")
    assert "…" not in command("pending").out


def test_preview_finds_the_rows_that_an_error_speaks_of(command: Command, project_home: Any) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "20").code == 0
    (first, second) = (
        row[0] for row in query(project_home, "SELECT encounter_id FROM encounters ORDER BY encounter_id LIMIT 2")
    )
    query(project_home, f"UPDATE encounters SET glucose = NULL WHERE encounter_id = {second}")
    (count,) = query(project_home, "SELECT count(*) FROM encounters WHERE glucose IS NULL")[0]
    found = command("preview", "length_of_stay", "--where", f"encounter_id={first}")
    assert found.code == 0 and f" {first} " in found.out and "1 rows of table encounters" in found.out
    found = command("preview", "length_of_stay", "--nan", "glucose", "--rows", "100")
    assert f"{count} rows of table encounters" in found.out and f" {second} " in found.out
    both = command("preview", "length_of_stay", "--nan", "glucose", "--where", f"encounter_id={first}")
    assert "0 rows of table encounters" in both.out
    for wrong, said in (
        ("encounter_id", "must be COLUMN=VALUE"),
        ("encounter_id=x", "column 'encounter_id' is int64, and 'x' is none"),
        ("encounterid=1", "did you mean 'encounter_id'"),
    ):
        failed = command("preview", "length_of_stay", "--where", wrong)
        assert failed.code == 1 and said in failed.error
