"""A Spark DataFrame scored: its rows stay on the cluster, and tasks run this package's own scoring code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.cluster.frames import scored_frame
from onnx_pipeline.models.onnx_model import OnnxModel

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["MODEL", "score"]

MODEL = "onnx_pipeline.model_sha256"
"""What each column of predictions says of itself in its metadata: `load` asks by which model it was made."""


def score(
    frame: "DataFrame",
    model: str | Path | OnnxModel,
    *,
    key: Sequence[str] = (),
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    nulls: Mapping[str, Any] | None = None,
) -> "DataFrame":
    """A DataFrame of the `key` columns and one column per prediction: lazy, as every DataFrame is.

    `model` is a path, a URI or what `publish` returned. `features`, `outputs` and `nulls` mean what they mean in a
    defs.yaml, and columns are cast as they are there. Model and package travel to the executors once.

    Raises SignatureError here for columns that are missing or cannot feed the model. A value that the model refuses, a
    NULL among them, fails the job that computes the DataFrame, and its message names column and value.
    """
    from pyspark.sql import types
    from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema

    loaded = model if isinstance(model, OnnxModel) else OnnxModel.load(model)
    how: dict[str, Any] = {"features": features, "outputs": outputs, "nulls": nulls, "key": list(key)}
    schema = to_arrow_schema(frame.schema)
    # Of no rows: whatever does not fit is found before a job begins.
    made = loaded.score(pa.RecordBatch.from_arrays([pa.nulls(0, each.type) for each in schema], schema=schema), **how)
    twice = [name for name in frame.columns if frame.columns.count(name) > 1]
    if twice:
        raise SignatureError(f"the DataFrame has more than one column {twice[0]!r}; rename or drop one of them")
    by = {MODEL: loaded.sha256}
    outputs_made = list(made.schema)[len(key) :]
    fields = [
        *(frame.schema[name] for name in key),
        *(types.StructField(one.name, from_arrow_type(one.type), nullable=True, metadata=by) for one in outputs_made),
    ]
    read = [*key, *(name for name in loaded.bind(features, available=frame.columns).columns if name not in key)]
    chosen = frame.select([frame[f"`{name.replace('`', '``')}`"] for name in read])
    return scored_frame(chosen, loaded.describe(), loaded.normalised, how, types.StructType(fields))
