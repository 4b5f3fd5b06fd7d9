"""What `sp_onnx_service_scoring` sends, as SQL Server's FOR JSON writes it: the service answers it as ONNX Runtime does."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlglot

from onnx_pipeline.base import paths
from onnx_pipeline.pools.scripts import statements_of
from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import Open, features_of, feeds_of, truth_of


def as_for_json(value: Any) -> str:
    """A value as T-SQL's FOR JSON writes it: FLOAT with 16 digits and an exponent of three.

    https://learn.microsoft.com/sql/relational-databases/json/how-for-json-converts-sql-server-data-types-to-json-data-types-sql-server
    """
    if isinstance(value, float):
        if np.isnan(value):
            return "null"
        digits, _, exponent = f"{value:.15e}".partition("e")
        return f"{digits}e{exponent[0]}{int(exponent[1:]):03d}"
    return json.dumps(value, ensure_ascii=False).replace("/", "\\/")


def for_json(table: pa.Table) -> str:
    rows = (
        ",".join(f"{json.dumps(name)}:{as_for_json(value)}" for name, value in row.items()) for row in table.to_pylist()
    )
    return "[" + ",".join(f"{{{row}}}" for row in rows) + "]"


@pytest.mark.parametrize("name", ["readmission", "length_of_stay"])
def test_the_service_takes_what_for_json_writes(open_service: Open, encounters: pa.Table, name: str) -> None:
    model = MODELS / f"{name}.onnx"
    features = features_of(model, encounters)
    payload = for_json(features)
    assert "e+001" in payload and "null" in payload
    # The headers that the server itself puts in, and that of the credential.
    sent = {
        "content-type": "application/json; charset=utf-8", "accept": "application/json",
        "user-agent": "SQL Azure/12.0.2000.8", "x-functions-key": "a-key",
    }  # fmt: skip
    service = open_service(MODELS, client="203.0.113.9", keys=frozenset({"a-key"}))
    answer = service.post(f"/models/{name}/score", content=payload.encode(), headers=sent)
    assert answer.status_code == 200, answer.text
    first, *_ = truth_of(model, feeds_of(model, features))
    found = [next(iter(row.values())) for row in answer.json()]
    # To the last bit: the 16 digits of a FLOAT give back the REAL that was cast to it.
    assert np.float32(found).tolist() == np.float32(np.ravel(first)).tolist()


def test_a_real_keeps_its_bits_as_a_float_and_not_as_a_real() -> None:
    values = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
    assert np.float32([float(as_for_json(float(value))) for value in values]).tolist() == values.tolist()
    # A REAL itself is written with 8 digits.
    assert np.float32([float(f"{value:.7e}") for value in values]).tolist() != values.tolist()


def test_the_procedure_reads_as_one_statement_of_t_sql() -> None:
    text = (paths.sql_folder() / "sqlserver/sp_onnx_service_scoring.sql").read_text(encoding="utf-8")
    (statement,) = statements_of(text)
    (tree,) = sqlglot.parse(statement, read="tsql")
    assert isinstance(tree, sqlglot.exp.Create) and tree.args["kind"] == "PROCEDURE"
