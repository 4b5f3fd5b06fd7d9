"""Models that stay at their service: no artifact comes here, and the pipeline is the same."""

import hashlib
import http.server
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from onnx_pipeline.base.errors import InvalidModelError, ServiceError, ServiceUnavailableError, SpecError, StagingError
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import OutputSignature, TensorSignature
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import definitions
from onnx_pipeline_tests.engines.conftest import ROWS, Run, Server, StartServer, remote, spec_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
]
DECLARED = {"inputs": {"a": "float32", "b": "float32"}, "outputs": {"score": "float32"}}


def described(url: str, **options: Any) -> Any:
    return model_origin(spec_of(remote(url, **options), onnx=None)).load(RuntimeOptions())


def test_a_declared_model_is_known_without_asking_anybody() -> None:
    model = described("https://nobody.example/score", **DECLARED, version="7")
    assert model.signature.inputs == (TensorSignature("a", "float", (None,)), TensorSignature("b", "float", (None,)))
    assert model.signature.outputs == (OutputSignature("score", "float", (None,)),)
    assert model.version == "7"


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("onnx_pipeline.engines.remote")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(SpecError, match=r"orjson.*pip install 'onnx-pipeline\[remote\]'"):
        described("http://127.0.0.1:9/models/stays/score")


def test_the_sha256_of_a_declared_model_can_be_computed_by_anybody() -> None:
    model = described("https://nobody.example/score", **DECLARED, version="7")
    tensor = {"dtype": "float", "shape": [None]}
    facts = {
        "artifact_sha256": None,
        "feature_names": None,
        "signature": {
            "inputs": [{"name": "a", **tensor}, {"name": "b", **tensor}],
            "outputs": [{"name": "score", **tensor, "labels": None}],
        },
        "url": "https://nobody.example/score",
        "version": "7",
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert model.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [{"version": "8"}, {"outputs": {"score": "float64"}}, {"inputs": {"a": "float32", "c": "float32"}}],
)
def test_another_version_or_signature_is_another_model(other: dict[str, Any]) -> None:
    options = {**DECLARED, "version": "7"}
    first = described("https://nobody.example/score", **options)
    assert first.sha256 != described("https://nobody.example/score", **options | other).sha256
    assert first.sha256 != described("https://elsewhere.example/score", **options).sha256
    assert first.sha256 == described("https://nobody.example/score", **options, retries=2, in_flight=9).sha256


def test_a_declared_model_scores_the_table(start_server: StartServer, run: Run) -> None:
    engine = remote(start_server().url, **DECLARED, version="7")
    spec = spec_of(engine, onnx=None)
    run(engine, onnx=None, model=model_origin(spec).load(RuntimeOptions()))
    run.assert_all()
    (sha256,) = {row[0] for row in run.sql("SELECT DISTINCT model_sha256 FROM scored")}
    assert sha256 == model_origin(spec).load(RuntimeOptions()).sha256


def test_our_service_describes_its_model_and_its_sha256_is_the_artifacts(
    start_service: Callable[[Path], Server], model_file: Path, run: Run
) -> None:
    base = start_service(model_file.parent).url
    here = OnnxModel.load(model_file)
    for wire, url in (("arrow", f"{base}/models/linear/score"), ("v2", f"{base}/v2/models/linear/infer")):
        there = described(url, wire=wire)
        assert there.sha256 == here.sha256
        assert there.signature == here.signature
        run(remote(url, wire=wire), onnx=None, model=there)
        run.assert_all()
        assert run.sql("SELECT DISTINCT model_sha256 FROM scored") == [(here.sha256,)]


def test_names_of_a_matrix_and_classes_come_from_our_service(start_service: Callable[[Path], Server]) -> None:
    from onnx_pipeline.sample import MODELS

    base = start_service(MODELS).url
    for name in ("length_of_stay", "readmission"):
        here, there = OnnxModel.load(MODELS / f"{name}.onnx"), described(f"{base}/models/{name}/score")
        assert (there.sha256, there.signature) == (here.sha256, here.signature)
        assert there.feature_names == here.feature_names


