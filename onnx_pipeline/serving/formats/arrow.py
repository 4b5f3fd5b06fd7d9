"""An Arrow IPC stream of features → an Arrow IPC stream of predictions, batch for batch."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.arrow import mask, to_numpy
from onnx_pipeline.base.inference_protocol import ARROW_STREAM
from onnx_pipeline.base.types import can_feed, column_type_of_onnx
from onnx_pipeline.models.null_policy import null_count
from onnx_pipeline.models.outputs import unpack
from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.cells import missing_value
from onnx_pipeline.serving.formats.columns import matched
from onnx_pipeline.serving.formats.ipc import batches
from onnx_pipeline.serving.formats.predictions import scored
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["answer"]


def answer(asked: Asked) -> Answer:
    """A stream for a stream."""
    served, size = asked.served, asked.served.batch_rows
    sink = pa.BufferOutputStream()
    rows = 0
    with pa.ipc.new_stream(sink, served.answer_schema) as writer:
        for batch in _features(asked):
            for start in range(0, batch.num_rows, size):
                arrays = _scored(asked, batch.slice(start, size), rows)
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=served.answer_schema))
                rows += len(arrays[0])
    return Answer(sink.getvalue().to_pybytes(), ARROW_STREAM, rows)


def _scored(asked: Asked, part: pa.RecordBatch, before: int) -> list[pa.Array]:
    served = asked.served
    answers = scored(asked, served.packer(part), part.num_rows, before)
    return unpack(list(answers), list(answers.values()), part.num_rows, served.outputs)


def _features(asked: Asked) -> Iterator[pa.RecordBatch]:
    """Each batch with exactly the model's columns, in its order and dtypes."""
    served, rows, names = asked.served, 0, None
    for batch in batches(asked.body):
        if names is None:
            names = matched(asked, batch.schema.names)
        arrays = [
            _fitting(batch.column(batch.schema.get_field_index(given)), name, served, rows, accept_nan=asked.accept_nan)
            for name, given in zip(served.columns, names, strict=True)
        ]
        rows += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, names=list(served.columns))


def _fitting(array: pa.Array, column: str, served: ServedModel, first: int, *, accept_nan: bool) -> pa.Array:
    dtype = served.dtypes[column]
    target = column_type_of_onnx(dtype, tensor=column).arrow
    if array.type != target and not pa.types.is_dictionary(array.type):
        array = _cast(array, column, dtype, target, first)
    elif not can_feed(array.type, dtype):
        raise _misfit(array.type, column, dtype)
    if null_count(array):
        _check_nulls(array, column, served, first, accept_nan=accept_nan)
    return array


def _misfit(found: pa.DataType, column: str, dtype: str) -> Refusal:
    return Refusal(400, "type_misfit", f"column {column!r} is {found}, and the model takes {dtype}", column=column)


def _cast(array: pa.Array, column: str, dtype: str, target: pa.DataType, first: int) -> pa.Array:
    """The column in the model's type, where every value stays what it is."""
    if pa.types.is_null(array.type):
        return array.cast(target)
    if not can_feed(array.type, dtype):
        raise _misfit(array.type, column, dtype)
    source = pa.uint8() if pa.types.is_boolean(array.type) else array.type
    values = array.cast(source)
    made = values.cast(target, safe=False) if not pa.types.is_decimal(source) else _from_decimal(values, target)
    back = pc.equal(made.cast(source, safe=False), values)
    if pa.types.is_floating(source):
        back = pc.or_(back, pc.and_(pc.is_nan(made), pc.is_nan(values)))
    if pc.all(back).as_py() is False:
        row = int(np.argmin(to_numpy(back.fill_null(True)))) + first
        raise Refusal(
            400, "cast_loses", f"row {row}, column {column!r}: the value is no {dtype} without loss, and the column is "
            f"{array.type}; cast it to {target} before sending", column=column, row=row,
        )  # fmt: skip
    return made


def _from_decimal(values: pa.Array, target: pa.DataType) -> pa.Array:
    return values.cast(pa.float64()).cast(target, safe=False)


def _check_nulls(array: pa.Array, column: str, served: ServedModel, first: int, *, accept_nan: bool) -> None:
    dtype = served.dtypes[column]
    floating = pa.types.is_floating(column_type_of_onnx(dtype, tensor=column).arrow)
    if floating and (accept_nan or column not in served.unsafe):
        return
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    row = int(np.argmax(mask(array))) + first
    if floating:
        raise missing_value(column, row)
    raise Refusal(
        400, "value_misfit", f"row {row}, column {column!r} is NULL, and {dtype} has no form for a missing value; send "
        "a value", column=column, row=row,
    )  # fmt: skip
