"""A scoring service over HTTP: features go out, predictions come back, in order, several requests under way at once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.inference_protocol import COLUMNS_HEADER, IN_ORDER, NULLS_HEADER
from onnx_pipeline.engines.base import Host, StreamEngine, Task
from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.engines.remote.window import in_order
from onnx_pipeline.engines.remote.wires import open_wire
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.spec.engines.remote import RemoteOptions

__all__ = ["RemoteEngine"]


class RemoteEngine(StreamEngine[RemoteOptions]):
    """Scores by requests to the service of `engine: {kind: remote, ...}`."""

    proviso = "where a service has it"

    def __init__(self, options: RemoteOptions, task: Task, host: Host) -> None:
        """Raises SpecError where the environment lacks what the sign-in takes."""
        super().__init__(options, task, host)
        # Here, because every scoring's model asset asks this engine what it can run, and only who sends needs HTTP.
        from onnx_pipeline.engines.remote.client import Client

        self._client = Client(options, sha256=task.model.artifact_sha256, say=host.say)

    @classmethod
    def described_model(cls, options: RemoteOptions) -> PlannedModel:
        from onnx_pipeline.engines.remote.discovery import remote_model

        return remote_model(options)

    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        # Here, and not when the first batch is asked for: `cancel` may come before it.
        self._client.start()
        return self._scored(batches)

    def _scored(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        task = self.task
        layout = Layout.of(task.model, task.binding, task.outputs, task.nulls)
        wire = open_wire(self.options.wire, layout)
        client = self._client
        # Of a model that is here, its own rules about NULL were checked already.
        judged = layout.accepts_nan or isinstance(task.model, OnnxModel)
        headers = {NULLS_HEADER: "nan"} if judged else {}
        if layout.in_order:
            headers[COLUMNS_HEADER] = IN_ORDER

        def request(piece: pa.RecordBatch) -> list[pa.Array]:
            if piece.num_rows == 0:
                return [pa.nulls(0, column.arrow) for column in task.outputs]
            return client.score(wire, layout.columns(piece), piece.num_rows, headers)

        most = self.options.batch_rows or wire.default_rows
        yield from in_order(_pieces(batches, most), request, at_once=self.options.in_flight, stop=client.stop)

    def look(self) -> str:
        from onnx_pipeline.engines.remote.discovery import ask

        return ask(self._client, self.options, self.task.model.artifact_sha256)

    def cancel(self) -> None:
        self._client.stop()

    def close(self) -> None:
        self._client.close()

    def facts(self) -> Mapping[str, Any]:
        return {
            "service": self.options.url,
            "wire": self.options.wire,
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
