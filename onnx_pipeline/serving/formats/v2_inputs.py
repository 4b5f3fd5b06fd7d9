"""The inputs of an inference request: the model's own tensors, or one input per column."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_pipeline.base.arrow import from_numpy, mask, to_numpy
from onnx_pipeline.base.errors import FeatureValueError
from onnx_pipeline.base.inference_protocol import DATATYPES, ONNX_TYPES
from onnx_pipeline.base.rules import MISSING
from onnx_pipeline.base.types import can_feed, column_type_of_onnx
from onnx_pipeline.models.binding import InputBinding
from onnx_pipeline.models.fitting import fit
from onnx_pipeline.models.signature import TensorSignature
from onnx_pipeline.serving.formats.asked import Asked
from onnx_pipeline.serving.formats.cells import missing_value, value_misfit
from onnx_pipeline.serving.formats.v2_binary import from_binary
from onnx_pipeline.serving.formats.values import MisfitError, array_of, reason_against
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel, Tensors

__all__ = ["input_tensors"]

_RANKS = (1, 2)
_SHOWN = 20


def input_tensors(asked: Asked, inputs: Any, binary: memoryview) -> tuple[Tensors, int]:
    """The model's tensors, and how many rows they have. Raises Refusal, naming column and row where it can."""
    given = _by_name(inputs)
    served = asked.served
    names = [bound.tensor.name for bound in served.inputs]
    tensors, columns = set(names), set(served.columns)
    # An input of one column goes by the same name both ways; of the others, which there are says what is meant.
    by_column = not tensors <= given.keys() and (
        columns <= given.keys()
        or (given.keys().isdisjoint(tensors - columns) and not given.keys().isdisjoint(columns - tensors))
    )
    targets = _columns(served) if by_column else list(served.inputs)
    _check_names(list(given), [bound.tensor.name for bound in targets])
    blobs = _blobs(given, binary)
    made, rows = {}, None
    for bound in targets:
        tensor = _tensor(asked, bound, given[bound.tensor.name], blobs.get(bound.tensor.name))
        if rows is not None and len(tensor) != rows:
            raise Refusal(
                400, "shape_misfit", f"input {bound.tensor.name!r} has {len(tensor)} rows, and another one has {rows}",
                column=bound.tensor.name,
            )  # fmt: skip
        rows = len(tensor)
        made[bound.tensor.name] = tensor
    return (_assembled(served, made) if by_column else made), rows or 0


def _check_names(given: list[str], known: list[str]) -> None:
    """Raises Refusal, naming them, for inputs that are missing and for inputs that are not the model's."""
    missing = [name for name in known if name not in set(given)]
    others = [name for name in given if name not in set(known)]
    if not missing and not others:
        return
    said = [
        f"{_listed(names)} {state}" for names, state in ((missing, "missing"), (others, "not the model's")) if names
    ]
    raise Refusal(
        400, "input_unknown", f"{', and '.join(said)}; it takes {', '.join(known)[:2000]}",
        column=missing[0] if missing else None,
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:128]) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"input {shown} is" if len(names) == 1 else f"inputs {shown}{more} are"


