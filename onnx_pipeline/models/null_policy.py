"""What NULL means in a feature: NaN where the model takes it, a stand-in where one is named, or an error.

NaN in a column of floats is NULL.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnx_pipeline.base.errors import NullFeatureError, SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.base.rules import MISSING
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.facts import EVERY_COLUMN

__all__ = [
    "Labelled",
    "StandIn",
    "check_nulls",
    "counted_columns",
    "formless_null",
    "guarded_columns",
    "stand_ins",
    "unsafe_columns",
]

StandIn: TypeAlias = float | int | str | bool

_FLOATS = frozenset({"float16", "float", "double"})


@dataclass(frozen=True)
class Labelled:
    """Which features make labels of NaN: no label says that something is missing."""

    places: AbstractSet[tuple[str, str, int]] = frozenset()
    """(output, input, column index), `EVERY_COLUMN` for all of an input's."""
    beside_floats: bool = False
    """Whether a prediction of floats is wanted too, which may show the NaN: only then may `nulls` say `nan`."""

    def columns(self, binding: Binding) -> dict[str, str]:
        """Source column → the output that it would mislead."""
        found: dict[str, str] = {}
        for output, name, index in sorted(self.places):
            for column in unsafe_columns(binding, {(name, index)}):
                found.setdefault(column, output)
        return found


_NO_LABELS = Labelled()


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


def unsafe_columns(binding: Binding, unsafe: AbstractSet[tuple[str, int]]) -> tuple[str, ...]:
    """The source columns of places such as a model's `unsafe_nulls`."""
    reached = [
        column
        for bound in binding.inputs
        for index, column in enumerate(bound.columns)
        if index not in bound.unread
        if (bound.tensor.name, index) in unsafe or (bound.tensor.name, EVERY_COLUMN) in unsafe
    ]
    return tuple(dict.fromkeys(reached))


def guarded_columns(
    binding: Binding,
    nulls: Mapping[str, StandIn] | None,
    unsafe: AbstractSet[tuple[str, int]],
    labelled: Labelled = _NO_LABELS,
) -> tuple[str, ...]:
    """Source columns of floats in which a NULL would be an error."""
    named = stand_ins(binding, nulls)
    misled = [column for column in unsafe_columns(binding, unsafe) if column not in named]
    labels = [column for column in labelled.columns(binding) if _is_open(column, named, labelled)]
    return tuple(dict.fromkeys([*misled, *labels]))


def counted_columns(
    binding: Binding,
    nulls: Mapping[str, StandIn] | None,
    unsafe: AbstractSet[tuple[str, int]],
    labelled: Labelled = _NO_LABELS,
) -> tuple[str, ...]:
    """Source columns whose NULLs `check_nulls` asks for: those of floats that `guarded_columns` has, and all others."""
    formless = (column for column, dtype in binding.columns.items() if dtype not in _FLOATS)
    return tuple(dict.fromkeys([*guarded_columns(binding, nulls, unsafe, labelled), *formless]))


def check_nulls(
    binding: Binding,
    null_counts: Mapping[str, int],
    nulls: Mapping[str, StandIn] | None,
    unsafe: AbstractSet[tuple[str, int]],
    labelled: Labelled = _NO_LABELS,
    producer: str = "",
) -> None:
    """Raises NullFeatureError where a column has NULL or NaN that the model cannot take and `nulls` does not name.

    `null_counts` holds the NULLs and NaNs per source column; columns that it lacks have none. `unsafe` is the
    model's `unsafe_nulls`, `producer` its exporter's name and version.
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
        counted = ", ".join(f"{column} ({open_counts[column]} {MISSING})" for column in misled)
        raise _untracked(misled, counted, producer)
    for column, output in labelled.columns(binding).items():
        if null_counts.get(column, 0) > 0 and _is_open(column, named, labelled):
            raise _labelled_null(column, output, null_counts[column], labelled)


def _is_open(column: str, named: Mapping[str, StandIn], labelled: Labelled) -> bool:
    """Whether NaN of the column would become a label without anybody having said so."""
    if column not in named:
        return True
    value = named[column]
    return isinstance(value, float) and math.isnan(value) and not labelled.beside_floats


def _labelled_null(column: str, output: str, count: int, labelled: Labelled) -> NullFeatureError:
    way_out = (
        f"or accept labels without meaning beside NaN by nulls: {{{column}: nan}}; or leave {output!r} out of `outputs`"
        if labelled.beside_floats
        else "`nan` cannot stand in here, because nothing would show such rows"
    )
    return NullFeatureError(
        f"column {column!r} has {count} {MISSING}, and nothing in the model handles a missing value on the way to its "
        f"output {output!r}, which has no form for NaN: such rows would get a label as if all were known, where "
        f"scikit-learn raises. Name what stands in for it, e.g. nulls: {{{column}: 0}}; filter such rows in the source "
        f"query; or export the model with an imputer; {way_out}"
    )


def _untracked(columns: Sequence[str], counted: str, producer: str) -> NullFeatureError:
    accepted = ", ".join(f"{column}: nan" for column in columns)
    found = (
        f"a tree of the model tests columns with {MISSING}, and was exported without missing-value tracking: "
        f"{counted}. "
    )
    ways = f"Name what stands in for NULL, e.g. nulls: {{{columns[0]}: 0}}; or accept "
    if producer.startswith("skl2onnx"):
        return NullFeatureError(
            f"{found}skl2onnx drops the routing that scikit-learn learned for missing values, so NaN takes another "
            "branch: with 10 % missing cells, 11 to 20 % of the answers silently differ from scikit-learn's. "
            f"{ways}the difference by nulls: {{{accepted}}}; or export a model that tracks missing values "
            "(HistGradientBoosting does) or imputes them"
        )
    return NullFeatureError(
        f"{found}So NaN fails every test, and of its exporter ({producer or 'the model names none'}) it is not known "
        f"whether the library does the same with missing values. {ways}NaN by nulls: {{{accepted}}}, once some rows "
        "with missing values have got the library's own answers; or export a model that tracks missing values"
    )


def formless_null(column: str, dtype: str, count: int) -> NullFeatureError:
    """The error for missing values in a column whose dtype has no form for them."""
    example = {"string": "'unknown'", "bool": "false"}.get(dtype, "0")
    return NullFeatureError(
        f"column {column!r} has {count} {MISSING}, and ONNX has no form for a missing value in a tensor of {dtype}; "
        f"name what stands in for it, e.g. nulls: {{{column}: {example}}}, or filter such rows in the source query"
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
