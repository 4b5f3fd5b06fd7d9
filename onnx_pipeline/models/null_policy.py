"""What NULL means in a feature: NaN where the model takes it, a stand-in where one is named, or an error."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.errors import NullFeatureError, SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.facts import EVERY_COLUMN

__all__ = ["StandIn", "check_nulls", "null_count", "stand_ins", "unsafe_columns"]

StandIn: TypeAlias = float | int | str | bool

_FLOATS = frozenset({"float16", "float", "double"})


def stand_ins(binding: Binding, nulls: Mapping[str, StandIn] | None) -> dict[str, StandIn]:
    """The value for NULL of each source column that `nulls` names, in the column's dtype; `nan` becomes NaN.

    Raises SignatureError for a column that the model does not read, and for a value that its dtype cannot
    hold.
    """
    columns = binding.columns
    checked: dict[str, StandIn] = {}
    for column, value in (nulls or {}).items():
        if column not in columns:
            raise SignatureError(
                f"nulls names the column {column!r}, which the model does not "
                f"read{close_matches(column, columns)} It reads {', '.join(columns)}"
            )
        checked[column] = _in_dtype(column, value, columns[column])
    return checked


def null_count(column: pa.Array | pa.ChunkedArray) -> int:
    """NULLs in a column; in one that is dictionary-encoded, also those that its dictionary holds."""
    if pa.types.is_dictionary(column.type):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return sum(
            chunk.dictionary_decode().null_count if chunk.dictionary.null_count else chunk.null_count
            for chunk in chunks
        )
    return int(column.null_count)


def unsafe_columns(binding: Binding, unsafe: AbstractSet[tuple[str, int]]) -> tuple[str, ...]:
    """The source columns that a tree without missing-value tracking tests, by the model's `unsafe_nulls`."""
    reached = [
        column
        for bound in binding.inputs
        for index, column in enumerate(bound.columns)
        if (bound.tensor.name, index) in unsafe or (bound.tensor.name, EVERY_COLUMN) in unsafe
    ]
    return tuple(dict.fromkeys(reached))


def check_nulls(
    binding: Binding,
    null_counts: Mapping[str, int],
    nulls: Mapping[str, StandIn] | None,
    unsafe: AbstractSet[tuple[str, int]],
) -> None:
    """Raises NullFeatureError where a column has NULLs that the model cannot take and `nulls` does not name.

    `null_counts` holds the NULLs per source column; columns that it lacks have none. `unsafe` is the model's
    `unsafe_nulls`.
    """
    named = stand_ins(binding, nulls)
    open_counts = {
        column: null_counts[column]
        for column in binding.columns
        if null_counts.get(column, 0) > 0 and column not in named
    }
    formless = {column: dtype for column, dtype in binding.columns.items() if dtype not in _FLOATS}
    for column, dtype in formless.items():
        if column in open_counts:
            raise formless_null(column, dtype, open_counts[column])
    misled = [column for column in unsafe_columns(binding, unsafe) if column in open_counts]
    if misled:
        counted = ", ".join(f"{column} ({open_counts[column]} NULL)" for column in misled)
        example = ", ".join(f"{column}: nan" for column in misled)
        raise NullFeatureError(
            "a tree of the model tests columns with NULLs, and was exported without missing-value tracking: "
            f"{counted}. skl2onnx drops the routing that scikit-learn learned for missing values, so NaN "
            "takes another branch: with 10 % missing cells, 11 to 20 % of the answers silently differ from "
            f"scikit-learn's. Name what stands in for NULL, e.g. nulls: {{{misled[0]}: 0}}; or accept the "
            f"difference by nulls: {{{example}}}; or export a model that tracks missing values "
            "(HistGradientBoosting does) or imputes them"
        )


def formless_null(column: str, dtype: str, count: int) -> NullFeatureError:
    """The error for NULLs in a column whose dtype has no form for them."""
    example = {"string": "'unknown'", "bool": "false"}.get(dtype, "0")
    return NullFeatureError(
        f"column {column!r} has {count} NULL, and ONNX has no form for NULL in a tensor of {dtype}; name "
        f"what stands in for it, e.g. nulls: {{{column}: {example}}}, or filter such rows in the source query"
    )


def _in_dtype(column: str, value: StandIn, dtype: str) -> StandIn:
    refused = SignatureError(
        f"nulls puts {value!r} in place of NULL in column {column!r}, which the model reads as {dtype}; "
        f"write a value that a {dtype} can hold"
    )
    if dtype == "string":
        if isinstance(value, str):
            return value
        raise refused
    if dtype == "bool":
        if isinstance(value, bool):
            return value
        raise refused
    if isinstance(value, str) and value.strip().casefold() in {"nan", ".nan"}:
        value = math.nan
    if isinstance(value, str | bool):
        raise refused
    if dtype in _FLOATS:
        return float(value)
    kind = column_type_of_onnx(dtype, tensor=column).numpy
    bounds = np.iinfo(kind if kind is not None else np.int64)
    if not float(value).is_integer() or not bounds.min <= int(value) <= bounds.max:
        raise refused
    return int(value)
