"""One value is one number, or one kind of refusal, on every way in: pipeline, API, service over its wires, extension.

The truth is Python's own arithmetic: a number is read as the nearest double, and NumPy rounds that to the dtype.
"""

import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, SignatureError
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.serving import ServingSettings, create_app
from onnx_pipeline_tests.extension import abi, models
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, values_of
from onnx_pipeline_tests.extension.installed import install, missing
from onnx_pipeline_tests.serving.conftest import Service
from onnx_pipeline_tests.value_cells import (
    DTYPES,
    FLOATS,
    NUMPY,
    Kind,
    Refused,
    Way,
    kind_of,
    through_pipeline,
    wrong_cells,
)

SQL = {
    pa.bool_(): abi.BIT, pa.uint8(): abi.TINYINT, pa.int16(): abi.SMALLINT, pa.int32(): abi.INT, pa.int64(): abi.BIGINT,
    pa.float32(): abi.REAL, pa.float64(): abi.FLOAT, pa.string(): abi.WCHAR,
}  # fmt: skip
V2 = {**{getattr(pa, name)(): name.upper() for name in NUMPY if "int" in name}, pa.float32(): "FP32",
      pa.float64(): "FP64", pa.bool_(): "BOOL", pa.int16(): "INT16"}  # fmt: skip


@pytest.fixture(scope="module")
def artifacts() -> dict[str, bytes]:
    """The model of each dtype that answers what it reads."""
    return {name: models.echo({"x": dtype}) for name, dtype in DTYPES.items()}


@pytest.fixture(scope="module")
def loaded(artifacts: dict[str, bytes]) -> dict[str, OnnxModel]:
    return {name: OnnxModel.from_bytes(data) for name, data in artifacts.items()}


@pytest.fixture(scope="module")
def service(artifacts: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    for name, data in artifacts.items():
        (folder / f"{name}.onnx").write_bytes(data)
    app = create_app(ServingSettings(models=(str(folder),), reload_seconds=600))
    app.catalogue.refresh()
    opened = Service(app, "127.0.0.1")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extension]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    library = install(tmp_path_factory.mktemp("extension"))
    opened = Extension(library)
    opened.init(str(library.parent))
    yield opened
    opened.cleanup()


@pytest.fixture
def api(loaded: dict[str, OnnxModel]) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        try:
            found = loaded[dtype].score(pa.table({"x": pa.array(values, arrow)}))
        except (NullFeatureError, FeatureValueError, SignatureError) as error:
            raise Refused(kind_of(error)) from error
        return found.column(0).to_pylist()

    return score


@pytest.fixture
def pipeline(loaded: dict[str, OnnxModel], pool: Any, tmp_path: Path) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        data = pa.table({"id": pa.array(range(len(values)), pa.int64()), "x": pa.array(values, arrow)})
        with pool.connect("a test", create=True) as connection:
            connection.register("data", data)
            connection.execute("CREATE OR REPLACE TABLE cells AS SELECT * FROM data ORDER BY id")
        return through_pipeline(pool, "cells", loaded[dtype], tmp_path)

    return score


def answered(response: Any) -> Any:
    if response.status_code == 200:
        return response
    body = response.json()
    error = body if isinstance(body["error"], str) else body["error"]
    message = body["error"] if isinstance(body["error"], str) else error["message"]
    assert (response.status_code, error["column"]) == (400, "x"), body
    if error["code"] == "value_missing" or "form for a missing value" in message:
        raise Refused(Kind.MISSING)
    raise Refused(Kind.TYPE if "and the model takes" in message and "fraction" not in message else Kind.VALUE)


@pytest.fixture
def arrow_wire(service: Service) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        response = answered(service.arrow(dtype, pa.table({"x": pa.array(values, arrow)})))
        return pa.ipc.open_stream(response.content).read_all().column(0).to_pylist()

    return score


def as_json(values: Sequence[Any]) -> list[Any]:
    return [float(value) if isinstance(value, Decimal) else value for value in values]


