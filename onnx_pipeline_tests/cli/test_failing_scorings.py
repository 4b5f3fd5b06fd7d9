"""A scoring that cannot run is named and fails the command; it is never "nothing pending", and the others are done."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.orchestration.resources import ArtifactStoreResource
from onnx_pipeline.project import FoundScorings, find_scoring
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.pending import PendingSlice
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.cli.test_commands import query

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's, where a spec is read by itself

Break = Callable[[Path, ScoringSpec], ScoringSpec]


def _model(home: Path, spec: ScoringSpec, data: Callable[[bytes], bytes]) -> ScoringSpec:
    assert spec.onnx is not None
    file = home / "mine.onnx"
    file.write_bytes(data((spec.base / spec.onnx).read_bytes()))
    return spec.model_copy(update={"onnx": str(file)})


def truncated(home: Path, spec: ScoringSpec) -> ScoringSpec:
    return _model(home, spec, lambda data: data[: len(data) // 2])


def garbage(home: Path, spec: ScoringSpec) -> ScoringSpec:
    return _model(home, spec, lambda _: b"not a model at all")


def empty(home: Path, spec: ScoringSpec) -> ScoringSpec:
    return _model(home, spec, lambda _: b"")


def no_model(_: Path, spec: ScoringSpec) -> ScoringSpec:
    return spec.model_copy(update={"onnx": "nowhere.onnx"})


def no_source(_: Path, spec: ScoringSpec) -> ScoringSpec:
    return spec.model_copy(update={"source": "encountres"})


def no_query(_: Path, spec: ScoringSpec) -> ScoringSpec:
    return spec.model_copy(update={"source": {"query": "SELECT no_such_column FROM encounters"}}).placed(
        name=spec.scoring, directory=spec.base
    )


def no_column(home: Path, spec: ScoringSpec) -> ScoringSpec:
    query(home, "CREATE VIEW fewer AS SELECT * EXCLUDE (glucose) FROM encounters")
    return spec.model_copy(update={"source": "fewer"})


def clashing_target(home: Path, spec: ScoringSpec) -> ScoringSpec:
    query(home, "CREATE TABLE taken (encounter_id BIGINT, other TEXT)")
    return spec.model_copy(update={"target": "taken"})


BREAKS: dict[Break, str] = {
    truncated: "InvalidModelError: .*mine.onnx",
    garbage: "InvalidModelError: .*mine.onnx",
    empty: "InvalidModelError: .*mine.onnx",
    no_model: "ModelNotFoundError: no model lies at .*nowhere.onnx",
    no_source: "PoolError: .*table encountres cannot be read; did you mean 'encounters'",
    no_query: "PoolError: .*no_such_column",
    no_column: "SignatureError: .*glucose",
    clashing_target: "TargetError: table taken stands with other columns",
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_scoring_that_cannot_run_fails_the_command_and_holds_up_no_other(
    broken: Break, command: Command, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("sample", "--days", "2", "--rows-per-day", "5").code == 0
    specs = [broken(project_home, find_scoring("readmission")), find_scoring("length_of_stay")]
    monkeypatch.setattr("onnx_pipeline.cli.run.chosen", lambda _: FoundScorings(specs, {}))
    ran: list[tuple[str, list[str]]] = []

    def execute(_: Any, spec: ScoringSpec, group: Sequence[PendingSlice], tags: Any) -> None:
        ran.append((spec.scoring, [piece.partition_key for piece in group]))

    monkeypatch.setattr("onnx_pipeline.cli.run.execute", execute)
    listed, done = command("pending", "--json"), command("run")
    assert {row["scoring"] for row in json.loads(listed.out)} == {"length_of_stay"}
    assert ran == [("length_of_stay", ["2026-01-01", "2026-01-02"])]
    for failed in (listed, done, command("pending")):
        assert failed.code == 1
        assert "Traceback" not in failed.error
        assert "nothing is pending" not in failed.out.lower()
        assert re.search(f"readmission: {BREAKS[broken]}", failed.error, re.DOTALL), failed.error


def test_a_model_that_is_broken_after_it_was_scored_with_is_no_longer_nothing_pending(
    command: Command, project_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "5").code == 0
    spec = _model(project_home, find_scoring("length_of_stay"), lambda data: data)
    monkeypatch.setattr("onnx_pipeline.cli.run.chosen", lambda _: FoundScorings([spec], {}))
    assert command("pending").code == 0
    _model(project_home, find_scoring("length_of_stay"), lambda data: data[:-100])
    done = command("pending")
    assert done.code == 1
    assert "length_of_stay: InvalidModelError" in done.error


def test_a_pool_that_does_not_answer_ends_the_command_at_once(command: Command, project_home: Path) -> None:
    (project_home / "data").mkdir()
    (project_home / "data" / "pool.duckdb").write_bytes(b"no database" * 1000)
    for arguments in (("pending",), ("run",)):
        done = command(*arguments)
        assert done.code == 1
        # Once, and not once per scoring.
        assert done.error.count("cannot be opened as a DuckDB database") == 1, done.error
        assert "length_of_stay" not in done.error


def test_pending_runs_no_model_that_was_scored_with(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("sample", "--days", "1", "--rows-per-day", "5").code == 0
    store = ArtifactStoreResource().open()
    for name in ("length_of_stay", "readmission"):
        model_origin(find_scoring(name)).fetch(store, RuntimeOptions()).adopt(name, store)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a known model was looked at again")

    monkeypatch.setattr(OnnxModel, "from_bytes", refuse)
    assert command("pending").code == 0
