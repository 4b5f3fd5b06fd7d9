"""PREDICT with an ONNX model, as a Synapse dedicated SQL pool has it.

https://learn.microsoft.com/sql/t-sql/queries/predict-transact-sql
https://learn.microsoft.com/azure/synapse-analytics/sql-data-warehouse/sql-data-warehouse-predict
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from onnx_pipeline.base.errors import PoolError, PoolPausedError, first_line
from onnx_pipeline.pools.records import MODELS_TABLE
from onnx_pipeline.pools.tsql.dialect import DIALECT, literal, quoted
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["ONE_MORE", "QUESTION", "SQL_TYPES", "TEXT_LENGTH", "Predict", "refusal", "registered", "wrong"]

TEXT_LENGTH = 8000
"""Letters of a text: the longest VARCHAR that is no (max), which the columnstore of a SELECT INTO does not hold."""
SQL_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {
    "float": sa.REAL(), "double": sa.FLOAT(53), "int64": sa.BIGINT(), "int32": sa.INTEGER(),
    "string": sa.VARCHAR(TEXT_LENGTH),
}  # fmt: skip
"""By the dtype of a model's input or output, the one type that its column has: REAL is no FLOAT there.

"The type of model column 'f00' is 'real'. Doesn't match the input column type."
(https://github.com/microsoft/MCW-Azure-Synapse-Analytics-and-AI/issues/19), and the map that Microsoft's own tool goes by:
https://github.com/microsoft/azuredatastudio, extensions/machine-learning/src/modelManagement/modelPythonClient.ts
"""
ONE_MORE = bytes.fromhex(
    "08043a590a100a01780a036f6e65120179220341646412086f6e655f6d6f72652a1108010801100122040000803f42036f6e655a130a0178120e0a"
    "0c080112080a0208010a02080162130a0179120e0a0c080112080a0208010a02080142040a001009"
)
"""The model y = x + 1 of opset 9, both of float and `[1, 1]`."""
_PURPOSE = "asking for PREDICT"


class Predict(sa.FromClause):
    """The rows of a table, beside what a model makes of them. Columns: `of_data` and `of_model`."""

    inherit_cache = False
    named_with_column = False

    def __init__(self, model: str, data: str, outputs: Mapping[str, str]) -> None:
        """`model` is an expression, `data` a quoted table or CTE, `outputs` dtypes by name, all of the model's."""
        self.outputs = outputs
        types = DIALECT.type_compiler_instance
        columns = ", ".join(f"{quoted(name)} {types.process(SQL_TYPES[dtype])}" for name, dtype in outputs.items())
        self.text = f"PREDICT(MODEL = {model}, DATA = {data} AS [d], RUNTIME = ONNX) WITH ({columns}) AS [p]"

    @staticmethod
    def of_data(name: str) -> sa.ColumnElement[Any]:
        return sa.literal_column(quoted("d", name))

    def of_model(self, name: str) -> sa.ColumnElement[Any]:
        return sa.literal_column(quoted("p", name), SQL_TYPES[self.outputs[name]])


@compiles(Predict)
def _predict(element: Predict, _: SQLCompiler, **_options: Any) -> str:
    return element.text


# A CTE: DATA takes a table, a view or one of these.
_ASKED = Predict(literal(ONE_MORE), "[one]", {"y": "float"}).text
QUESTION = f"WITH [one] AS (SELECT CAST(41 AS REAL) AS [x])\nSELECT [p].[y] AS [y] FROM {_ASKED}"  # noqa: S608 - no values
"""Asks whether PREDICT answers, by `ONE_MORE` over a row that is no table's."""


def registered(model_id: int, sha256: str, form: str) -> str:
    """The expression that gives a registered model. Nothing guards an id on Synapse, so two models may have got one."""
    where = f"id = {literal(model_id)} AND sha256 = {literal(sha256)} AND form = {literal(form)}"
    return f"(SELECT TOP 1 model FROM {MODELS_TABLE} WHERE {where})"  # noqa: S608 - literals


def refusal(pool: MssqlPool) -> str | None:
    """Why the pool does not answer PREDICT; None where it does. Reads no table and writes nothing.

    Raises PoolError where the pool cannot be asked now.
    """

    def work(session: Session) -> str | None:
        try:
            answer = [tuple(row) for row in session.rows(QUESTION)]
        except PoolError as error:
            if error.transient or isinstance(error, PoolPausedError):
                raise
            return first_line(error).removeprefix(f"{pool.display_name}, {_PURPOSE}: ")
        return wrong(answer)

    found: str | None = pool.retried(_PURPOSE, work)
    return found


def wrong(answer: Sequence[tuple[Any, ...]]) -> str | None:
    """What is wrong with the answer to `QUESTION`; None where nothing is."""
    return None if list(answer) == [(42.0,)] else f"it answered {list(answer)} where 42 is right"