def _by_name(inputs: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(inputs, list) or not all(
        isinstance(tensor, dict) and isinstance(tensor.get("name"), str) for tensor in inputs
    ):
        raise Refusal(
            400, "shape_unknown", '"inputs" is a list of tensors: [{"name": ..., "shape": [...], "datatype": ..., '
            '"data": [...]}]',
        )  # fmt: skip
    named = {tensor["name"]: tensor for tensor in inputs}
    if len(named) < len(inputs):
        twice = next(name for name, count in Counter(tensor["name"] for tensor in inputs).items() if count > 1)
        raise Refusal(400, "input_twice", f"input {twice[:128]!r} is given twice; send it once")
    return named


def _columns(served: ServedModel) -> list[InputBinding]:
    return [InputBinding(TensorSignature(name, dtype, (None,)), (name,)) for name, dtype in served.dtypes.items()]


def _assembled(served: ServedModel, columns: Tensors) -> Tensors:
    """The model's tensors, from one array of `[rows]` per column."""
    feeds = {}
    for bound in served.inputs:
        matrix = np.column_stack(
            [_cast(columns[name], _column(bound, name), served.dtypes[name]) for name in bound.columns]
        )
        feeds[bound.tensor.name] = matrix[:, 0] if len(bound.tensor.shape) == 1 else matrix
    return feeds


def _column(bound: InputBinding, name: str) -> InputBinding:
    """One column of an input, as if it were an input."""
    return InputBinding(TensorSignature(name, bound.tensor.dtype, (None,)), (name,))


def _blobs(given: dict[str, dict[str, Any]], binary: memoryview) -> dict[str, memoryview]:
    """The binary data of each input that has some; it lies behind the JSON in the order of the inputs."""
    blobs, position = {}, 0
    for name, tensor in given.items():
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            continue
        if type(size) is not int or size < 0 or position + size > len(binary):
            raise Refusal(
                400, "binary_misfit", f"input {name[:128]!r} says that it has bytes behind the JSON which are not there"
            )
        blobs[name] = binary[position : position + size]
        position += size
    if position != len(binary):
        raise Refusal(400, "binary_misfit", f"{len(binary) - position} bytes behind the JSON belong to no input")
    return blobs


def _tensor(asked: Asked, bound: InputBinding, given: dict[str, Any], blob: memoryview | None) -> np.ndarray[Any, Any]:
    wanted = bound.tensor
    shape = _shape(bound, given.get("shape"))
    datatype = given.get("datatype")
    if not isinstance(datatype, str) or datatype not in ONNX_TYPES:
        raise _refused(wanted, "datatype_unknown", f"has no datatype of {', '.join(ONNX_TYPES)}")
    if blob is None:
        flat = _values(bound, given.get("data"), shape)
    else:
        flat = _cast(from_binary(blob, ONNX_TYPES[datatype], tensor=wanted.name), bound, ONNX_TYPES[datatype])
    if flat.size != shape[0] * shape[1]:
        raise _refused(wanted, "shape_misfit", f"has {flat.size} values for the shape {given.get('shape')}")
    _check_missing(asked, bound, flat)
    return flat if len(wanted.shape) == 1 else flat.reshape(shape)


def _refused(tensor: TensorSignature, code: str, reason: str) -> Refusal:
    return Refusal(400, code, f"input {tensor.name!r} {reason}", column=tensor.name)


def _shape(bound: InputBinding, shape: Any) -> tuple[int, int]:
    """Rows and columns."""
    if (
        not isinstance(shape, list)
        or len(shape) not in _RANKS
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise _refused(bound.tensor, "shape_misfit", 'has no "shape" of rows, or rows and columns')
    rows, width = (shape[0], 1) if len(shape) == 1 else shape
    if width != len(bound.columns):
        raise _refused(bound.tensor, "shape_misfit", f"has {width} columns, and the model takes {len(bound.columns)}")
    return rows, width


def _values(bound: InputBinding, data: Any, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    wanted = bound.tensor
    if not isinstance(data, list):
        raise _refused(wanted, "data_misfit", 'has no list "data"')
    flat: Sequence[Any] = data
    if data and isinstance(data[0], list):
        if not all(type(row) is list and len(row) == shape[1] for row in data):
            raise _refused(wanted, "shape_misfit", f"has nested data that are not rows of {shape[1]} values")
        flat = [value for row in data for value in row]
    try:
        with np.errstate(over="raise", under="ignore"):
            made = array_of(flat, wanted.dtype, tensor=wanted.name)
    except (MisfitError, FloatingPointError):
        for place, value in enumerate(flat):
            reason = reason_against(value, wanted.dtype)
            if reason is not None:
                row, column = place // shape[1], bound.columns[place % shape[1]]
                raise value_misfit(column, row, reason) from None
        raise _refused(wanted, "value_misfit", f"has a value that has no form in {wanted.dtype}") from None
    return made


def _check_missing(asked: Asked, bound: InputBinding, values: np.ndarray[Any, Any]) -> None:
    """Raises Refusal for NaN, which null became, in a column where it would mislead."""
    refused = asked.served.refused_missing(accept_nan=asked.accept_nan)
    unsafe = [place for place, column in enumerate(bound.columns) if column in refused]
    if not unsafe or values.dtype.kind != "f":
        return
    matrix = values.reshape(-1, len(bound.columns))
    for place in unsafe:
        missing = np.isnan(matrix[:, place])
        if missing.any():
            raise missing_value(bound.columns[place], int(np.argmax(missing)), asked.served)


def _cast(values: np.ndarray[Any, Any], bound: InputBinding, dtype: str) -> np.ndarray[Any, Any]:
    """The values in the model's dtype."""
    wanted = bound.tensor
    if dtype == wanted.dtype:
        return values
    width = len(bound.columns)
    if dtype == "string" or not can_feed(column_type_of_onnx(dtype, tensor=wanted.name).arrow, wanted.dtype):
        raise _refused(wanted, "type_misfit", f"is {DATATYPES[dtype]}, and the model takes {DATATYPES[wanted.dtype]}")
    try:
        made = fit(from_numpy(values), wanted.name, wanted.dtype)
    except FeatureValueError as error:
        row, place = divmod(error.row, width)
        raise value_misfit(bound.columns[place], row, error.reason) from None
    if made.null_count:
        row, place = divmod(int(np.argmax(mask(made))), width)
        raise value_misfit(
            bound.columns[place], row, f"is {MISSING}, and {wanted.dtype} has no form for a missing value; send a value"
        )
    return to_numpy(made)
