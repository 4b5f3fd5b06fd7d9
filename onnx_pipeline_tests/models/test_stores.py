import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import InvalidModelError, ModelNotFoundError
from onnx_pipeline.models import ArtifactStore, OnnxModel, open_store

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def original(make_model):
    """A fixed batch of 1, so that the normalised model is another one."""
    return make_model([make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 1])], [("y", FLOAT, [1, 1])])


@pytest.fixture
def store(tmp_path, original):
    made = ArtifactStore(tmp_path / "artifacts")
    made.put(OnnxModel.from_bytes(original), original)
    return made


@pytest.fixture(scope="module")
def model(original):
    return OnnxModel.from_bytes(original)


def test_a_path_and_a_file_uri_name_the_same_file(tmp_path, monkeypatch):
    path = tmp_path / "with space.onnx"
    path.write_bytes(b"bytes")
    monkeypatch.chdir(tmp_path)
    for uri in (str(path), path.as_uri(), path.name):
        assert open_store(uri).fetch(uri) == b"bytes"


def test_the_etag_changes_with_the_file_and_only_then(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    uri = str(path)
    first = open_store(uri).etag(uri)
    assert open_store(uri).etag(uri) == first
    other = tmp_path / "next.onnx"
    other.write_bytes(b"two")
    other.replace(path)
    assert open_store(uri).etag(uri) != first


@pytest.mark.parametrize("name", ["modle.onnx", "."])
def test_a_file_that_is_not_there_is_named_with_what_lies_beside_it(tmp_path, name):
    (tmp_path / "model.onnx").write_bytes(b"")
    uri = str(tmp_path / name)
    for method in ("fetch", "etag"):
        with pytest.raises(ModelNotFoundError, match=r"beside it lie model.onnx|is a folder"):
            getattr(open_store(uri), method)(uri)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ModelNotFoundError, match=r"no store reads gopher:// .*file://"):
        open_store("gopher://models/a.onnx")


def test_a_kept_model_comes_back_whole(store, model, original):
    assert model.normalised != original
    assert store.get(model.sha256) == model
    assert store.original(model.sha256) == original


def test_keeping_again_changes_nothing_also_from_many_threads(store, model, original, tmp_path):
    def files():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.put(model, original), range(8)))
    assert files() == before


@pytest.mark.parametrize("name", ["model.onnx", "normalised.onnx", "facts.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_copy_is_an_error_and_keeping_the_model_mends_it(store, model, original, tmp_path, name, damage):
    path = tmp_path / "artifacts" / model.sha256 / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(
            content[: len(content) // 2] if damage == "truncate" else bytes([content[0] ^ 1]) + content[1:]
        )
    with pytest.raises((InvalidModelError, ModelNotFoundError), match=r"damaged|is kept in"):
        (store.original if name == "model.onnx" else store.get)(model.sha256)
    store.put(model, original)
    assert store.get(model.sha256) == model
    assert store.original(model.sha256) == original


def test_a_model_that_was_never_kept_says_what_to_materialize(store):
    with pytest.raises(ModelNotFoundError, match="materialize the model asset"):
        store.get("0" * 64)
    with pytest.raises(ModelNotFoundError, match="is not a sha256"):
        store.get("../../etc")


def test_bytes_of_another_model_are_not_kept(store, model):
    with pytest.raises(InvalidModelError, match="are not those of model"):
        store.put(model, b"other")


def test_facts_of_another_release_are_made_anew(store, model, tmp_path):
    path = tmp_path / "artifacts" / model.sha256 / "facts.json"
    path.write_text(json.dumps({"format": 0, "sha256": model.sha256}))
    assert store.get(model.sha256) == model
    assert json.loads(path.read_text()) == model.describe()


def test_each_scoring_points_at_its_current_model(store, model):
    assert store.current("a/b") is None
    store.set_current("a/b", model.sha256, "model.onnx", "etag-1")
    store.set_current("a", model.sha256, "other.onnx", "etag-2")
    assert store.current("a/b") == (model.sha256, "model.onnx", "etag-1")
    assert store.current("a") == (model.sha256, "other.onnx", "etag-2")


def test_a_damaged_pointer_is_an_error(store, model, tmp_path):
    store.set_current("a", model.sha256, "model.onnx", "etag")
    (tmp_path / "artifacts" / "current" / "a.json").write_text("{")
    with pytest.raises(InvalidModelError, match="materialize the model asset again"):
        store.current("a")
