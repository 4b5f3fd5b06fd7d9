"""From the model's output tensors to the target's columns."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.arrow import from_numpy
from onnx_pipeline.base.errors import DataError, SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.signature import OutputSignature, Signature

__all__ = ["OutputColumn", "column_values", "output_columns", "unpack"]

_CLASS = re.compile(r"(?P<output>.+)\[(?P<label>.*)\]", re.DOTALL)


@dataclass(frozen=True)
class OutputColumn:
    """One column of the target."""

    name: str
    output: str
    """The model output that it comes from."""
    index: int | None
    """Which column of an `[N, K]` output; None where the output is one column."""
    arrow: pa.DataType


def output_columns(signature: Signature, outputs: Mapping[str, str] | None = None) -> tuple[OutputColumn, ...]:
    """The target's prediction columns, in the order of `outputs`, by default in the model's.

    `outputs` maps target column to model output. An `[N, K]` output gives `<name>_<class>`, or `<name>_0` to
    `<name>_<K-1>` where the model names no classes. `output[class]` is one of its classes alone.

    Raises SignatureError for an output that the model does not have, an unknown K, and names that come out
    twice.
    """
    known = {output.name: output for output in signature.outputs}
    chosen = {name: name for name in known} if outputs is None else dict(outputs)
    for name, why in signature.formless:
        if outputs is None or name in outputs.values():
            rest = ", ".join(f"{each}: {each}" for each in known)
            raise SignatureError(f"{why}; or leave it out by outputs: {{{rest}}}")
    if not chosen:
        raise SignatureError("outputs is empty, so nothing would be written; leave it out to write every output")
    for target, output in chosen.items():
        if output not in known and _one_class(output, known) is None:
            raise SignatureError(
                f"outputs reads {output!r} into {target!r}, but the model has no such output"
                f"{close_matches(output, known)} Its outputs: {', '.join(known)}. "
                "Write outputs: {target column: model output}"
            )
    columns = tuple(column for target, name in chosen.items() for column in _named(target, name, known))
    # Without regard to case: that is how the databases compare column names.
    for folded, count in Counter(column.name.casefold() for column in columns).items():
        if count > 1:
            clashing = [column for column in columns if column.name.casefold() == folded]
            origins = ", ".join(column.output for column in clashing)
            raise SignatureError(
                f"{count} predictions would be named {folded!r} (from {origins}); give them names of their own by "
                f"{_remedy(clashing, known)}"
            )
    return columns


def _remedy(clashing: Sequence[OutputColumn], known: Mapping[str, OutputSignature]) -> str:
    """What to write in `outputs`; of one output's classes, that is each by itself."""
    labels = known[clashing[0].output].labels
    if labels is None or len({column.output for column in clashing}) > 1:
        return "outputs: {target column: model output}"
    each = (f"<column>: '{column.output}[{labels[column.index or 0]}]'" for column in clashing)
    return f"naming classes one by one, outputs: {{{', '.join(each)}}}, with all that you want to keep"


def _one_class(text: str, known: Mapping[str, OutputSignature]) -> OutputColumn | None:
    """The column of `output[class]`; None where no output has such a class."""
    found = _CLASS.fullmatch(text)
    output = known.get(found["output"]) if found is not None else None
    if found is None or output is None or output.labels is None or found["label"] not in output.labels:
        return None
    return OutputColumn(text, output.name, output.labels.index(found["label"]), _arrow(output))


def _named(target: str, name: str, known: Mapping[str, OutputSignature]) -> list[OutputColumn]:
    if name in known:
        return _expand(target, known[name])
    column = _one_class(name, known)
    return [] if column is None else [replace(column, name=target)]


def _arrow(output: OutputSignature) -> pa.DataType:
    return pa.float32() if output.dtype == "float16" else column_type_of_onnx(output.dtype, tensor=output.name).arrow


def _expand(target: str, output: OutputSignature) -> list[OutputColumn]:
    arrow = _arrow(output)
    if output.width == 1:
        return [OutputColumn(target, output.name, None if len(output.shape) == 1 else 0, arrow)]
    if output.width is None:
        raise SignatureError(
            f"output {output} does not say how many columns it has, so no table can be made for it; leave it "
            "out of `outputs`, or export the model with that dimension fixed"
        )
    suffixes = output.labels or tuple(str(index) for index in range(output.width))
    return [OutputColumn(f"{target}_{suffix}", output.name, index, arrow) for index, suffix in enumerate(suffixes)]


def unpack(
    outputs: Sequence[str], values: Sequence[np.ndarray[Any, Any]], rows: int, columns: Sequence[OutputColumn]
) -> list[pa.Array]:
    """Arrow arrays of `rows` values, one per column, from the tensors of the named outputs.

    float16 becomes float32, which every pool has. NaN stays NaN. Raises DataError for a tensor that does not
    hold one row per input row.
    """
    tensors = dict(zip(outputs, values, strict=True))
    return [_array(column_values(tensors[column.output], rows, column), column) for column in columns]


def column_values(tensor: np.ndarray[Any, Any], rows: int, column: OutputColumn) -> np.ndarray[Any, Any]:
    """`[rows]` values of a column, from the tensor of its output; float16 becomes float32. Raises as `unpack` does."""
    if tensor.shape[:1] != (rows,) or tensor.ndim > 2 or (column.index is None and tensor.size != rows):
        raise DataError(
            f"output {column.output!r} has the shape {list(tensor.shape)} for {rows} rows, so its values "
            "belong to no row; leave it out of `outputs`"
        )
    values = tensor[:, column.index] if column.index is not None and tensor.ndim == 2 else tensor.reshape(rows)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _array(values: np.ndarray[Any, Any], column: OutputColumn) -> pa.Array:
    if values.dtype == object:
        return pa.array(values.tolist(), type=column.arrow)
    return from_numpy(values).cast(column.arrow)
