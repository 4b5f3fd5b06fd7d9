"""The columns of a pandas DataFrame, by name and as Arrow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.errors import FeatureValueError, SignatureError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_arrow", "by_name", "column_names"]

_SHOWN = 5


def column_names(frame: "pd.DataFrame") -> list[str]:
    """The names of the columns, in order: labels that are no text, such as the numbers of a matrix, as text.

    Raises SignatureError for labels of several levels.
    """
    if frame.columns.nlevels > 1:
        raise SignatureError(
            f"the DataFrame's columns have labels of {frame.columns.nlevels} levels, such as {frame.columns[0]!r}, and "
            "a model reads columns of one name; join them: "
            "frame.columns = ['_'.join(map(str, label)) for label in frame.columns]"
        )
    return [str(label) for label in frame.columns]


def by_name(labels: Any) -> Any:
    """What `features` or `key` say, with labels that are whole numbers as `column_names` gives them."""
    if isinstance(labels, Mapping):
        return {by_name(name): by_name(label) for name, label in labels.items()}
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        return [by_name(label) for label in labels]
    return str(labels) if isinstance(labels, int | np.integer) else labels


def as_arrow(frame: "pd.DataFrame", names: Sequence[str], wanted: Sequence[str]) -> pa.Table:
    """The wanted columns alone: others may hold what Arrow has no type for. NaN and None are NULL.

    Raises SignatureError, naming the column, for values that have no common type, FeatureValueError for one beyond
    the doubles.
    """
    places = {name: place for place, name in enumerate(names)}
    return pa.table({name: _column(frame.iloc[:, places[name]], name) for name in wanted})


def _column(values: "pd.Series[Any]", name: str) -> pa.Array | pa.ChunkedArray:
    import pandas as pd

    if isinstance(values.dtype, pd.SparseDtype):
        values = values.astype(values.dtype.subtype)
    if values.dtype == np.longdouble and values.dtype != np.float64:
        values = _doubles(values, name)
    elif isinstance(values.dtype, np.dtype) and not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))  # as files of other machines give it
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SignatureError(f"column {name!r} {_trouble(values)}") from error


def _doubles(values: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    """No model and no pool has more digits. Raises FeatureValueError for a value beyond the doubles."""
    with np.errstate(over="ignore"):
        made = values.astype(np.float64)
    beyond = np.isinf(made.to_numpy()) & np.isfinite(values.to_numpy())
    if beyond.any():
        row = int(np.argmax(beyond))
        raise FeatureValueError(
            name, row, f"is {values.iloc[row]!s}, out of the range of float64, which ends at {np.finfo(np.float64).max}"
        )
    return made


def _trouble(values: "pd.Series[Any]") -> str:
    if values.dtype != object:
        return f"has the dtype {values.dtype}, which no model reads; give its parts as columns, or cast it by astype"
    kinds = list(dict.fromkeys(type(value).__name__ for value in values.dropna()))
    held = " and ".join([*kinds[:_SHOWN], *(["others"] if len(kinds) > _SHOWN else [])])
    if kinds == ["str"]:
        return "holds text that is no Unicode, such as a lone surrogate; mend where it was read, by the file's encoding"
    if kinds == ["int"]:
        return f"holds integers beyond 64 bits, such as {max(values.dropna(), key=abs)}; cast it by astype(float)"
    return (
        f"holds values of the type {held} in a column of dtype object, which have no form as one column; give it one "
        "type, e.g. by pandas.to_numeric or astype(str)"
    )
