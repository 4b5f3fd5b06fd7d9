"""Compiled models against ONNX Runtime, the oracle: the same rows by both, compared cell by cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.engines.sql.compiler import CompiledModel, compile_model
from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.outputs import output_columns, unpack
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools.duckdb.dialect import DIALECT

Array = "np.ndarray[Any, Any]"


def read(data: bytes) -> OnnxModel:
    """A model of the tests' own, which needs no process of its own to be looked at in."""
    return OnnxModel.from_bytes(data, options=RuntimeOptions(trust_models=True))


def compiled(model: OnnxModel, columns: Sequence[str] | Mapping[str, Any] | None = None) -> CompiledModel:
    """The model over columns of these names."""
    return compile_model(model.normalised, model.bind(columns), output_columns(model.signature))


def by_duckdb(model: OnnxModel, rows: pa.Table, columns: Sequence[str] | Mapping[str, Any] | None = None) -> pa.Table:
    """The predictions of the compiled model, in the order of `rows`."""
    program = compiled(model, columns)
    numbered = rows.append_column("row", pa.array(range(rows.num_rows)))
    source = sa.table("source", *(sa.column(field.name, _type(field.type)) for field in numbered.schema))
    statement = select(program.outputs, source, DuckDBDialect(), keep=["row"])
    text = str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))
    with duckdb.connect() as connection:
        connection.register("source", numbered)
        found: pa.Table = connection.sql(text).arrow().read_all()
    return found.sort_by("row").drop(["row"])


def by_runtime(model: OnnxModel, feeds: Mapping[str, Any]) -> pa.Table:
    """The predictions of plain ONNX Runtime, as the target's columns."""
    columns = output_columns(model.signature)
    options = ort.SessionOptions()
    # Several threads add up the trees of an ensemble in another order.
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.normalised, options)
    names = list(dict.fromkeys(column.output for column in columns))
    values = session.run(names, dict(feeds))
    arrays = unpack(names, values, len(next(iter(feeds.values()))), columns)
    return pa.table(arrays, names=[column.name for column in columns])


def assert_same(found: pa.Table, wanted: pa.Table, *, relative: float = 1e-5, absolute: float = 1e-6) -> None:
    """Floats within the tolerance, NaN and infinity as NULL; everything else equal, and of the same type."""
    assert found.schema.names == wanted.schema.names
    for name in wanted.schema.names:
        assert found[name].type == wanted[name].type, (name, found[name].type, wanted[name].type)
        if not pa.types.is_floating(wanted[name].type):
            assert found[name].to_pylist() == wanted[name].to_pylist(), name
            continue
        a, b = (table[name].to_numpy(zero_copy_only=False).astype(np.float64) for table in (found, wanted))
        a, b = (np.where(np.isfinite(values), values, np.nan) for values in (a, b))
        np.testing.assert_allclose(a, b, rtol=relative, atol=absolute, err_msg=name)


def check(
    data: bytes, matrix: Any, columns: Sequence[str] | None = None, *, relative: float = 1e-5, absolute: float = 1e-6
) -> None:
    """A model with one `[N, F]` input gives the same answers by DuckDB as by ONNX Runtime."""
    model = read(data)
    (tensor,) = model.signature.inputs
    names = list(columns or (f"c{place}" for place in range(matrix.shape[1])))
    rows = pa.table({name: matrix[:, place] for place, name in enumerate(names)})
    found = by_duckdb(model, rows, names)
    assert_same(found, by_runtime(model, {tensor.name: matrix}), relative=relative, absolute=absolute)


def check_inputs(data: bytes, feeds: Mapping[str, Any], *, relative: float = 1e-5, absolute: float = 1e-6) -> None:
    """The same of a model with several inputs `[N, F]`, one of numbers and one of texts for instance."""
    model = read(data)
    columns = {name: [f"{name}_{place}" for place in range(values.shape[1])] for name, values in feeds.items()}
    rows = pa.table({
        column: pa.array(feeds[name][:, place], pa.string() if feeds[name].dtype == object else None)
        for name, held in columns.items()
        for place, column in enumerate(held)
    })  # fmt: skip
    found = by_duckdb(model, rows, columns)
    assert_same(found, by_runtime(model, feeds), relative=relative, absolute=absolute)


def _type(arrow: pa.DataType) -> "sa.types.TypeEngine[Any]":
    from onnx_pipeline.base.types import sqlalchemy_type

    return sqlalchemy_type(arrow, column="a column")
