"""What the attribute `engine` of a defs.yaml takes, and what it says where it does not."""

import re
from typing import Any, ClassVar

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox
from pydantic import ValidationError

from onnx_pipeline import OnnxScoring
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines import installed_engine
from onnx_pipeline.project import scorings
from onnx_pipeline.spec.engines.remote import AuthSpec, RemoteOptions
from onnx_pipeline_tests.engines.conftest import spec_of

URL = "https://scoring.example/models/stay/score"


def test_a_url_is_all_that_a_remote_engine_needs() -> None:
    engine = RemoteOptions(kind="remote", url=URL)
    assert (engine.wire, engine.in_flight, engine.auth) == ("arrow", 4, None)
    assert engine.batch_bytes < 100_000_000 and engine.request_seconds < 230


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs `url`"),
        ({"url": "scoring.example/score"}, "must begin with https://"),
        ({"url": "ftp://scoring.example"}, "must begin with https://"),
        ({"url": URL, "wire": "csv"}, "'arrow', 'records', 'data', 'input_data' or 'v2'"),
        ({"url": URL, "batch_rows": 0}, "greater than or equal to 1"),
        ({"url": URL, "batch_bytes": 200_000_000}, "less than or equal to 100000000"),
        ({"url": URL, "in_flight": 0}, "greater than or equal to 1"),
        ({"url": URL, "retry": 3}, "Extra inputs are not permitted"),
        ({"url": URL, "inputs": {"a": "float32"}}, "give both `inputs` and `outputs`"),
        (
            {"url": URL, "inputs": {"a": "decimal"}, "outputs": {"b": "int64"}},
            "'a' has the type 'decimal'; write one of",
        ),
        ({"url": URL, "inputs": {"a": "date"}, "outputs": {"b": "int64"}}, "'a' has the type 'date'; write one of"),
        ({"url": URL, "inputs": {}, "outputs": {"b": "int64"}}, "name at least one column each"),
        ({"url": URL, "headers": {"Authorization": "x"}}, "'Authorization' is set by the engine itself"),
        ({"url": URL, "headers": {"x-a": "1\r\nx-b: 2"}}, "no valid header"),
        ({"url": "https://f.azurewebsites.net/score", "request_seconds": 300}, "cut off after 230 s"),
        ({"url": "http://scoring.example/score", "auth": {"kind": "bearer", "env": "K"}}, "in clear text over http://"),
        (
            {"url": "http://127.evil.example/score", "auth": {"kind": "bearer", "env": "K"}},
            "in clear text over http://",
        ),
        ({"url": URL, "metadata_url": "https://elsewhere.example/v2/models/stay"}, "would be sent to the other"),
        ({"url": URL, "auth": {"kind": "bearer"}}, "takes `env`, the name of the environment variable"),
        ({"url": URL, "auth": {"kind": "function_key", "env": "K", "scope": "s"}}, "no `scope`"),
        ({"url": URL, "auth": {"kind": "entra"}}, "takes `scope`"),
        ({"url": URL, "auth": {"kind": "basic", "env": "K"}}, "'function_key', 'bearer' or 'entra'"),
    ],
)
def test_what_cannot_work_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        RemoteOptions.model_validate({"kind": "remote", **options})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "secret",
    [
        {"url": "https://f.azurewebsites.net/api/score?code=TOPSECRET"},
        {"url": "https://f.azurewebsites.net/api/score?x=1&Code=TOPSECRET"},
        {"url": "https://me:TOPSECRET@scoring.example/score"},
        {"url": URL, "metadata_url": "https://scoring.example/v2/models/stay?sig=TOPSECRET"},
        {"url": URL, "auth": {"kind": "bearer", "env": "TOP-SECRET=="}},
    ],
)
def test_a_key_in_yaml_is_refused_and_not_repeated(secret: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        RemoteOptions.model_validate({"kind": "remote", **secret})
    messages = " ".join(error["msg"] for error in raised.value.errors())
    assert "environment variable" in messages
    assert "SECRET" not in messages


@pytest.mark.parametrize(
    "option", [{"url": URL}, {"wire": "v2"}, {"retries": 3}, {"auth": AuthSpec(kind="bearer", env="K")}]
)
def test_options_of_another_engine_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"'{next(iter(option))}' belongs to `kind: remote`"):
        spec_of(option)


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"kind": "remoat"}, r"there is no engine 'remoat'; did you mean 'remote'"),
        ({"kind": "remote", "url": URL, "retrys": 3}, r"'retrys' is no option of the engine `remote`; .*'retries'"),
        ({"speed": 3}, r"'speed' is no option of the engine `onnxruntime`, which has none"),
    ],
)
def test_a_wrong_engine_or_option_names_the_nearest_right_one(engine: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec_of(engine)


def test_a_key_in_clear_text_may_go_to_this_machine() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        RemoteOptions(kind="remote", url=f"http://{host}:8000/score", auth=AuthSpec(kind="bearer", env="K"))


def test_without_onnx_the_engine_must_be_remote() -> None:
    with pytest.raises(ValidationError, match="onnx is missing"):
        spec_of({}, onnx=None)
    assert spec_of({"kind": "remote", "url": URL}, onnx=None).onnx is None


def test_a_signature_beside_an_artifact_is_one_too_many() -> None:
    declared = {"inputs": {"a": "float32"}, "outputs": {"b": "float32"}}
    with pytest.raises(ValidationError, match="'inputs' describes a model without `onnx`"):
        spec_of({"kind": "remote", "url": URL, **declared})


YAML = """\
type: onnx_pipeline.OnnxScoring

attributes:
  source: visits
  key: [id]
  target: scored
  engine:
    kind: remote
    url: https://scoring.example/models/stay/score
    wire: arrow
    auth: {kind: function_key, env: SCORING_KEY}
    headers: {azureml-model-deployment: blue}
    inputs: {age: float32, labs: "float32[3]"}
    outputs: {days: float32}
    version: "7"
"""


def loaded(text: str) -> Any:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(OnnxScoring, defs_path="visits")
        (folder / "defs.yaml").write_text(text)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, _):
            return component


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
@pytest.mark.filterwarnings("ignore:.*parse_obj_as.*:DeprecationWarning")
def test_a_defs_yaml_holds_all_of_it() -> None:
    engine = loaded(YAML).engine
    assert engine.auth == AuthSpec(kind="function_key", env="SCORING_KEY")
    assert engine.inputs == {"age": "float32", "labs": "float32[3]"}
    said = str(loaded(YAML.replace("wire: arrow", "wires: arrow")).error)
    assert "defs.yaml:10: engine.wires:" in said and "did you mean 'wire'" in said


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
@pytest.mark.filterwarnings("ignore:.*parse_obj_as.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("wire: arrow", "wire: arow", r"defs.yaml:10: engine.wire: .*'v2', and it is 'arow'$"),
        ("stay/score", "stay/score?code=hush", r"defs.yaml:9: engine.url: the URL of scoring.example holds a key"),
        (
            "env: SCORING_KEY",
            "env: hush-hush",
            r"defs.yaml:11: engine.auth: auth: `env` must be the name of an environment variable",
        ),
        ("env: SCORING_KEY", "key: hush", r"defs.yaml:11: engine.auth.key: Extra inputs are not permitted"),
    ],
)
def test_the_command_line_names_place_and_fix_and_no_secret(
    right: str, wrong: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(OnnxScoring, defs_path="visits")
        (folder / "defs.yaml").write_text(YAML.replace(right, wrong))
        with sandbox.build_component_tree() as tree:
            monkeypatch.setattr(dg.ComponentTree, "for_project", lambda path: tree)
            with pytest.raises(SpecError) as raised:
                scorings()
    message = str(raised.value)
    assert re.search(said, message)
    assert "hush" not in message and "Traceback" not in message


@pytest.mark.parametrize("package", ["nothing_of_this_name", "nothing_of_this_name.inside"])
def test_an_engine_whose_package_is_not_installed_is_known_to_be_missing(package: str) -> None:
    class Lacking(RemoteOptions):
        packages: ClassVar[tuple[str, ...]] = (package,)

    assert installed_engine(Lacking) is None
    found = installed_engine(RemoteOptions)
    assert found is not None and found.__name__ == "RemoteEngine"
