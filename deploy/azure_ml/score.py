"""The scoring service's formats inside Azure ML's own inference server, which calls `init` once and `run` per request.

`POST /score` takes and gives the JSON shapes of docs/serving.md. Arrow needs the whole service, as
deployment-container.yml deploys it.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from onnx_pipeline.base.errors import ModelNotFoundError
from onnx_pipeline.base.inference_protocol import COLUMNS_HEADER, IN_ORDER, NULLS_HEADER
from onnx_pipeline.serving import Catalogue
from onnx_pipeline.serving.formats import Answer, Asked, format_of
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import Job, ServedModel

_logger = logging.getLogger("onnx_pipeline.serving")
_served: ServedModel | None = None


def init() -> None:
    """Loads the one model of the deployment; raises, and so fails the deployment, where there is none."""
    global _served  # noqa: PLW0603 - how Azure ML's two functions share what they hold
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    files = sorted(folder.rglob("*.onnx"))
    if len(files) != 1:
        raise ModelNotFoundError(
            f"{folder} holds {len(files)} files that end in .onnx, and one was expected; register that file by itself"
        )
    name = os.environ.get("ONNX_PIPELINE_SERVE_NAME", files[0].stem)
    catalogue = Catalogue([f"{name}={files[0]}"])
    catalogue.refresh()
    _served = catalogue.get(name)
    _logger.info("serving %s, sha256 %s", name, _served.model.sha256)


def run(raw: str | bytes, request_headers: dict[str, str] | None = None) -> Any:
    """The answer to one request: under Azure ML's server a response with its status, elsewhere the JSON as objects.

    Raises Refusal where no server is there to be told.
    """
    headers = {name.lower(): value for name, value in (request_headers or {}).items()}
    try:
        return _scored(raw.encode() if isinstance(raw, str) else raw, headers)
    except Refusal as refusal:
        return _refused(refusal, headers.get("x-request-id", ""))


def _scored(body: bytes, headers: Mapping[str, str]) -> Any:
    assert _served is not None, "Azure ML calls init first"
    sha256 = _served.model.sha256
    if headers.get("x-onnx-model-sha256", sha256).lower() != sha256:
        raise Refusal(409, "model_differs", f"the model that is served here is {sha256}")
    accept_nan = headers.get(NULLS_HEADER, "").strip().lower() == "nan"
    in_order = headers.get(COLUMNS_HEADER, "").strip().lower() == IN_ORDER
    _, answer_json = format_of("application/json")
    return _response(answer_json(Asked(body, _served, accept_nan, Job(), in_order)), sha256)


def _response(answer: Answer, sha256: str) -> Any:
    try:
        from azureml_inference_server_http.api.aml_response import AMLResponse
    except ModuleNotFoundError:
        return orjson.loads(answer.body)
    headers = {"Content-Type": answer.media_type, "x-onnx-model-sha256": sha256}
    return AMLResponse(answer.body, 200, response_headers=headers)


def _refused(refusal: Refusal, request_id: str) -> Any:
    try:
        from azureml_inference_server_http.api.aml_response import AMLResponse
    except ModuleNotFoundError:
        raise refusal from None
    return AMLResponse(refusal.body(request_id, flat=False), refusal.status, json_str=True)
