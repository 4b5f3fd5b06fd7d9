"""Each command does what it says, and exits with 0, 1 or 2."""

import datetime
import hashlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.project import FoundScorings, find_scoring
from onnx_pipeline.spec.engines.remote import RemoteOptions
from onnx_pipeline_tests.cli.conftest import Command


def query(home: Path, statement: str) -> list[tuple[Any, ...]]:
    with DuckDBPool(home / "data" / "pool.duckdb").connect("a test") as connection:
        return connection.execute(statement).fetchall()


def encounters(home: Path) -> list[tuple[Any, ...]]:
    return query(home, "SELECT * FROM encounters ORDER BY encounter_id")


def pending(command: Command, *names: str) -> list[dict[str, Any]]:
    done = command("pending", "--json", *names)
    assert done.code == 0, done.error
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def test_sample_gives_the_same_rows_every_time_and_leaves_other_days(command: Command, project_home: Path) -> None:
    done = command("sample", "--days", "3", "--rows-per-day", "20")
    assert done.code == 0
    assert "60 encounters from 2026-01-01 to 2026-01-03" in done.out
    first = encounters(project_home)
    assert len(first) == 60
    query(project_home, "UPDATE encounters SET age = 1 WHERE admitted_on = '2026-01-02'")
    query(project_home, "UPDATE encounters SET age = 2 WHERE admitted_on = '2026-01-03'")
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    second = encounters(project_home)
    assert second[:40] == first[:40]
    assert query(project_home, "SELECT DISTINCT age FROM encounters WHERE admitted_on = '2026-01-03'") == [(2,)]
    assert command("sample", "--start", "2026-02-01", "--days", "1", "--rows-per-day", "5").code == 0
    assert encounters(project_home)[:60] == second


