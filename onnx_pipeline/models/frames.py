"""Scoring what a notebook holds: pandas or Arrow in, the same kind out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import pyarrow as pa

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.fitting import check_type, missing_count
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn, output_columns
from onnx_pipeline.models.pandas_columns import as_arrow, by_name, column_names
from onnx_pipeline.models.signature import Signature

__all__ = ["score_frame"]

FrameT = TypeVar("FrameT")


class _Model(Protocol):
    """What scoring a frame asks of an `OnnxModel`."""

    @property
    def signature(self) -> Signature: ...

    def bind(
        self, features: Mapping[str, str | Sequence[str]] | Sequence[str] | None, *, available: Sequence[str] | None
    ) -> Binding: ...

    def check_nulls(
        self,
        binding: Binding,
        null_counts: Mapping[str, int],
        nulls: Mapping[str, StandIn] | None,
        outputs: Sequence[OutputColumn] | None,
    ) -> None: ...

    def null_columns(
        self, binding: Binding, nulls: Mapping[str, StandIn] | None, outputs: Sequence[OutputColumn] | None
    ) -> Sequence[str]: ...

    def stream(
        self,
        batches: Iterable[pa.RecordBatch],
        binding: Binding,
        columns: Sequence[OutputColumn] | None,
        nulls: Mapping[str, StandIn] | None,
    ) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]: ...


def score_frame(
    model: _Model,
    frame: FrameT,
    *,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    nulls: Mapping[str, StandIn] | None = None,
    key: Sequence[str] = (),
) -> FrameT:
    """Does what `OnnxModel.score` says."""
    if isinstance(frame, pa.Table):
        return cast("FrameT", _score_table(model, frame, features, outputs, nulls, key))
    if isinstance(frame, pa.RecordBatch):
        table = _score_table(model, pa.Table.from_batches([frame]), features, outputs, nulls, key)
        batches = table.combine_chunks().to_batches()
        return cast("FrameT", batches[0] if batches else _empty(table.schema))
    return cast("FrameT", _score_pandas(model, frame, features, outputs, nulls, key))


def _score_pandas(model: _Model, frame: Any, features: Any, outputs: Any, nulls: Any, key: Sequence[str]) -> Any:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise SignatureError(
            f"score takes a pandas DataFrame, a pyarrow Table or a pyarrow RecordBatch, not a "
            f"{type(frame).__module__}.{type(frame).__qualname__}; a matrix becomes a frame by "
            "pandas.DataFrame(matrix, columns=[...]), a Series by to_frame(), a polars frame a Table by to_arrow()"
        )
    names = column_names(frame)
    features, chosen = by_name(features), by_name(key)
    nulls = {by_name(name): value for name, value in (nulls or {}).items()}
    binding = model.bind(features, available=names)
    _check_key(chosen, names)
    table = as_arrow(frame, names, list(binding.columns))
    scored = _score_table(model, table, features, outputs, nulls, ())
    columns = {name: column.to_numpy() for name, column in zip(scored.column_names, scored.columns, strict=True)}
    _check_distinct([*chosen, *columns])
    predictions = pd.DataFrame(columns, index=frame.index)
    kept = frame.iloc[:, [names.index(name) for name in chosen]]
    return pd.concat([kept, predictions], axis=1) if chosen else predictions


def _score_table(
    model: _Model,
    table: pa.Table,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    outputs: Mapping[str, str] | None,
    nulls: Mapping[str, StandIn] | None,
    key: Sequence[str],
) -> pa.Table:
    binding = model.bind(features, available=table.column_names)
    columns = output_columns(model.signature, outputs)
    _check_key(key, table.column_names)
    _check_distinct([*key, *(column.name for column in columns)])
    read = table.select(list(binding.columns))
    for name, dtype in binding.columns.items():
        check_type(read.schema.field(name).type, name, dtype)
    counts = {name: missing_count(read.column(name)) for name in model.null_columns(binding, nulls, columns)}
    model.check_nulls(binding, counts, nulls, columns)
    batches = read.to_batches() or [_empty(read.schema)]
    parts = [arrays for _, arrays in model.stream(batches, binding, columns, nulls)]
    arrays = {
        column.name: pa.chunked_array([part[index] for part in parts], type=column.arrow)
        for index, column in enumerate(columns)
    }
    return pa.table({name: table.column(name) for name in key} | arrays)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _check_key(key: Sequence[str], available: Sequence[str]) -> None:
    if isinstance(key, str):
        raise SignatureError(f"key is the text {key!r}; write a list of columns: key=[{key!r}]")
    for name in key:
        if list(available).count(name) > 1:
            raise SignatureError(
                f"key names the column {name!r}, which the data has more than once; rename one of them"
            )
        if name not in available:
            raise SignatureError(
                f"key names the column {name!r}, which the data does not "
                f"have{close_matches(name, available)} It has {', '.join(map(str, available))}"
            )


def _check_distinct(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SignatureError(
            f"the result would have two columns named {twice[0]!r}; rename the prediction by "
            "outputs={new name: model output}"
        )
