"""An Arrow IPC stream of features → an Arrow IPC stream of predictions, batch for batch."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.arrow import mask
from onnx_pipeline.base.errors import FeatureValueError
from onnx_pipeline.base.inference_protocol import ARROW_STREAM
from onnx_pipeline.base.rules import MISSING, is_float
from onnx_pipeline.base.types import can_feed
from onnx_pipeline.models.fitting import fit, is_all_null, missing_count, nan_as_null
from onnx_pipeline.models.outputs import unpack
from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.cells import missing_value, value_misfit
from onnx_pipeline.serving.formats.columns import matched
from onnx_pipeline.serving.formats.ipc import batches
from onnx_pipeline.serving.formats.predictions import scored
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["answer"]


def answer(asked: Asked) -> Answer:
    """A stream for a stream."""
    served, size = asked.served, asked.served.options.batch_rows
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
    """Each batch with the columns that the model reads, in its order and dtypes."""
    served, rows = asked.served, 0
    places: dict[str, int] = {}

    def taken(schema: pa.Schema) -> int:
        for name, given in zip(served.columns, matched(asked, schema.names), strict=True):
            place = schema.get_field_index(given)
            if not _is_left_out(schema.types[place], name, served):
                places[name] = place
        return len(places)

    for batch in batches(asked.body, taken):
        arrays = {
            name: _fitting(batch.column(place), name, served, rows, accept_nan=asked.accept_nan)
            for name, place in places.items()
        }
        rows += batch.num_rows
        yield pa.RecordBatch.from_arrays([arrays[name] for name in served.read], names=list(served.read))


def _is_left_out(arrow: pa.DataType, column: str, served: ServedModel) -> bool:
    """Whether a column was sent without values, and needs none: it moves no prediction."""
    return bool(pa.types.is_null(arrow)) and column in served.unread


def _fitting(array: pa.Array, column: str, served: ServedModel, first: int, *, accept_nan: bool) -> pa.Array:
    dtype = served.dtypes[column]
    if not can_feed(array.type, dtype) and not is_all_null(array.type):
        raise Refusal(
            400, "type_misfit", f"column {column!r} is {array.type}, and the model takes {dtype}", column=column
        )
    takes_missing = is_float(dtype) and column not in served.refused_missing(accept_nan=accept_nan)
    if not pa.types.is_dictionary(array.type) or dtype != "string":
        try:
            array = fit(array, column, dtype)
        except FeatureValueError as error:
            raise value_misfit(column, error.row + first, error.reason) from None
    # To look for NaN takes a pass over the values.
    if takes_missing:
        return array
    array = nan_as_null(array)
    if missing_count(array):
        raise _missing(array, column, served, first)
    return array


def _missing(array: pa.Array, column: str, served: ServedModel, first: int) -> Refusal:
    dtype = served.dtypes[column]
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    row = int(np.argmax(mask(array))) + first
    if is_float(dtype):
        return missing_value(column, row, served)
    return value_misfit(column, row, f"is {MISSING}, and {dtype} has no form for a missing value; send a value")
