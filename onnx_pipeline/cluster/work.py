"""What a task does: read its part, score it by this package's own code, write it, and tell what it wrote."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base import errors
from onnx_pipeline.base.arrow import finite_or_null
from onnx_pipeline.base.errors import ClusterError, DataError, FeatureValueError, OnnxPipelineError
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parts import Written
from onnx_pipeline.models.onnx_model import OnnxModel

__all__ = ["Answer", "answered", "raised", "settled"]


@dataclass(frozen=True)
class Answer:
    """What became of one part: what was written, or why nothing was."""

    number: int
    seconds: float
    written: Written | None = None
    refused: tuple[str, tuple[Any, ...]] | None = None
    """Name and arguments of the error that trying again would raise again."""

    def to_json(self) -> str:
        written = None if self.written is None else self.written.to_json()
        return json.dumps({"number": self.number, "seconds": self.seconds, "written": written, "refused": self.refused})

    @classmethod
    def from_json(cls, text: str) -> "Answer":
        found = json.loads(text)
        written = None if found["written"] is None else Written(**found["written"])
        refused = None if found["refused"] is None else (found["refused"][0], tuple(found["refused"][1]))
        return cls(found["number"], found["seconds"], written, refused)


def answered(order: str, model: str, number: int) -> Answer:
    """Score one part; `order` and `model` are paths of files on this machine.

    An error that another attempt would meet again is an answer: a cluster would try it four times. What may pass on its
    own is raised, and tried again.
    """
    started = time.monotonic()
    try:
        written = _scored(_opened(order, model), number)
    except OnnxPipelineError as error:
        if error.transient:
            raise
        arguments = (error.column, error.row, error.reason) if isinstance(error, FeatureValueError) else (str(error),)
        return Answer(number, time.monotonic() - started, refused=(type(error).__name__, arguments))
    return Answer(number, time.monotonic() - started, written)


def settled(answers: Iterable[Answer], parts: int) -> list[Written]:
    """What was written, part by part, where all of it was.

    Raises what the first part that was refused answered with, and ClusterError where a part has no answer, or several.
    """
    ordered = sorted(answers, key=lambda answer: answer.number)
    for answer in ordered:
        if answer.refused is not None:
            raise raised(answer)
    if [answer.number for answer in ordered] != list(range(parts)):
        raise ClusterError(
            f"{parts} parts were given to the cluster, and it answered for {len(ordered)}; nothing was kept, run the "
            "partition again"
        )
    return [answer.written for answer in ordered if answer.written is not None]


def raised(answer: Answer) -> OnnxPipelineError:
    """The error that a task answered with."""
    assert answer.refused is not None
    name, arguments = answer.refused
    kind = getattr(errors, name, DataError)
    made: OnnxPipelineError = kind(*arguments)
    return made


@dataclass(frozen=True)
class _Work:
    order: Order
    scorer: Callable[[pa.RecordBatch], list[pa.Array]]


@lru_cache(maxsize=4)
def _opened(order: str, model: str) -> _Work:
    """Once per process, which Spark keeps for further tasks."""
    read = Order.from_json(Path(order).read_text(encoding="utf-8"))
    loaded = OnnxModel.from_description(Path(model).read_bytes(), read.model, options=read.runtime)
    return _Work(read, loaded.scorer(read.binding, read.outputs, nulls=read.nulls))


def _scored(work: _Work, number: int) -> Written:
    order = work.order
    parts = order.plan.open()
    columns = [*order.marks, *order.binding.columns]
    read = parts.read(order.plan.parts[number], columns, order.runtime.batch_rows)
    first = next(read, None)
    name = f"part-{number:06}-{uuid.uuid4().hex}"
    if first is None:
        raise DataError(f"part {number} holds no rows, though the plan names {order.plan.parts[number]}")
    marks = [first.schema.field(mark) for mark in order.marks]
    schema = pa.schema([*marks, *(pa.field(output.name, output.arrow) for output in order.outputs)])

    def scored() -> Iterator[pa.RecordBatch]:
        batch: pa.RecordBatch | None = first
        while batch is not None:
            outputs = work.scorer(_filled(batch, order))
            passing = [batch.column(mark) for mark in order.marks]
            # NaN and infinities as NULL, as every landing has them.
            yield pa.RecordBatch.from_arrays([*passing, *map(finite_or_null, outputs)], schema=schema)
            batch = next(read, None)

    return parts.write(name, schema, scored())


def _filled(batch: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """The features, with anything in the place of a NULL whose row is refused later, all of them counted."""
    arrays = []
    names = list(order.binding.columns)
    for name in names:
        column = batch.column(name)
        if name in order.never_missing and (column.null_count or pa.types.is_floating(column.type)):
            column = pc.if_else(pc.is_null(column, nan_is_null=True), _anything(column.type), column)
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _anything(kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_boolean(kind):
        return pa.scalar(value=False, type=kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.scalar("", kind)
    return pa.scalar(0, kind)
