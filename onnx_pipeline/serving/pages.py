"""What is told about the service and its models: health, lists, metadata, metrics, OpenAPI."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import orjson
from starlette.types import Receive

from onnx_pipeline.base.inference_protocol import DATATYPES
from onnx_pipeline.models.signature import TensorSignature
from onnx_pipeline.serving.catalogue import Catalogue, Entry
from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.formats.v2 import version_of
from onnx_pipeline.serving.metrics import METRICS_TYPE, Metrics
from onnx_pipeline.serving.openapi import document
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["Pages"]

_SERVER = {"name": "onnx-pipeline", "extensions": ["binary_tensor_data"]}


class Pages:
    """One method per page; each takes the exchange, the path's parameters and the body that it does not read."""

    def __init__(self, catalogue: Catalogue, metrics: Metrics, *, keyed: bool) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._keyed = keyed

    async def alive(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        return Reply.json({"live": True})

    async def ready(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        """503 until every model was tried, and as long as none serves."""
        ready = self._catalogue.ready
        states = {name: entry.state for name, entry in self._catalogue.entries.items()}
        return Reply.json({"ready": ready, "models": states}, 200 if ready else 503)

    async def models(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        return Reply.json({"models": [_summary(entry) for entry in self._catalogue.entries.values()]})

    async def model(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        served = self._served(exchange, params)
        entry = self._catalogue.entries.get(served.name)
        return Reply.json(_details(served, entry))

    async def metrics(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        return Reply(200, self._metrics.text(self._catalogue), METRICS_TYPE)

    async def openapi(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        served = [entry.served for entry in self._catalogue.entries.values() if entry.served is not None]
        return Reply(200, orjson.dumps(document(served, keyed=self._keyed)))

    async def v2_server(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        return Reply.json({**_SERVER, "version": _version()})

    async def v2_model(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        served = self._served(exchange, params)
        named = [
            bound.columns if bound.tensor.is_matrix and not served.unnamed.intersection(bound.columns) else None
            for bound in served.inputs
        ]
        return Reply.json(
            {
                "name": served.name, "versions": [version_of(served)], "platform": "onnxruntime_onnx",
                "inputs": [
                    _tensor(bound.tensor, columns=columns)
                    for bound, columns in zip(served.inputs, named, strict=True)
                ],
                "outputs": [_tensor(tensor, labels=tensor.labels) for tensor in served.model.signature.outputs],
            }
        )  # fmt: skip

    async def v2_model_ready(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        served = self._served(exchange, params)
        return Reply.json({"name": served.name, "ready": True})

    def _served(self, exchange: Exchange, params: dict[str, str]) -> ServedModel:
        served = self._catalogue.get(params["name"])
        exchange.model, exchange.sha256 = served.name, served.model.sha256
        check_version(served, params.get("version"))
        return served


def _version() -> str:
    try:
        return metadata.version("onnx-pipeline")
    except metadata.PackageNotFoundError:
        return "not installed"  # an Azure Function carries the package as a folder


def check_version(served: ServedModel, version: str | None) -> None:
    """Raises Refusal for a version that is not the one that is served."""
    if version is not None and version not in (version_of(served), served.model.sha256):
        raise Refusal(404, "version_unknown", f"the version of {served.name!r} that is served is {version_of(served)}")


def _summary(entry: Entry) -> dict[str, Any]:
    served = entry.served
    return {
        "name": entry.name,
        "state": entry.state,
        "sha256": None if served is None else served.model.sha256,
        "failure": entry.failure,
    }


def _details(served: ServedModel, entry: Entry | None) -> dict[str, Any]:
    return {
        "name": served.name,
        "state": "ready",
        "sha256": served.model.sha256,
        "failure": None if entry is None else entry.failure,
        "features": [{"name": name, "dtype": dtype} for name, dtype in served.dtypes.items()],
        "predictions": [
            {"name": column.name, "dtype": str(column.arrow), "output": column.output} for column in served.outputs
        ],
    }


def _tensor(tensor: TensorSignature, **named: Sequence[str] | None) -> dict[str, Any]:
    """As the protocol describes one; its `parameters` name what a tensor's columns are, where that is known."""
    shape = [-1 if size is None else size for size in tensor.shape]
    described: dict[str, Any] = {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": shape}
    parameters = {name: list(texts) for name, texts in named.items() if texts is not None}
    return {**described, "parameters": parameters} if parameters else described
