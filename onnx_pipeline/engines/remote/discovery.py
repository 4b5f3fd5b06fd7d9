"""What is known of a model without its artifact: what the spec declares, else what the service states.

A service describes a model by the Open Inference Protocol: `GET /v2/models/<name>` gives name, versions, and
its tensors as name, datatype and shape. Ours adds the artifact's sha256 as a header, and `parameters`: the names of the
columns of an `[N, F]` input, the classes of an `[N, K]` output.
"""

import json
import re
from typing import Any

from onnx_pipeline.base.errors import ServiceError, SpecError
from onnx_pipeline.base.inference_protocol import ONNX_TYPES, SHA256_HEADER
from onnx_pipeline.engines.remote.client import Client
from onnx_pipeline.models.declared import declared_signature
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.models.signature import OutputSignature, Signature, TensorSignature
from onnx_pipeline.spec.engines.remote import RemoteOptions

__all__ = ["ask", "remote_model"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_INFER = re.compile(r"(?P<model>.*/v2/models/[^/]+)(/versions/[^/]+)?/infer/?")
_SCORE = re.compile(r"(?P<base>.*)/models/(?P<name>[^/]+)/score/?")
_TRIES = 1
"""A sensor asks too, and its tick has 60 s."""


def remote_model(spec: RemoteOptions) -> RemoteModel:
    """The model behind the service of a spec without `onnx`.

    Raises SpecError where nobody says what it takes, ServiceError or ServiceUnavailableError as `Client` does.
    """
    declared = None
    if spec.inputs is not None and spec.outputs is not None:
        declared = declared_signature(spec.inputs, spec.outputs)
        if spec.metadata_url is None:
            return RemoteModel(spec.url, spec.version or "", None, declared)
    url = spec.metadata_url or _metadata_url(spec.url)
    facts, sha256 = _described(spec, url)
    signature = declared or Signature(
        tuple(_tensor(tensor, url) for tensor in _tensors(facts, "inputs", url)),
        tuple(
            OutputSignature(**vars(_tensor(tensor, url)), labels=_texts(tensor, "labels"))
            for tensor in _tensors(facts, "outputs", url)
        ),
    )
    versions = facts.get("versions")
    stated = str(versions[-1]) if isinstance(versions, list) and versions else ""
    names = None if declared is not None else _feature_names(facts)
    return RemoteModel(spec.url, spec.version or stated, sha256, signature, names)


def ask(client: Client, spec: RemoteOptions, wanted: str | None) -> str:
    """What the service's page about its model says, in a few words; where no such page is known, that it was not asked.

    Raises ServiceError or ServiceUnavailableError as `Client` does, also where the page states another model's sha256
    than `wanted`.
    """
    url = spec.metadata_url or _page_of(spec.url)
    if url is None:
        return "not asked: its URL does not tell where it describes its model, and `metadata_url` is not given"
    answer = client.request("GET", url, {"accept": "application/json"}, retries=_TRIES)
    sha256 = answer.headers.get(SHA256_HEADER, "").lower()
    if not sha256:
        return f"{url} answers, and does not state which model it has"
    if wanted is not None and sha256 != wanted:
        raise ServiceError(
            f"{url} has model {sha256[:12]}, and the scoring's is {wanted[:12]}: every request would be refused. Give "
            "the service that model, or name the service's model in `onnx`."
        )
    return f"{url} answers, with model {sha256[:12]}"


def _metadata_url(url: str) -> str:
    """Where a service that scores at `url` describes its model."""
    page = _page_of(url)
    if page is not None:
        return page
    raise SpecError(
        f"there is no `onnx`, and where {url.partition('?')[0]} describes its model cannot be told from that URL. "
        "Declare `inputs` and `outputs` of the engine, or name the page by `metadata_url` (Open Inference Protocol, "
        "/v2/models/<name>)."
    )


def _page_of(url: str) -> str | None:
    base = url.partition("?")[0]
    if found := _INFER.fullmatch(base):
        return found["model"]
    if found := _SCORE.fullmatch(base):
        return f"{found['base']}/v2/models/{found['name']}"
    return None


def _described(spec: RemoteOptions, url: str) -> tuple[dict[str, Any], str | None]:
    client = Client(spec)
    try:
        answer = client.request("GET", url, {"accept": "application/json"}, retries=_TRIES)
    finally:
        client.close()
    try:
        facts = json.loads(answer.body)
    except ValueError as error:
        raise ServiceError(
            f"{url} holds no JSON ({error}), so what the model takes is not known. Declare `inputs` and `outputs` of "
            "the engine, or correct `metadata_url`."
        ) from error
    if not isinstance(facts, dict):
        raise _unclear(url, "it is no JSON object")
    sha256 = answer.headers.get(SHA256_HEADER, "").lower()
    return facts, sha256 if _SHA256.fullmatch(sha256) else None


def _tensors(facts: dict[str, Any], name: str, url: str) -> list[dict[str, Any]]:
    tensors = facts.get(name)
    if not isinstance(tensors, list) or not tensors or not all(isinstance(tensor, dict) for tensor in tensors):
        raise _unclear(url, f"it has no list `{name}` of tensors")
    return tensors


def _tensor(tensor: dict[str, Any], url: str) -> TensorSignature:
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in ONNX_TYPES:
        raise _unclear(url, f"tensor {name!r} has the datatype {datatype!r}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or not all(isinstance(size, int) for size in shape):
        raise _unclear(url, f"tensor {name!r} has the shape {shape!r}, and a table has one or two dimensions")
    width = tuple(size if size > 0 else None for size in shape[1:])
    return TensorSignature(name, ONNX_TYPES[datatype], (None, *width))


def _feature_names(facts: dict[str, Any]) -> tuple[str, ...] | None:
    """Of the one input of several columns."""
    named = [texts for tensor in facts["inputs"] if (texts := _texts(tensor, "columns")) is not None]
    return named[0] if len(named) == 1 else None


def _texts(tensor: dict[str, Any], name: str) -> tuple[str, ...] | None:
    parameters = tensor.get("parameters")
    texts = parameters.get(name) if isinstance(parameters, dict) else None
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return tuple(texts)
    return None


def _unclear(url: str, what: str) -> ServiceError:
    return ServiceError(
        f"{url} does not describe a model that can be scored: {what}. Declare `inputs` and `outputs` of the engine."
    )
