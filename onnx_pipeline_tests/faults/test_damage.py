"""Full disks, files cut short, deleted, or full of garbage: a clear error, nothing half done, and a rerun mends it."""

import json
import os
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from onnx_pipeline.base.errors import InvalidModelError, ModelError, PoolError, StagingError
from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline_tests.faults.ward import WARDS, Ward, ignore, score_on_a_small_disk


@pytest.fixture
def scored(ward: Ward) -> Ward:
    """Scored by the first model."""
    ward.score("replace", "first", "before")
    return ward


def _stage(ward: Ward, stage: str) -> None:
    """Stage features, or features and predictions, of every ward for the second model."""
    plan = ward.plan("replace", "second")
    list(extract(plan, ward.pool, ward.staging, WARDS, say=ignore))
    if stage == "predictions":
        _predict(ward)


def _predict(ward: Ward) -> None:
    plan = ward.plan("replace", "second")
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions())
    for key in WARDS:
        predict(plan, engine, ward.staging, key, say=ignore)


def _load(ward: Ward) -> None:
    list(load(ward.plan("replace", "second"), ward.pool, ward.staging, WARDS, run_id="after"))


NEXT = {"features": _predict, "predictions": _load}
"""What reads each stage."""


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _garbage(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def _truncate_between_messages(file: Path) -> None:
    """A stream cut where a batch ends reads like a shorter one."""
    os.truncate(file, file.stat().st_size - 8)


@pytest.mark.parametrize("damage", [Path.unlink, _truncate, _truncate_between_messages, _empty, _garbage])
@pytest.mark.parametrize("stage", ["features", "predictions"])
def test_a_damaged_staged_file_is_a_clear_error_and_staging_again_mends_it(
    scored: Ward, stage: str, damage: Callable[[Path], None]
) -> None:
    _stage(scored, stage)
    damage(scored.staging.find("by_replace", stage, "south").file)  # type: ignore[arg-type]
    with pytest.raises((StagingError, PoolError), match="aterialize features"):
        NEXT[stage](scored)
    standing = scored.assert_whole("replace")
    assert standing["south"] == standing["west"] == "before"
    scored.score("replace", "second", "mended")
    scored.assert_scored("replace", "second")


@pytest.mark.parametrize("stage", ["features", "predictions"])
def test_garbage_in_a_manifest_is_a_clear_error_and_staging_again_mends_it(ward: Ward, stage: str) -> None:
    _stage(ward, stage)
    file = ward.staging.find("by_replace", stage, "east").file  # type: ignore[arg-type]
    for text in (b"", b"garbage", b"[]", b"{}", b'{"file": 3, "facts": {}}', b'{"file": "x", "facts": []}', b"\xff"):
        (file.parent / "manifest.json").write_bytes(text)
        with pytest.raises(StagingError, match="aterialize features"):
            NEXT[stage](ward)
    assert ward.assert_whole("replace") == {}
    _stage(ward, "predictions")
    _load(ward)
    ward.assert_scored("replace", "second")


def test_a_manifest_names_no_file_outside_its_folder(ward: Ward) -> None:
    _stage(ward, "features")
    secret = ward.home / "secret.arrow"
    secret.write_bytes(b"secret")
    manifest = ward.staging.find("by_replace", "features", "east").file.parent / "manifest.json"
    manifest.write_text(json.dumps({"file": str(secret), "facts": {"bytes": 6}}))
    with pytest.raises(StagingError):
        ward.staging.find("by_replace", "features", "east")
    _stage(ward, "features")
    assert secret.read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("kilobytes", "raised"),
    [
        (0, "PoolError: "),  # not even the note of who holds the pool
        (1, "StagingError: "),
        (100, "StagingError: "),
        (300, "StagingError: "),
        (450, "PoolError: "),  # staged, and not loaded
        (1000, "PoolError: "),
    ],
)
def test_a_full_disk_is_a_clear_error_leaves_whole_wards_and_running_again_succeeds(
    scored: Ward, processes: BaseContext, kilobytes: int, raised: str
) -> None:
    child = processes.Process(  # type: ignore[attr-defined]
        target=score_on_a_small_disk, args=(scored.home, "replace", "second", "full", kilobytes * 1024)
    )
    child.start()
    child.join(60)
    problem = scored.home / "full.error"
    standing = scored.assert_whole("replace")
    assert problem.read_text().startswith(raised)
    assert set(standing.values()) <= {"before", "full"}
    assert not [file for file in (scored.home / "data" / "staging").rglob("*.arrow") if file.stat().st_size == 0]
    scored.score("replace", "second", "again")
    scored.assert_scored("replace", "second")


