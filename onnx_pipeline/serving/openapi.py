"""The service's OpenAPI document, with the columns of each model that it serves at the moment."""

from collections.abc import Sequence
from typing import Any

from onnx_pipeline.base.inference_protocol import ARROW_STREAM, COLUMNS_HEADER, IN_ORDER, NULLS_HEADER, SHA256_HEADER
from onnx_pipeline.serving import openapi_shapes as shapes
from onnx_pipeline.serving.formats import JSON_TYPE
from onnx_pipeline.serving.formats.v2 import BINARY_TYPE
from onnx_pipeline.serving.served import ServedModel

__all__ = ["document"]

_ERRORS = {
    400: "The data is wrong; column and row say where.",
    401: "The API key is missing or unknown.",
    404: "No model of that name is served, or there is no such page.",
    408: "The body did not arrive in time.",
    409: "The model is another version, or has its columns in another order, than the request expects.",
    413: "The body is larger than the service takes.",
    415: "The Content-Type or Content-Encoding is none that the service reads.",
    429: "Too many requests wait already.",
    500: "The service failed.",
    503: "The model is being loaded, or the service is busy.",
}
_HEADERS = {
    "x-request-id": {"description": "The request's own, or one that was made.", "schema": {"type": "string"}},
    SHA256_HEADER: {"description": "sha256 of the artifact that scored.", "schema": {"type": "string"}},
}
_PARAMETERS = [
    {
        "name": "x-request-id", "in": "header", "description": "Comes back where it is 1 to 128 of A-Z a-z 0-9 . _ : -",
        "schema": {"type": "string"},
    },
    {
        "name": NULLS_HEADER, "in": "header", "description": "Accept missing values in trees that track none.",
        "schema": {"type": "string", "enum": ["nan"]},
    },
    {
        "name": COLUMNS_HEADER, "in": "header",
        "description": "The columns are in the order of training, and an input without names may go by it.",
        "schema": {"type": "string", "enum": [IN_ORDER]},
    },
]  # fmt: skip


def document(models: Sequence[ServedModel], *, keyed: bool) -> dict[str, Any]:
    """OpenAPI 3.1: a path per model, so that each says its own columns."""
    paths: dict[str, Any] = {}
    for served in models:
        paths[f"/models/{served.name}/score"] = {"post": _score(served)}
        paths[f"/models/{served.name}"] = {"get": _page(f"What {served.name} reads and predicts", "Model", 404, 503)}
        paths[f"/v2/models/{served.name}/infer"] = {"post": _infer(served)}
        paths[f"/v2/models/{served.name}"] = {"get": _page("Metadata (v2)", "V2Model", 404, 503, flat=True)}
        paths[f"/v2/models/{served.name}/ready"] = {"get": _page("Readiness (v2)", "V2Ready", 404, 503, flat=True)}
    if len(models) == 1:
        paths["/score"] = {"post": _score(models[0], alone=True)}
    paths["/models"] = {"get": _page("The models, ready or not", "Models")}
    paths["/v2"] = {"get": _page("The server (v2)", "V2Server", flat=True)}
    for path in ("/healthz", "/v2/health/live"):
        paths[path] = {"get": {**_page("Whether the service lives", "Live", keyed=False), "security": []}}
    for path in ("/readyz", "/v2/health/ready"):
        page = _page("Whether any model can be scored", "Ready", keyed=False)
        page["responses"]["503"] = _content("None can.", "Ready")
        paths[path] = {"get": {**page, "security": []}}
    paths["/metrics"] = {"get": _text("Metrics for Prometheus", "text/plain")}
    paths["/openapi.json"] = {"get": _text("This document", JSON_TYPE)}
    paths["/docs"] = {"get": {**_text("This document as a page", "text/html", 404), "security": []}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "onnx-pipeline scoring service", "version": "1"},
        "paths": paths,
        "components": {"schemas": shapes.COMMON, "securitySchemes": shapes.KEYS},
        **({"security": [{name: []} for name in shapes.KEYS]} if keyed else {}),
    }


def _score(served: ServedModel, *, alone: bool = False) -> dict[str, Any]:
    stream = {"description": "An Arrow IPC stream, not compressed.", "type": "string", "contentMediaType": ARROW_STREAM}
    return {
        "operationId": "score" if alone else f"score_{served.name}",
        "summary": f"Predictions of {served.name}; the answer has the shape of the request",
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": shapes.request(served)}, ARROW_STREAM: {"schema": stream}},
        },
        "responses": {
            "200": {
                "description": "One prediction per row, in the order of the rows.",
                "headers": _HEADERS,
                "content": {JSON_TYPE: {"schema": shapes.answer(served)}, ARROW_STREAM: {"schema": stream}},
            },
            **_errors(_ERRORS),
        },
    }


def _infer(served: ServedModel) -> dict[str, Any]:
    binary = {"description": "JSON, and behind it binary data.", "type": "string", "contentMediaType": BINARY_TYPE}
    return {
        "operationId": f"infer_{served.name}",
        "summary": f"Predictions of {served.name} by the Open Inference Protocol v2",
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": shapes.v2_request(served)}, BINARY_TYPE: {"schema": binary}},
        },
        "responses": {
            "200": {
                "description": "The output tensors.",
                "headers": _HEADERS,
                "content": {JSON_TYPE: {"schema": shapes.v2_answer(served)}, BINARY_TYPE: {"schema": binary}},
            },
            **_errors(_ERRORS, flat=True),
        },
    }


def _page(summary: str, schema: str, *errors: int, flat: bool = False, keyed: bool = True) -> dict[str, Any]:
    statuses = [*errors, 401] if keyed else errors
    described = {status: text for status, text in _ERRORS.items() if status in statuses}
    return {"summary": summary, "responses": {"200": _content(summary, schema), **_errors(described, flat=flat)}}


def _text(summary: str, media_type: str, error: int = 401) -> dict[str, Any]:
    schema = {"type": "object" if media_type == JSON_TYPE else "string"}
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    return {"summary": summary, "responses": {"200": answer, **_errors({error: _ERRORS[error]})}}


def _errors(described: dict[int, str], *, flat: bool = False) -> dict[str, Any]:
    return {str(status): _content(text, "V2Error" if flat else "Error") for status, text in described.items()}


def _content(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
