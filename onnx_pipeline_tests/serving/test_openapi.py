"""The OpenAPI document is right: schemathesis makes requests from it, good and bad, and holds the answers against it."""

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import LOS, READMISSION, serving

load_all_checks()
PATHS = [
    *(f"POST {path}" for name in (LOS, READMISSION) for path in (f"/models/{name}/score", f"/v2/models/{name}/infer")),
    *(
        f"GET {path}"
        for path in ("/models", f"/models/{LOS}", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs")
    ),
    *(f"GET /v2{path}" for path in ("", "/health/live", "/health/ready", f"/models/{LOS}", f"/models/{LOS}/ready")),
]
LEFT_OUT = {"/score", "/docs/{file}"}
"""There for a single model, and what the page loads."""
KEY = {"x-functions-key": "the-key"}


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """A real service over the sample's models, behind a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("the-key\n")
    with serving("--models", str(MODELS), "--keys-file", str(keys), "--no-access-log", models=2) as (url, _):
        yield url


@pytest.fixture(scope="module")
def document(url) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=KEY)


@schemathesis.hook
def map_body(context, body):
    """What JSON Schema cannot say: an index has one value per row. One that is no list is to be refused as it is."""
    split = body.get("input_data") if isinstance(body, dict) else None
    if isinstance(split, dict) and isinstance(split.get("data"), list) and isinstance(split.get("index"), list):
        split["index"] = list(range(len(split["data"])))
    return body


def is_free_text(case) -> bool:
    """Whether JSON Schema says too little of the body for it to be right by chance: Arrow, and tensors by their shape."""
    return case.media_type not in (None, "application/json") or case.path.endswith("/infer")


@pytest.mark.hypothesis
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", PATHS)
def test_every_answer_is_one_that_the_document_describes(document, label, mode):
    method, path = label.split(" ")
    operation = document[path][method]

    @settings(
        max_examples=settings.default.max_examples // (2 if method == "POST" else 4),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answer_as_described(case):
        excluded = [positive_data_acceptance] if is_free_text(case) else []
        case.call_and_validate(headers=KEY, excluded_checks=excluded, timeout=60)

    try:
        answer_as_described()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE and method == "GET"  # nothing that could be wrong


def test_the_document_is_valid_and_names_the_columns_of_each_model(url, document):
    document.validate()
    raw = document.raw_schema
    assert raw["openapi"] == "3.1.0"
    body = raw["paths"][f"/models/{READMISSION}/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    record = body["anyOf"][0]["items"]
    details = requests.get(f"{url}/models/{READMISSION}", headers=KEY, timeout=60).json()
    assert list(record["properties"]) == record["required"] == [column["name"] for column in details["features"]]
    assert record["properties"]["dialysis"] == {"type": "boolean"}
    assert raw["security"] == [{"functions_key": []}, {"bearer": []}]


def test_every_path_of_the_document_is_served_and_every_path_that_is_served_is_in_it(url, document):
    from onnx_pipeline.serving import ServingSettings, create_app

    app = create_app(ServingSettings(models=(str(MODELS),)))
    served = {endpoint.route.path for endpoint in app._endpoints}
    app.close()
    # A version may be named in the protocol's paths.
    expected = {path.replace("{name}", LOS) for path in served if "{version}" not in path and path not in LEFT_OUT}
    described = {path for path in document.raw_schema["paths"] if READMISSION not in path}
    assert described == expected