def test_the_samples_days_end_today_and_a_pool_of_earlier_ones_is_told_of_them(
    command: Command, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier version made, the days of January, stays and needs no scoring again."""
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    january = encounters(project_home)
    monkeypatch.delenv("ONNX_PIPELINE_SAMPLE_START")
    kept = command("sample", "--keep")
    assert f"newest day is 2026-01-02; `onnx-pipeline sample` adds the days up to {today}" in kept.out
    assert encounters(project_home) == january
    assert f"to {today} in " in command("sample", "--days", "3", "--rows-per-day", "20").out
    assert encounters(project_home)[:40] == january
    recent = {str(today - datetime.timedelta(days=days)) for days in range(3)}
    assert {piece["partition"] for piece in pending(command, "length_of_stay")} == recent | {"2026-01-01", "2026-01-02"}
    assert "newest day" not in command("sample", "--keep").out
    before = encounters(project_home)
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    assert encounters(project_home) == before, "a day's rows follow from its date"


def test_sample_with_keep_leaves_a_table_that_exists(command: Command, project_home: Path) -> None:
    assert command("sample", "--keep", "--days", "1", "--rows-per-day", "4").code == 0
    before = encounters(project_home)
    done = command("sample", "--keep", "--days", "2", "--rows-per-day", "9")
    assert done.code == 0 and "stays as it is" in done.out
    assert encounters(project_home) == before


def test_a_command_takes_the_projects_env_file_as_dagster_does(
    command: Command, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_PIPELINE_POOL", "duckdb:///data/pool.duckdb")
    (project_home / ".env").write_text("ONNX_PIPELINE_POOL=duckdb:///data/other.duckdb\n")
    assert command("sample", "--days", "1", "--rows-per-day", "2").code == 0
    assert [file.name for file in (project_home / "data").glob("*.duckdb")] == ["other.duckdb"]


def test_pending_lists_slices_with_their_reason_as_text_and_as_json(command: Command) -> None:
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    assert pending(command) == [
        {"scoring": scoring, "partition": day, "reason": "never scored", "rows": 20}
        for scoring in ("length_of_stay", "readmission")
        for day in ("2026-01-01", "2026-01-02")
    ]
    assert {row["scoring"] for row in pending(command, "readmission")} == {"readmission"}
    done = command("pending")
    assert done.code == 0 and "4 partitions need scoring." in done.out
    assert len(re.findall(r"2026-01-0[12] .*never scored", done.out)) == 4


def test_run_scores_what_is_pending_and_again_finds_nothing_and_the_same_table(
    command: Command, project_home: Path
) -> None:
    (project_home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    done = command("run", "length_of_stay")
    assert done.code == 0, done.out + done.error
    assert "length_of_stay: 2 partitions, 2026-01-01 to 2026-01-02, 40 rows" in done.out
    table = "SELECT * FROM length_of_stay_predictions ORDER BY encounter_id"
    scored = query(project_home, table)
    assert len(scored) == 40
    done = command("run", "length_of_stay")
    assert done.code == 0 and "length_of_stay: nothing is pending." in done.out
    assert query(project_home, table) == scored
    assert pending(command, "length_of_stay") == []
    assert "Nothing is pending." in command("pending", "length_of_stay").out

    # The same days again are no change, others are.
    assert command("sample", "--days", "3", "--rows-per-day", "20").code == 0
    assert [row["partition"] for row in pending(command, "length_of_stay")] == ["2026-01-03"]
    query(project_home, "UPDATE encounters SET updated_at = '2026-05-01' WHERE admitted_on = '2026-01-01'")
    assert [(row["partition"], row["reason"]) for row in pending(command, "length_of_stay")] == [
        ("2026-01-01", "source changed"), ("2026-01-03", "never scored"),
    ]  # fmt: skip

    shown = command("status")
    ((mean,),) = query(project_home, "SELECT avg(predicted_days) FROM length_of_stay_predictions")
    ((sha256,),) = query(project_home, "SELECT DISTINCT model_sha256 FROM length_of_stay_predictions")
    assert shown.code == 0
    (line,) = [line for line in shown.out.splitlines() if line.strip().startswith("length_of_stay ")]
    assert re.search(r"\b2\b.*\b40\b", line) and f"{mean:.4f}" in line and sha256[:12] in line
    assert "never scored" in shown.out


def test_a_failed_run_exits_with_1_and_says_where_the_log_is(command: Command, project_home: Path) -> None:
    (project_home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert command("sample", "--days", "1", "--rows-per-day", "5").code == 0
    # Twice the same key: seen only once rows are read.
    query(project_home, "INSERT INTO encounters FROM encounters")
    done = command("run", "length_of_stay")
    assert done.code == 1
    assert "of its values occur more than once" in done.error
    assert "the run of length_of_stay over 2026-01-01 failed" in done.error


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's, where a spec is read outside a command
def test_a_service_that_is_down_holds_up_no_other_scoring(
    command: Command, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project_home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert command("sample", "--days", "1", "--rows-per-day", "5").code == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    engine = RemoteOptions(kind="remote", url=f"{url}/models/readmission/score")
    down = find_scoring("readmission").model_copy(update={"onnx": None, "engine": engine})
    specs = [down, find_scoring("length_of_stay")]
    monkeypatch.setattr("onnx_pipeline.cli.run.chosen", lambda names: FoundScorings(specs, {}))

    listed = command("pending", "--json")
    assert [row["scoring"] for row in json.loads(listed.out)] == ["length_of_stay"]
    done = command("run")
    assert query(project_home, "SELECT count(*) FROM length_of_stay_predictions") == [(5,)]
    for failed in (listed, done):
        assert failed.code == 1
        assert "readmission: ServiceUnavailableError" in failed.error and url in failed.error


def contents(home: Path) -> dict[str, str]:
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", ".holder"))
    }


@pytest.mark.parametrize("name", ["length_of_stay", "readmission"])
def test_preview_shows_features_and_predictions_and_writes_nothing(
    name: str, command: Command, project_home: Path
) -> None:
    assert command("sample", "--days", "2", "--rows-per-day", "20").code == 0
    before = contents(project_home)
    done = command("preview", name, "--rows", "3", "--partition", "2026-01-02")
    assert done.code == 0, done.error
    assert "3 rows of table encounters; nothing was written." in done.out
    assert done.out.count("2026010200000") == 3
    assert {"length_of_stay": "predicted_days", "readmission": "probability"}[name] in done.out
    # What was found out of the model is kept, so that a run need not look at it again.
    after = {path: content for path, content in contents(project_home).items() if "/looks/" not in path}
    assert after == before


def test_an_unknown_scoring_exits_with_1_and_names_the_nearest(command: Command) -> None:
    for arguments in (("pending", "lenght_of_stay"), ("run", "lenght_of_stay"), ("preview", "lenght_of_stay")):
        done = command(*arguments)
        assert done.code == 1
        assert "there is no scoring 'lenght_of_stay'; did you mean 'length_of_stay'?" in done.error
        assert "Traceback" not in done.error


@pytest.mark.parametrize("arguments", [("pending",), ("status",), ("run",), ("preview", "readmission")])
def test_a_missing_pool_exits_with_1_and_says_how_to_make_one(arguments: tuple[str, ...], command: Command) -> None:
    done = command(*arguments)
    assert done.code == 1
    assert "PoolError: there is no pool at" in done.error and "`onnx-pipeline sample` makes one" in done.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "--start", "soon"), "--start 'soon' is no date"),
        (("preview", "length_of_stay", "--partition", "2025-01-01"), "there is no partition '2025-01-01'"),
    ],
)
def test_a_value_that_cannot_work_exits_with_1(arguments: tuple[str, ...], message: str, command: Command) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "2").code == 0
    done = command(*arguments)
    assert done.code == 1 and message in done.error


@pytest.mark.parametrize("arguments", [("sample", "--days", "0"), ("sample", "--nonsense"), ("predict",), ("preview",)])
def test_a_wrong_command_line_exits_with_2(arguments: tuple[str, ...], command: Command) -> None:
    assert command(*arguments).code == 2


def test_help_lists_the_commands(command: Command) -> None:
    done = command("--help")
    assert done.code == 0
    for name in ("sample", "pending", "run", "status", "preview"):
        assert name in done.out


def test_run_scores_the_partitions_that_it_is_given(command: Command, project_home: Path) -> None:
    (project_home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert command("sample", "--days", "4", "--rows-per-day", "5").code == 0
    stands = "SELECT CAST(partition_key AS VARCHAR), count(*), count(DISTINCT run_id) FROM length_of_stay_predictions GROUP BY 1 ORDER BY 1"
    done = command("run", "length_of_stay", "--partition", "2026-01-04", "--partition", "2026-01-01")
    assert done.code == 0, done.error
    assert query(project_home, stands) == [("2026-01-01", 5, 1), ("2026-01-04", 5, 1)]
    before = query(project_home, "SELECT DISTINCT run_id FROM length_of_stay_predictions")
    assert command("run", "length_of_stay", "--range", "2026-01-01..2026-01-02").code == 0
    after = query(
        project_home, "SELECT DISTINCT run_id FROM length_of_stay_predictions WHERE partition_key < '2026-01-04'"
    )
    assert len(after) == 1 and after[0] not in before
    assert query(project_home, stands) == [(f"2026-01-0{day}", 5, 1) for day in (1, 2, 4)]
    done = command("run", "length_of_stay", "--partition", "2026-02-30")
    assert done.code == 1
    assert "length_of_stay: PartitionError: there is no partition '2026-02-30'" in done.error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--all", "--force"), "--all and --force exclude each other"),
        (("--partition", "a", "--range", "a..b"), "--partition and --range exclude each other"),
    ],
)
def test_what_run_is_given_excludes_each_other(command: Command, options: tuple[str, ...], message: str) -> None:
    done = command("run", *options)
    assert done.code == 2
    assert message in done.error
