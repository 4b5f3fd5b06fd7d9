"""PREDICT of an imitated Synapse pool: ONNX Runtime over the rows of a table, and the refusals that are known of it.

It is stricter than what is documented: a NULL, a letter beyond ASCII, NaN and infinities are refused, since nobody says
what becomes of them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnxruntime as ort
import pyarrow as pa

_PREDICT = re.compile(
    r"PREDICT\(MODEL = (?P<model>0x[0-9a-f]+|\(SELECT .*?\)), DATA = (?P<data>(?:\[\w+\]\.)?\[\w+\]) AS \[d\], "
    r"RUNTIME = ONNX\) WITH \((?P<columns>[^()]*(?:\(\d+\)[^()]*)*)\) AS \[p\]",
    re.DOTALL,
)
_CTE = re.compile(r"WITH \[(\w+)\] AS \((SELECT .*?)\)\n(?=SELECT)", re.DOTALL)
_SQL = {
    "tensor(float)": ("REAL", pa.float32()), "tensor(double)": ("FLOAT(53)", pa.float64()),
    "tensor(int64)": ("BIGINT", pa.int64()), "tensor(int32)": ("INTEGER", pa.int32()),
    "tensor(string)": ("VARCHAR(8000)", pa.string()),
}  # fmt: skip
_NUMPY = {
    pa.float32(): np.float32, pa.float64(): np.float64, pa.int64(): np.int64, pa.int32(): np.int32, pa.string(): object,
}  # fmt: skip


class PredictError(Exception):
    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True)
class Asked:
    """A statement taken apart."""

    model: str
    """A SELECT that gives the model."""
    data: str
    """A SELECT of the rows."""
    columns: dict[str, str]
    """WITH: names and types."""
    rest: str
    """The statement over the tables `predict_d` and `predict_p` instead."""


def asked(statement: str, *, switched_on: bool) -> Asked:
    if not switched_on:
        # As users met it: https://github.com/microsoft/MCW-Azure-Synapse-Analytics-and-AI/issues/8
        raise PredictError("Parse error at line: 1, column: 14: Incorrect syntax near 'MODEL'.", 103010)
    found = _PREDICT.search(statement)
    assert found is not None, statement
    cte = _CTE.match(statement)
    # On Synapse nothing but a SELECT follows a CTE, and DATA takes no SELECT.
    assert cte is None or statement[cte.end() :].startswith("SELECT")
    data = cte[2] if cte is not None and found["data"] == f"[{cte[1]}]" else f"SELECT * FROM {found['data']}"
    model = found["model"]
    columns = dict(re.findall(r"\[(\w+)\] ([A-Z]+(?:\(\d+\))?)", found["columns"]))
    tables = "[predict_d] AS [d] JOIN [predict_p] AS [p] ON [d].[row of predict] = [p].[row of predict]"
    rest = statement[: found.start()] + tables + statement[found.end() :]
    return Asked(
        f"SELECT {model} AS model" if model.startswith("0x") else model[1:-1],
        data,
        columns,
        rest if cte is None else rest[cte.end() :],
    )


@lru_cache(maxsize=8)
def _session(model: bytes) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _corrupt() from error


def _corrupt() -> PredictError:
    # https://learn.microsoft.com/sql/machine-learning/predictions/native-scoring-predict-transact-sql
    return PredictError(
        "Error occurred during execution of the builtin function 'PREDICT'. Model is corrupt or invalid."
    )


def _engine(text: str) -> PredictError:
    return PredictError(f"Message(s) from 'PREDICT' engine: {text}")


def answer(asked_for: Asked, model: pa.Table, data: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows of DATA, and what the model makes of them, both numbered."""
    if model.num_rows != 1:
        raise _corrupt()
    session = _session(_bytes(model.column(0)[0].as_py()))
    given = {name.casefold(): data.column(name) for name in data.column_names}
    feeds = {}
    for place, tensor in enumerate(session.get_inputs(), 1):
        shape = [1 if not isinstance(size, int) else size for size in tensor.shape]
        if shape != [1, 1]:
            # https://github.com/solliancenet/azure-synapse-analytics-day/issues/28
            raise _engine(
                f"Input column {place} (1-based) has shape {str(shape).replace(' ', '')} which is not supported."
            )
        sql, arrow = _SQL[tensor.type]
        column = given.get(tensor.name.casefold())
        if column is None or column.type != arrow:
            # https://github.com/microsoft/MCW-Azure-Synapse-Analytics-and-AI/issues/19
            raise _engine(
                f"The type of model column '{tensor.name}' is '{sql.lower()}'. Doesn't match the input column type."
            )
        assert column.null_count == 0, f"a NULL reaches PREDICT in {tensor.name}"
        feeds[tensor.name] = column
        if arrow == pa.string():
            assert all(value.isascii() for value in column.to_pylist())
    outputs = {tensor.name: _SQL[tensor.type] for tensor in session.get_outputs()}
    if asked_for.columns != {name: sql for name, (sql, _) in outputs.items()}:
        raise PredictError(
            "Execution failed because its WITH clause specified different output columns from what 'PREDICT' function "
            f"tries to return. The schema returned by 'PREDICT' function is '{outputs}'.",
            39096,
        )
    rows = range(data.num_rows)
    values = {name: column.to_numpy(zero_copy_only=False) for name, column in _combined(feeds).items()}
    made: dict[str, list[object]] = {name: [] for name in outputs}
    for row in rows:
        tensors = {name: np.array([[column[row]]], _NUMPY[feeds[name].type]) for name, column in values.items()}
        for name, found in zip(outputs, session.run(list(outputs), tensors), strict=True):
            assert found.shape == (1, 1)
            value = found.item()
            assert not isinstance(value, float) or np.isfinite(value), f"{name} of row {row} is {value}"
            made[name].append(value)
    number = pa.array(rows, pa.int64())
    predicted = {name: pa.array(made[name], outputs[name][1]) for name in outputs}
    return data.append_column("row of predict", number), pa.table({**predicted, "row of predict": number})


def _combined(feeds: dict[str, pa.ChunkedArray]) -> dict[str, pa.Array]:
    return {name: column.combine_chunks() for name, column in feeds.items()}


def _bytes(value: object) -> bytes:
    """A literal of T-SQL is one of DuckDB's by another spelling."""
    if isinstance(value, bytes):
        return value
    text = str(value)
    return bytes.fromhex(text.removeprefix("0x"))
