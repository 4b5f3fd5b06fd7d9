"""A pool of the version before: nothing is pending, nothing is lost, and what it did not know is filled in by loads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.project import find_scoring
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline_tests.cli.conftest import Command

# Dagster's, where a spec is read outside a command.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
SCORINGS = ["length_of_stay", "readmission"]
NEW = ["target", "settings", "partitions"]

Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def ask(before: DuckDBPool) -> Ask:
    def run(statement: str) -> list[tuple[Any, ...]]:
        with before.connect("a test") as connection:
            return connection.execute(statement).fetchall()

    return run


def pending_now(command: Command) -> list[dict[str, Any]]:
    done = command("pending", "--json")
    assert done.code == 0, done.error
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def model_of(scoring: str, ask: Ask) -> str:
    ((sha256,),) = ask(f"SELECT DISTINCT model_sha256 FROM onnx_scoring_log WHERE scoring = '{scoring}'")
    return str(sha256)


def test_the_log_of_the_version_before_has_none_of_the_new_columns(ask: Ask) -> None:
    columns = {
        name for (name,) in ask("SELECT column_name FROM duckdb_columns() WHERE table_name = 'onnx_scoring_log'")
    }
    assert columns and not columns & set(NEW)


def test_an_upgrade_makes_nothing_pending_and_writes_nothing(command: Command, ask: Ask) -> None:
    assert pending_now(command) == []
    validated = command("validate")
    assert validated.code == 0, validated.out + validated.error
    status = command("status")
    assert status.code == 0 and status.out.count(" 100 ") == len(SCORINGS)
    done = command("run")
    assert done.code == 0 and done.out.count("nothing is pending") == len(SCORINGS)
    test_the_log_of_the_version_before_has_none_of_the_new_columns(ask)


def test_the_next_load_fills_in_what_the_log_did_not_know(command: Command, ask: Ask) -> None:
    before = ask("SELECT run_id, predicted_days FROM length_of_stay_predictions WHERE partition_key <> '2026-01-02'")
    ask(
        "UPDATE encounters SET age = age + 1, updated_at = updated_at + INTERVAL 1 HOUR WHERE admitted_on = '2026-01-02'"
    )
    assert [(piece["partition"], piece["reason"]) for piece in pending_now(command)] == [
        ("2026-01-02", "source changed")
    ] * len(SCORINGS)
    done = command("run")
    assert done.code == 0, done.error
    known = ask(
        f"SELECT scoring, partition_key FROM onnx_scoring_log WHERE {' AND '.join(f'{n} IS NOT NULL' for n in NEW)}"
    )
    assert sorted(known) == [(scoring, "2026-01-02") for scoring in SCORINGS]
    unknown = ask(f"SELECT count(*) FROM onnx_scoring_log WHERE {' AND '.join(f'{n} IS NULL' for n in NEW)}")
    assert unknown == [(len(SCORINGS) * (len(DAYS) - 1),)]
    assert ask("SELECT count(*), count(DISTINCT encounter_id) FROM length_of_stay_predictions") == [(100, 100)]
    after = ask("SELECT run_id, predicted_days FROM length_of_stay_predictions WHERE partition_key <> '2026-01-02'")
    assert sorted(after) == sorted(before)
    assert pending_now(command) == []

    # From now on the slice that was loaded knows its settings, and the others still count as equal.
    spec = find_scoring("length_of_stay").model_copy(update={"nulls": {"age": 40}})
    found = pending(spec, DuckDBPool(Path(before_file(ask))), partitioning(spec), model_of("length_of_stay", ask))
    assert [(piece.partition_key, piece.reason) for piece in found] == [("2026-01-02", Reason.SETTINGS_CHANGED)]


def loaded_definitions() -> dg.Definitions:
    from onnx_pipeline.definitions import defs

    return defs() if callable(defs) else defs


def before_file(ask: Ask) -> Any:
    ((path,),) = ask("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL")
    return path


def test_append_knows_the_slices_that_an_unnamed_target_holds(before: DuckDBPool, ask: Ask) -> None:
    spec = find_scoring("readmission").model_copy(update={"load_mode": "append"})
    assert pending(spec, before, partitioning(spec), model_of("readmission", ask)) == []


@pytest.mark.usefixtures("staged")
def test_predictions_that_the_version_before_staged_are_loaded(ask: Ask) -> None:
    ask("DELETE FROM onnx_scoring_log WHERE scoring = 'readmission' AND partition_key = '2026-01-04'")
    held = ask(
        "DELETE FROM readmission_predictions WHERE partition_key = '2026-01-04' RETURNING encounter_id, probability_1"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            loaded_definitions()
            .resolve_job_def("readmission")
            .execute_in_process(
                instance=instance,
                partition_key="2026-01-04",
                asset_selection=[dg.AssetKey(["readmission", name]) for name in ("model", "pool_predictions")],
            )
        )
    assert result.success
    loaded = ask("SELECT encounter_id, probability_1 FROM readmission_predictions WHERE partition_key = '2026-01-04'")
    assert len(held) == 25 and sorted(loaded) == sorted(held)