@pytest.fixture
def records_wire(service: Service) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        rows = [{"x": value} for value in as_json(values)]
        (name,) = {name for row in answered(service.score(dtype, rows)).json() for name in row}
        return [row[name] for row in service.score(dtype, rows).json()]

    return score


@pytest.fixture
def rows_wire(service: Service) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        rows = [[value] for value in as_json(values)]
        return [row[0] for row in answered(service.score(dtype, {"data": rows})).json()["data"]]

    return score


@pytest.fixture
def v2_json(service: Service) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        datatype = V2.get(arrow, "BYTES" if pa.types.is_string(arrow) else "FP64")
        tensor = {"name": "x", "shape": [len(values), 1], "datatype": datatype, "data": as_json(values)}
        response = answered(service.post(f"/v2/models/{dtype}/infer", json={"inputs": [tensor]}))
        return response.json()["outputs"][0]["data"]

    return score


@pytest.fixture
def v2_binary(service: Service) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        data = np.array([math.nan if value is None else value for value in values], arrow.to_pandas_dtype())
        content = data.tobytes()
        tensor = {"name": "x", "shape": [len(values), 1], "datatype": V2[arrow],
                  "parameters": {"binary_data_size": len(content)}}  # fmt: skip
        head = json.dumps({"inputs": [tensor]}).encode()
        response = answered(
            service.post(
                f"/v2/models/{dtype}/infer", content=head + content,
                headers={"inference-header-content-length": str(len(head))},
            )
        )  # fmt: skip
        return response.json()["outputs"][0]["data"]

    return score


@pytest.fixture
def in_sql_server(extension: Extension, artifacts: dict[str, bytes]) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        kind, digits = (abi.NUMERIC, arrow.scale) if pa.types.is_decimal(arrow) else (SQL[arrow], 0)
        try:
            with extension.session([Column("x", kind, digits=digits)], artifacts[dtype]) as session:
                (column,) = values_of([session.execute([list(values)])])
        except ExtensionError as error:
            assert '"x"' in error.message or "'x'" in error.message, error.message
            text = error.message
            raise Refused(
                Kind.MISSING if "NULL" in text else Kind.TYPE if "but the model's input" in text else Kind.VALUE
            ) from error
        return column

    return score


def any_form(arrow: pa.DataType, value: Any, dtype: str) -> bool:
    return True


def json_form(arrow: pa.DataType, value: Any, dtype: str) -> bool:
    """JSON has no NaN, no infinity and no dates; its numbers are doubles, so a decimal may lose its fraction."""
    if isinstance(value, Decimal) and dtype not in FLOATS and Fraction(value).denominator > 1:
        return not float(value).is_integer()
    return not pa.types.is_temporal(arrow) and not (isinstance(value, float) and not math.isfinite(value))


def binary_form(arrow: pa.DataType, value: Any, dtype: str) -> bool:
    return arrow in V2 and (value is not None or pa.types.is_floating(arrow))


def sql_form(arrow: pa.DataType, value: Any, dtype: str) -> bool:
    return dtype != "uint64" and (arrow in SQL or pa.types.is_decimal(arrow))


WAYS = {
    "api": (False, any_form),
    "pipeline": (False, any_form),
    "arrow_wire": (False, any_form),
    "records_wire": (True, json_form),
    "rows_wire": (True, json_form),
    "v2_json": (True, json_form),
    "v2_binary": (True, binary_form),
    "in_sql_server": (True, sql_form),
}
"""Each way: whether its answers have no form for NaN and infinity, and which cells it has a form for."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_a_value_is_the_same_number_or_the_same_refusal(way: str, dtype: str, request: pytest.FixtureRequest) -> None:
    score: Way = request.getfixturevalue(way)
    finite_only, has_form = WAYS[way]
    wrong, tried = wrong_cells(score, dtype, has_form, finite_only=finite_only)
    assert not wrong
    assert tried or (way, dtype) == ("in_sql_server", "uint64")