class Described(http.server.BaseHTTPRequestHandler):
    """Any other server of the Open Inference Protocol."""

    page: Any = None
    status = 200

    def do_GET(self) -> None:
        body = self.page if isinstance(self.page, bytes) else json.dumps(self.page).encode()
        self.send_response(self.status if self.path == "/v2/models/stay" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[Callable[..., str]]:
    """`page(facts)`: the URL of a scoring service that describes its model by these facts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Described)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def describe(facts: Any, status: int = 200) -> str:
        Described.page, Described.status = facts, status
        return f"http://127.0.0.1:{server.server_address[1]}/v2/models/stay/infer"

    yield describe
    server.shutdown()
    thread.join()
    server.server_close()


TENSOR = {"name": "a", "datatype": "FP32", "shape": [-1, 1]}
GOOD = {
    "name": "stay",
    "versions": ["1", "3"],
    "inputs": [TENSOR],
    "outputs": [{**TENSOR, "name": "p", "shape": [-1, 2]}],
}


def test_another_servers_description_is_read_and_its_last_version_counts(page: Callable[..., str]) -> None:
    model = described(page(GOOD))
    assert model.version == "3" and model.artifact_sha256 is None
    assert model.signature.inputs == (TensorSignature("a", "float", (None, 1)),)
    assert model.signature.outputs == (OutputSignature("p", "float", (None, 2)),)
    assert model.sha256 != described(page({**GOOD, "versions": ["1", "4"]})).sha256


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({**GOOD, "inputs": []}, "no list `inputs`"),
        ({**GOOD, "outputs": None}, "no list `outputs`"),
        ({**GOOD, "inputs": [{**TENSOR, "datatype": "BF16"}]}, "the datatype 'BF16'"),
        ({**GOOD, "inputs": [{**TENSOR, "shape": [-1, 3, 224, 224]}]}, "one or two dimensions"),
        ([], "no JSON object"),
        (b"<html>", "holds no JSON"),
    ],
)
def test_a_description_that_is_none_says_what_to_declare(facts: Any, words: str, page: Callable[..., str]) -> None:
    with pytest.raises(ServiceError, match="Declare `inputs` and `outputs`") as raised:
        described(page(facts))
    assert words in str(raised.value)


def test_a_service_that_does_not_answer_is_worth_another_run(page: Callable[..., str]) -> None:
    with pytest.raises(ServiceUnavailableError, match="HTTP 503"):
        described(page(GOOD, status=503))


def test_a_url_that_tells_no_description_says_what_to_declare() -> None:
    with pytest.raises(
        SpecError, match="Declare `inputs` and `outputs` of the engine, or name the page by `metadata_url`"
    ):
        described("https://endpoint.westeurope.inference.ml.azure.com/score")


def test_a_kept_description_that_was_damaged_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    model = described("https://nobody.example/score", **DECLARED)
    store.put_remote(model)
    assert store.get_remote(model.digest) == model
    (path,) = (tmp_path / "remote").iterdir()
    path.write_bytes(path.read_bytes().replace(b"nobody", b"somebody"))
    with pytest.raises(InvalidModelError, match="was damaged; materialize the model asset again"):
        store.get_remote(model.digest)
    store.put_remote(model)
    assert store.get_remote(model.digest) == model


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


def materialized(spec: ScoringSpec, instance: dg.DagsterInstance) -> dict[str, Any]:
    """Each asset's materialization in one run of the scoring's job."""
    job = definitions(spec).resolve_job_def(spec.scoring)
    result = job.execute_in_process(instance=instance)
    assert result.success
    return {
        event.step_materialization_data.materialization.asset_key.path[
            -1
        ]: event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    }


def test_the_four_assets_run_and_show_the_remote_model_and_its_traffic(
    start_server: StartServer, run: Run, instance: dg.DagsterInstance
) -> None:
    server = start_server(["status:503"])
    spec = spec_of(remote(server.url, **DECLARED, version="7"), onnx=None)
    shown = materialized(spec, instance)
    run.assert_all()
    sha256 = model_origin(spec).load(RuntimeOptions()).sha256

    model = shown["model"]
    assert model.tags["dagster/data_version"] == sha256
    assert (model.metadata["version"].value, model.metadata["uri"].value) == ("7", server.url)
    assert "its artifact is not here" in model.metadata["engines"].value

    predictions = shown["predictions"].metadata
    assert predictions["service"].value == server.url
    assert (predictions["requests"].value, predictions["retries"].value) == (10, 1)
    assert predictions["retried_after"].value == "HTTP 503: 1"
    assert int(re.sub(r"\D", "", predictions["bytes_sent"].value.partition(" ")[0])) > 0
    assert predictions["protocol"].value == "HTTP/1.1"
    assert predictions["model_sha256"].value == sha256

    assert run.sql("SELECT DISTINCT model_sha256 FROM scored") == [(sha256,)]
    assert run.sql("SELECT model_sha256, rows FROM onnx_scoring_log") == [(sha256, ROWS)]
    ((registered, kept, form),) = run.sql("SELECT sha256, model, form FROM onnx_models")
    assert registered == sha256 == hashlib.sha256(kept).hexdigest() and form == "description"


def test_a_model_of_another_url_is_not_taken_for_this_one(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first = spec_of(remote("https://nobody.example/score", **DECLARED), onnx=None)
    found = model_origin(first).fetch(store, RuntimeOptions())
    found.adopt("visits", store)
    assert model_origin(first).current(store) == found.model
    moved = spec_of(remote("https://elsewhere.example/score", **DECLARED), onnx=None)
    with pytest.raises(StagingError, match="last materialized for https://nobody.example/score"):
        model_origin(moved).current(store)


def test_a_new_artifact_behind_the_url_is_seen_and_becomes_current(
    start_service: Callable[[Path], Server], model_file: Path, run: Run, tmp_path: Path, weighted_sum: Any
) -> None:
    spec = spec_of(remote(f"{start_service(model_file.parent).url}/models/linear/score"), onnx=None)
    store = ArtifactStore(tmp_path / "store")
    first = model_origin(spec).fetch(store, RuntimeOptions())
    first.adopt("visits", store)
    assert model_origin(spec).latest(store).sha256 == first.model.sha256
    changed = tmp_path / "changed"
    changed.mkdir()
    other = weighted_sum({"a": 3.0, "b": -0.5}, bias=1.0)
    (changed / "linear.onnx").write_bytes(other.normalised)
    moved = spec_of(remote(f"{start_service(changed).url}/models/linear/score"), onnx=None)
    latest = model_origin(moved).latest(store)
    assert latest.sha256 == other.sha256 != first.model.sha256


def test_a_service_that_moved_on_to_another_artifact_is_refused(
    start_service: Callable[[Path], Server], model_file: Path, run: Run, tmp_path: Path, weighted_sum: Any
) -> None:
    model = described(f"{start_service(model_file.parent).url}/models/linear/score")
    other = tmp_path / "other"
    other.mkdir()
    (other / "linear.onnx").write_bytes(weighted_sum({"a": 3.0, "b": -0.5}).normalised)
    url = f"{start_service(other).url}/models/linear/score"
    with pytest.raises(ServiceError, match="serves another model than"):
        run(remote(url), onnx=None, model=model)
    run.assert_nothing()
