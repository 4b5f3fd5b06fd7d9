"""A scoring service over HTTP: features go out, predictions come back, in order, several requests under way at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.inference_protocol import NULLS_HEADER
from onnx_pipeline.engines.base import Engine
from onnx_pipeline.engines.remote.client import Client
from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.engines.remote.traffic import Traffic
from onnx_pipeline.engines.remote.window import in_order
from onnx_pipeline.engines.remote.wires import open_wire
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.spec.engines.remote import EngineSpec

__all__ = ["RemoteEngine"]


class RemoteEngine(Engine):
    """Scores by requests to the service of `engine: {kind: remote, ...}`."""

    kind = "remote"

    def __init__(self, spec: EngineSpec, model: PlannedModel, say: Callable[[str], None]) -> None:
        """Raises SpecError where the environment lacks what the sign-in takes."""
        self._spec = spec
        self._model = model
        artifact = model.artifact_sha256 if isinstance(model, RemoteModel) else model.sha256
        self._client = Client(spec, sha256=artifact, say=say)

    def score(
        self,
        binding: Binding,
        outputs: Sequence[OutputColumn],
        nulls: Mapping[str, Any],
        batches: Iterable[pa.RecordBatch],
    ) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        layout = Layout.of(self._model, binding, outputs, nulls)
        wire = open_wire(self._spec.wire, layout)
        client = self._client
        client.traffic = Traffic()
        # Of a model that is here, its own rules about NULL were checked already.
        judged = layout.accepts_nan or isinstance(self._model, OnnxModel)
        headers = {NULLS_HEADER: "nan"} if judged else {}

        def request(piece: pa.RecordBatch) -> list[pa.Array]:
            if piece.num_rows == 0:
                return [pa.nulls(0, column.arrow) for column in outputs]
            return client.score(wire, layout.columns(piece), piece.num_rows, headers)

        most = self._spec.batch_rows or wire.default_rows
        yield from in_order(_pieces(batches, most), request, at_once=self._spec.in_flight, stop=client.stop)

    def cancel(self) -> None:
        self._client.stop()

    def close(self) -> None:
        self._client.close()

    def facts(self) -> Mapping[str, Any]:
        return {
            "service": self._spec.service_url,
            "wire": self._spec.wire,
            **self._client.traffic.facts(),
            "service_model_sha256": self._client.answered_sha256 or "not stated by the service",
        }


def _pieces(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """The rows in pieces of at most `most`, and of about equal size; small batches go together."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if held and rows + batch.num_rows > most:
            yield _joined(held)
            held, rows = [], 0
        if batch.num_rows >= most:
            count = -(-batch.num_rows // most)
            size = -(-batch.num_rows // count)
            yield from (batch.slice(start, size) for start in range(0, batch.num_rows, size))
        else:
            held.append(batch)
            rows += batch.num_rows
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
