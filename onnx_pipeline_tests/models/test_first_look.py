"""A model that takes its process down takes no other down, and is looked at once."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import InvalidModelError, RuntimeUnavailableError, SpecError, UnsafeModelError
from onnx_pipeline.base.onnx_types import ELEMENT_TYPES
from onnx_pipeline.base.types import COLUMN_TYPES
from onnx_pipeline.models import ArtifactStore, OnnxModel, RuntimeOptions, first_look, look_process
from onnx_pipeline_tests.models import bad_models

FLOAT = TensorProto.FLOAT


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONNX_PIPELINE_CACHE", str(folder))
    return folder


@pytest.fixture
def double(make_model):
    """y = 2·x, with a batch of 4 that can be freed: what runs is not what came."""
    return make_model([make_node("Add", ["x", "x"], ["y"])], [("x", FLOAT, [4, 1])], [("y", FLOAT, [4, 1])])


@pytest.fixture
def asked(monkeypatch):
    """How often a process was asked."""
    requests = []
    ask = look_process.ask

    def counted(request, data, *, seconds):
        requests.append(request)
        return ask(request, data, seconds=seconds)

    monkeypatch.setattr(first_look, "ask", counted)
    return requests


def test_a_model_that_aborts_its_process_is_refused_and_this_process_goes_on(cache, asked):
    data = bad_models.one_class_forest()
    alone = "import sys, onnxruntime as ort, numpy as np; s = ort.InferenceSession(sys.stdin.buffer.read()); s.run(None, {'x': np.zeros((3, 3), np.float32)})"
    died = subprocess.run([sys.executable, "-c", alone], input=data, capture_output=True, check=False)
    assert died.returncode == -signal.SIGABRT  # the truth: this ONNX Runtime does abort
    for _ in range(2):
        with pytest.raises(UnsafeModelError, match=r"^night\.onnx is refused: .*SIGABRT .*a single class"):
            OnnxModel.from_bytes(data, source="night.onnx")
    assert len(asked) == 1
    with pytest.raises(UnsafeModelError, match=r"^day\.onnx is refused"):
        OnnxModel.from_bytes(data, source="day.onnx")


def test_a_model_that_never_ends_is_refused_until_it_is_given_longer(cache, asked):
    data = bad_models.endless_loop()
    short = RuntimeOptions(look_seconds=2.0)
    for _ in range(2):
        with pytest.raises(UnsafeModelError, match=r"took more than 2 s.*ONNX_PIPELINE_LOOK_SECONDS"):
            OnnxModel.from_bytes(data, options=short)
    assert len(asked) == 1
    with pytest.raises(UnsafeModelError, match=r"took more than 3 s"):
        OnnxModel.from_bytes(data, options=RuntimeOptions(look_seconds=3.0))
    assert len(asked) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_model_that_floods_memory_is_refused_until_it_is_given_more(cache, asked):
    data = bad_models.memory_flood(gigabytes=1)
    small = RuntimeOptions(look_memory=2**29)
    for _ in range(2):
        with pytest.raises(UnsafeModelError, match=r"took more than 512 MB of memory .*ONNX_PIPELINE_LOOK_MEMORY"):
            OnnxModel.from_bytes(data, options=small)
    assert len(asked) == 1
    model = OnnxModel.from_bytes(data, options=RuntimeOptions(look_memory=4 * 2**30))
    assert (len(asked), model.signature.inputs[0].name) == (2, "x")


def test_a_good_model_is_looked_at_once_and_runs_as_it_was_normalised(cache, asked, double):
    first = OnnxModel.from_bytes(double)
    again = OnnxModel.from_bytes(double)
    assert (first, first.normalised) == (again, again.normalised)
    assert len(asked) == 1
    assert first.normalised != double
    frame = pd.DataFrame({"x": np.arange(7, dtype=np.float32)})
    assert again.score(frame)["y"].tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_what_was_refused_for_its_form_is_kept_as_it_was_said(cache, asked):
    messages = set()
    for _ in range(2):
        with pytest.raises(InvalidModelError, match=r"night\.onnx is not an ONNX model") as refused:
            OnnxModel.from_bytes(b"\x00\xff\x13garbage" * 50, source="night.onnx")
        messages.add(str(refused.value))
    assert (len(messages), len(asked)) == (1, 1)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 0}', None])
def test_a_verdict_that_was_damaged_is_made_again(cache, asked, double, damage):
    model = OnnxModel.from_bytes(double)
    (verdict,) = cache.rglob("*.json")
    (normalised,) = cache.rglob("*.onnx")
    if damage is None:
        normalised.write_bytes(b"something else")
    else:
        verdict.write_bytes(damage)
    assert OnnxModel.from_bytes(double) == model
    assert len(asked) == 2
    assert OnnxModel.from_bytes(double).normalised == model.normalised
    assert len(asked) == 2


def test_another_version_of_onnxruntime_looks_again(cache, asked, double, monkeypatch):
    OnnxModel.from_bytes(double)
    monkeypatch.setattr("onnxruntime.__version__", "99.0")
    OnnxModel.from_bytes(double)
    assert len(asked) == 2


def test_an_artifact_store_keeps_what_was_found_and_asks_nobody_twice(tmp_path, cache, asked, double):
    store = ArtifactStore(tmp_path / "artifacts")
    model = OnnxModel.from_bytes(double, looks=store.looks)
    store.put(model, double)
    assert store.get(model.sha256) == OnnxModel.from_bytes(double, looks=store.looks) == model
    assert len(asked) == 1
    assert not cache.exists()


def test_an_upgraded_onnxruntime_looks_at_a_kept_model_before_it_scores(tmp_path, asked, double, monkeypatch):
    store = ArtifactStore(tmp_path / "artifacts")
    model = OnnxModel.from_bytes(double, looks=store.looks)
    store.put(model, double)
    facts = tmp_path / "artifacts" / model.sha256 / "facts.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"onnxruntime": "1.0.0"}))
    assert store.get(model.sha256) == model
    assert json.loads(facts.read_text())["onnxruntime"] == model.onnxruntime


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_folder_that_may_not_be_written_stops_nobody(cache, double):
    cache.mkdir(mode=0o500)
    assert OnnxModel.from_bytes(double) == OnnxModel.from_bytes(double)


def test_a_cache_folder_that_is_a_file_stops_nobody(cache, asked, double):
    cache.write_text("not a folder")
    assert OnnxModel.from_bytes(double) == OnnxModel.from_bytes(double)
    assert len(asked) == 2


def test_several_threads_look_at_several_models(cache, make_model):
    def made(weight):
        weights = {"w": np.float32([weight])}
        data = make_model(
            [make_node("Mul", ["x", "w"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])], weights
        )
        return OnnxModel.from_bytes(data).score(pd.DataFrame({"x": np.float32([2.0])}))["y"].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(made, [1, 2, 3, 1, 2, 3])) == [[2], [4], [6], [2], [4], [6]]


def test_a_process_that_was_killed_from_outside_says_nothing_about_the_model(cache, double, monkeypatch):
    death = look_process.Death("SIGKILL", "")
    with monkeypatch.context() as patched:
        patched.setattr(first_look, "ask", lambda *_, **__: (death, b""))
        with pytest.raises(UnsafeModelError, match="cut short by SIGKILL"):
            OnnxModel.from_bytes(double)
    assert OnnxModel.from_bytes(double).fixed_batch is None


def test_a_look_that_took_long_because_the_machine_was_busy_is_not_kept(cache, double, monkeypatch):
    death = look_process.Death("time", "", processor_seconds=1.5)
    with monkeypatch.context() as patched:
        patched.setattr(first_look, "ask", lambda *_, **__: (death, b""))
        with pytest.raises(
            UnsafeModelError, match=r"took more than 60 s\. It had the processor for 1\.5 s .*run it again"
        ):
            OnnxModel.from_bytes(double)
    assert OnnxModel.from_bytes(double).fixed_batch is None


def test_a_process_that_cannot_start_is_named_and_nothing_is_kept(cache, double, monkeypatch):
    monkeypatch.setattr(look_process, "_idle", [])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(
        RuntimeUnavailableError, match=r"no process could be started .*/nowhere/python.*ONNX_PIPELINE_TRUST_MODELS=true"
    ):
        OnnxModel.from_bytes(double)
    assert not cache.exists()
    monkeypatch.setenv("ONNX_PIPELINE_TRUST_MODELS", "true")
    assert OnnxModel.from_bytes(double).fixed_batch is None


def test_a_process_that_went_meanwhile_is_replaced(cache, asked, double, make_model):
    other = make_model([make_node("Neg", ["x"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    OnnxModel.from_bytes(double)
    idle = look_process._idle[-1]._process
    os.kill(idle.pid, signal.SIGKILL)
    assert OnnxModel.from_bytes(other).sha256
    assert look_process._idle[-1]._process.pid != idle.pid


def test_the_process_imports_little():
    code = (
        "import sys, onnx_pipeline.models.look_child;"
        "heavy = {'pyarrow', 'pandas', 'dagster', 'sqlalchemy', 'pydantic', 'duckdb'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_types_without_arrow_are_those_with_it():
    assert {kind.onnx: kind.numpy for kind in COLUMN_TYPES if kind.onnx is not None} == ELEMENT_TYPES


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ONNX_PIPELINE_LOOK_SECONDS", "soon", r"ONNX_PIPELINE_LOOK_SECONDS is 'soon'"),
        ("ONNX_PIPELINE_LOOK_SECONDS", "-1", r"no number of seconds"),
        ("ONNX_PIPELINE_LOOK_MEMORY", "much", r"no size of memory; write ONNX_PIPELINE_LOOK_MEMORY=4GB"),
        ("ONNX_PIPELINE_CALL_MEMORY", "0", r"no size of memory"),
        ("ONNX_PIPELINE_TRUST_MODELS", "perhaps", r"neither true nor false"),
    ],
)
def test_a_setting_that_is_no_limit_is_named(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=message):
        RuntimeOptions()


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ONNX_PIPELINE_LOOK_SECONDS", "5")
    monkeypatch.setenv("ONNX_PIPELINE_LOOK_MEMORY", "512MiB")
    monkeypatch.setenv("ONNX_PIPELINE_CALL_MEMORY", "1.5 GB")
    options = RuntimeOptions()
    assert (options.look_seconds, options.look_memory, options.call_memory) == (5.0, 512 * 2**20, 3 * 2**29)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_locale_that_is_not_installed_is_named_with_its_package(cache, trusted):
    with pytest.raises(
        RuntimeUnavailableError, match=r"^night\.onnx .*locale xx_XX\.UTF-8.*apt-get install locales.*locale-gen"
    ):
        OnnxModel.from_bytes(
            bad_models.unknown_locale(), source="night.onnx", options=RuntimeOptions(trust_models=trusted)
        )
    assert not list(cache.rglob("*.json"))  # of the machine, not of the model


@pytest.mark.parametrize("trusted", [False, True])
def test_a_model_that_loads_prints_nothing(cache, capfd, make_model, trusted):
    """A constant of two rows holds the batch at 2: ONNX Runtime refuses the candidate with another one."""
    nodes = [make_node("Add", ["x", "ones"], ["y"])]
    weights = {"ones": np.ones((2, 4), np.float32)}
    data = make_model(nodes, [("x", FLOAT, [2, 4])], [("y", FLOAT, [2, 4])], weights)
    model = OnnxModel.from_bytes(data, options=replace(RuntimeOptions(), trust_models=trusted))
    assert model.fixed_batch == 2
    assert capfd.readouterr() == ("", "")
