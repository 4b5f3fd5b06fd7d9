import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto
from onnx.helper import make_node

import onnx_pipeline.models
from onnx_pipeline.base.errors import RuntimeUnavailableError
from onnx_pipeline.models import OnnxModel, RuntimeOptions, session
from onnx_pipeline.models.runtime import open_session
from onnx_pipeline.models.runtime_versions import WRONG_SERIES

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def model(make_model):
    data = make_model([make_node("Add", ["x", "x"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    return OnnxModel.from_bytes(data)


def test_a_session_is_made_once_for_each_model_and_options(model):
    options = RuntimeOptions(intra_op_threads=1)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: session(model.normalised, model.sha256, options), range(8)))
    assert len({id(one) for one in made}) == 1
    assert session(model.normalised, model.sha256, RuntimeOptions(intra_op_threads=2)) is not made[0]


def test_a_provider_that_is_not_here_is_named_with_those_that_are(model):
    options = RuntimeOptions(providers=("MoonExecutionProvider",))
    with pytest.raises(RuntimeUnavailableError, match=r"no MoonExecutionProvider; it has .*CPUExecutionProvider"):
        session(model.normalised, model.sha256, options)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="the provider is here")
def test_that_both_packages_of_onnx_runtime_are_installed_is_told(model, monkeypatch):
    options = RuntimeOptions(providers=("CUDAExecutionProvider",))
    with pytest.raises(
        RuntimeUnavailableError, match=r"in the place of onnxruntime: pip install 'onnx-pipeline\[gpu\]'"
    ):
        open_session(model.normalised, options)
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.31.1" if name == "onnxruntime-gpu" else version(name))
    with pytest.raises(
        RuntimeUnavailableError, match="with the files of onnxruntime on top: pip uninstall --yes onnxruntime"
    ):
        open_session(model.normalised, options)


@pytest.mark.parametrize("version", ["1.26.0", "1.27.0", "1.27.1.dev3"])
def test_a_release_that_answers_wrongly_is_refused_with_what_to_install(model, monkeypatch, version):
    monkeypatch.setattr("onnxruntime.__version__", version)
    with pytest.raises(
        RuntimeUnavailableError, match=rf"ONNX Runtime {version}, .*'onnxruntime!=1\.26\.\*,!=1\.27\.\*'"
    ):
        open_session(model.normalised, RuntimeOptions())


@pytest.mark.parametrize("version", ["1.20.1", "1.2.60", "1.25.1", "1.28.0", "1.32.0", "2.26.0"])
def test_other_releases_are_taken(model, monkeypatch, version):
    monkeypatch.setattr("onnxruntime.__version__", version)
    assert open_session(model.normalised, RuntimeOptions())


def test_every_list_of_requirements_leaves_those_releases_out():
    root = Path(__file__).parents[2]
    lists = ["pyproject.toml", *(str(path.relative_to(root)) for path in root.glob("deploy/**/*") if path.is_file())]
    asked = {
        (name, found)
        for name in lists
        for found in re.findall(
            r"\bonnxruntime[>=!][^\s\"]*", (root / name).read_text(encoding="utf-8", errors="ignore")
        )
    }
    assert {name for name, _ in asked} >= {"pyproject.toml", "deploy/serving-requirements.txt"}
    for name, found in asked:
        assert all(f"!={series}.*" in found for series in WRONG_SERIES), (name, found)


def test_one_scorer_answers_several_threads(model):
    score = model.scorer(model.bind())
    batches = [pa.RecordBatch.from_pydict({"x": np.full(5000, value, np.float32)}) for value in range(20)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(score, batches))
    for value, (answer,) in enumerate(answers):
        np.testing.assert_array_equal(answer, np.full(5000, 2 * value, np.float32))


def test_threads_that_do_not_spin_give_the_same_answers(model):
    options = RuntimeOptions(spins=False)
    told = session(model.normalised, model.sha256, options).get_session_options()
    assert told.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0]})
    assert model.scorer(model.bind(), options=options)(batch)[0].to_pylist() == [2, 4]


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_every_optimisation_level_gives_the_same_answers(model, level):
    options = RuntimeOptions(graph_optimization=level)
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0]})
    assert model.scorer(model.bind(), options=options)(batch)[0].to_pylist() == [2, 4]


def test_the_public_names_are_true():
    missing = [name for name in onnx_pipeline.models.__all__ if not hasattr(onnx_pipeline.models, name)]
    assert missing == []
    assert sorted(onnx_pipeline.models.__all__) == onnx_pipeline.models.__all__


def test_a_stored_model_is_built_and_the_package_imported_without_heavy_imports():
    code = (
        "import sys, onnx_pipeline.models as models; assert 'onnxruntime' not in sys.modules;"
        "from onnx_pipeline.models import OnnxModel, ArtifactStore;"
        "heavy = {'onnx', 'pandas', 'sklearn', 'sqlalchemy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
