"""The Open Inference Protocol v2: tensors by name in, tensors by name out, as JSON or with binary data behind the JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension
"""

from collections.abc import Sequence
from typing import Any

import orjson

from onnx_pipeline.base.inference_protocol import DATATYPES
from onnx_pipeline.models.signature import OutputSignature
from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.json_text import parsed
from onnx_pipeline.serving.formats.predictions import scored
from onnx_pipeline.serving.formats.v2_binary import to_binary
from onnx_pipeline.serving.formats.v2_inputs import input_tensors
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["BINARY_TYPE", "HEADER_LENGTH", "answer", "version_of"]

BINARY_TYPE = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"


def version_of(served: ServedModel) -> str:
    """What the protocol calls the model's version: the begin of its sha256."""
    return served.model.sha256[:12]


def answer(asked: Asked) -> Answer:
    """An inference response for an inference request."""
    request, binary = _divided(asked)
    served = asked.served
    feeds, rows = input_tensors(asked, request.get("inputs"), binary)
    answers = scored(asked, feeds, rows)
    parameters = _object(request.get("parameters"), "parameters")
    all_binary = parameters.get("binary_data_output") is True
    outputs, blobs = [], []
    for signature, as_binary in _wanted(served, request.get("outputs"), all_binary=all_binary):
        tensor = answers[signature.name]
        output: dict[str, Any] = {
            "name": signature.name,
            "shape": list(tensor.shape),
            "datatype": DATATYPES[signature.dtype],
        }
        if as_binary:
            blob = to_binary(tensor)
            blobs.append(blob)
            output["parameters"] = {"binary_data_size": len(blob)}
        else:
            output["data"] = tensor.ravel().tolist()
        outputs.append(output)
    response: dict[str, Any] = {"model_name": served.name, "model_version": version_of(served), "outputs": outputs}
    if isinstance(request.get("id"), str):
        response["id"] = request["id"]
    head = orjson.dumps(response)
    if not blobs:
        return Answer(head, "application/json", rows)
    return Answer(b"".join([head, *blobs]), BINARY_TYPE, rows, {HEADER_LENGTH: str(len(head))})


def _divided(asked: Asked) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a request, and the bytes behind it."""
    body = memoryview(asked.body)
    given = asked.headers.get(HEADER_LENGTH.encode())
    length = len(body)
    if given is not None:
        if not given.isdigit() or int(given) > len(body):
            raise Refusal(400, "header_misfit", f"{HEADER_LENGTH} is not the length of the JSON that begins the body")
        length = int(given)
    request = parsed(body[:length])
    if not isinstance(request, dict):
        raise Refusal(400, "shape_unknown", 'an inference request is an object: {"inputs": [...]}')
    return request, body[length:]


def _wanted(served: ServedModel, outputs: Any, *, all_binary: bool) -> Sequence[tuple[OutputSignature, bool]]:
    known = {output.name: output for output in served.model.signature.outputs}
    if outputs is None or outputs == []:
        return [(output, all_binary) for output in known.values()]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Refusal(400, "shape_unknown", '"outputs" is a list of objects: [{"name": ...}]')
    wanted = []
    for output in outputs:
        name = output.get("name")
        if not isinstance(name, str) or name not in known:
            raise Refusal(400, "output_unknown", f'"outputs" names none of the model\'s: {", ".join(known)}')
        chosen = _object(output.get("parameters"), "parameters").get("binary_data", all_binary)
        wanted.append((known[name], chosen is True))
    return wanted


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, "shape_unknown", f'"{name}" is an object')
    return value