def test_a_staging_folder_that_cannot_be_made_is_a_clear_error(ward: Ward) -> None:
    (ward.home / "data" / "staging").write_text("a file stands where the folder should be")
    with pytest.raises(StagingError, match="cannot be written"):
        ward.score("replace", "first", "blocked")


def test_an_artifact_folder_that_cannot_be_written_is_a_clear_error(models: Ward) -> None:
    (models.home / "artifacts").write_text("a file stands where the folder should be")
    store = ArtifactStore(models.home / "artifacts")
    data = models.model_file("first").read_bytes()
    with pytest.raises(ModelError, match="cannot be written"):
        store.put(OnnxModel.from_bytes(data), data)


@pytest.fixture
def models(project_home: Path) -> Ward:
    """The two model files alone."""
    models = Ward(project_home)
    models.write_models()
    return models


@pytest.fixture
def store(models: Ward) -> ArtifactStore:
    """Holds the first model as the current one."""
    store = ArtifactStore(models.home / "artifacts")
    model_origin(models.spec("replace")).fetch(store, RuntimeOptions()).adopt("by_replace", store)
    return store


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage", b"\xff\xfe\x00", b"[]", b"{}", b"null", b'{"sha256": 1, "uri": 2, "etag": 3}']
)
def test_a_damaged_pointer_to_the_model_is_a_clear_error_and_the_model_asset_mends_it(
    models: Ward, store: ArtifactStore, garbage: bytes
) -> None:
    spec = models.spec("replace")
    (models.home / "artifacts" / "current" / "by_replace.json").write_bytes(garbage)
    with pytest.raises(InvalidModelError, match="materialize"):
        model_origin(spec).current(store)
    assert model_origin(spec).latest(store).sha256 == models.sha256("first")
    model_origin(spec).fetch(store, RuntimeOptions()).adopt("by_replace", store)
    assert model_origin(spec).current(store).sha256 == models.sha256("first")


@pytest.mark.parametrize("name", ["model.onnx", "normalised.onnx", "facts.json"])
@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff\xfe\x00", b"{}", b"null", None])
def test_a_damaged_model_in_the_store_is_a_clear_error_and_the_model_asset_mends_it(
    models: Ward, store: ArtifactStore, name: str, garbage: bytes | None
) -> None:
    spec, sha256 = models.spec("replace"), models.sha256("first")
    file = models.home / "artifacts" / sha256 / name
    if garbage is None:
        file.unlink()
    else:
        file.write_bytes(garbage)
    if name != "model.onnx":  # which scoring does not read
        with pytest.raises(ModelError, match="materialize"):
            model_origin(spec).current(store)
    model_origin(spec).fetch(store, RuntimeOptions()).adopt("by_replace", store)
    assert model_origin(spec).current(store).sha256 == sha256


def test_facts_that_lack_something_are_a_clear_error(models: Ward, store: ArtifactStore) -> None:
    file = models.home / "artifacts" / models.sha256("first") / "facts.json"
    for name in json.loads(file.read_text()):
        whole = file.read_text()
        facts = json.loads(whole)
        del facts[name]
        file.write_text(json.dumps(facts))
        if name in ("format", "onnxruntime"):  # found out anew, as for another release
            assert model_origin(models.spec("replace")).current(store).sha256 == models.sha256("first")
        else:
            with pytest.raises(ModelError, match="materialize"):
                model_origin(models.spec("replace")).current(store)
        file.write_text(whole)
