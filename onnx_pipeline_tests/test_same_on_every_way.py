"""One value is one number, or one kind of refusal, on every way in: pipeline, API, service over its wires, extension.

The truth is Python's own arithmetic: a number is read as the nearest double, and NumPy rounds that to the dtype.
"""

import datetime
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, SignatureError
from onnx_pipeline.engines import open_stream
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import refuse_nulls
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.serving import ServingSettings, create_app
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.extension import abi, models
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, values_of
from onnx_pipeline_tests.extension.installed import install, missing
from onnx_pipeline_tests.serving.conftest import Service

DTYPES = {
    "float": models.FLOAT, "double": models.DOUBLE, "float16": models.FLOAT16, "bool": models.BOOL,
    "string": models.STRING, "int8": models.INT8, "int32": models.INT32, "int64": models.INT64, "uint8": models.UINT8,
    "uint16": models.UINT16, "uint32": models.UINT32, "uint64": models.UINT64,
}  # fmt: skip
NUMPY = {**{name: np.dtype(name) for name in DTYPES if name[-1].isdigit()}, "float": np.dtype("float32"),
         "double": np.dtype("float64"), "bool": np.dtype(bool), "string": np.dtype(object)}  # fmt: skip
FLOATS = {"float", "double", "float16"}
SUBNORMAL = 2.0**-149
REALS = [
    None, math.nan, math.inf, -math.inf, -0.0, 0.0, 0.1, 1.5, 3.0, -1.0, 300.0, 16777217.0, SUBNORMAL, 65504.0, 65519.0,
]  # fmt: skip
DOUBLES = [
    *REALS, 65520.0, 1e39, -1e39, 3.4028235677973362e38, 3.4028235677973366e38, 5e-324, 1e-46, 1.7976931348623157e308,
    2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1 + 2.0**-11 + 2.0**-40,
]  # fmt: skip
CELLS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [None, True, False]),
    *((kind, [None, 0, 1, int(np.iinfo(str(kind)).min), int(np.iinfo(str(kind)).max)])
      for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())),
    (pa.int64(), [None, 0, -1, 127, 128, -129, 255, 256, 65535, 65536, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**63),
                  2**60 + 2**36 + 1]),
    (pa.uint64(), [None, 0, 2**63, 2**64 - 1]),
    (pa.float32(), [None if value is None else float(np.float32(value)) for value in REALS]),
    (pa.float64(), DOUBLES),
    (pa.decimal128(18, 2), [None, Decimal("1.15"), Decimal("-0.05"), Decimal("3.00"), Decimal("300.00"),
                            Decimal("9999999999999999.99"), Decimal("72057594037927.93")]),
    (pa.decimal128(38, 10), [Decimal("1234567890123456789.0123456789"), Decimal("0.0000000001"), Decimal("1.15")]),
    (pa.decimal128(38, 0), [Decimal(7), Decimal(2**63), Decimal(10**37), Decimal(-(2**63))]),
    (pa.string(), [None, "", "1", "é"]),
    (pa.date32(), [datetime.date(2026, 1, 1)]),
    (pa.timestamp("us"), [datetime.datetime(2026, 1, 1)]),
]  # fmt: skip

SQL = {
    pa.bool_(): abi.BIT, pa.uint8(): abi.TINYINT, pa.int16(): abi.SMALLINT, pa.int32(): abi.INT, pa.int64(): abi.BIGINT,
    pa.float32(): abi.REAL, pa.float64(): abi.FLOAT, pa.string(): abi.WCHAR,
}  # fmt: skip
V2 = {**{getattr(pa, name)(): name.upper() for name in NUMPY if "int" in name}, pa.float32(): "FP32",
      pa.float64(): "FP64", pa.bool_(): "BOOL", pa.int16(): "INT16"}  # fmt: skip

Way = Callable[[str, pa.DataType, Sequence[Any]], list[Any]]


class Kind(Enum):
    """Why a value is refused."""

    MISSING = "missing"
    VALUE = "value"
    TYPE = "type"


class Refused(Exception):
    """The way said no, and named the column."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


def truth(value: Any, arrow: pa.DataType, dtype: str) -> Any:
    """The element, or the kind of refusal."""
    if pa.types.is_string(arrow) != (dtype == "string") or pa.types.is_temporal(arrow):
        return Kind.TYPE
    if dtype == "bool" and not pa.types.is_boolean(arrow):
        return Kind.TYPE
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NUMPY[dtype].type(math.nan) if dtype in FLOATS else Kind.MISSING
    if dtype in {"string", "bool"}:
        return value
    if dtype in FLOATS:
        with np.errstate(all="ignore"):
            made = NUMPY[dtype].type(float(value))
        return Kind.VALUE if np.isinf(made) and not math.isinf(value) else made
    info = np.iinfo(dtype)
    whole = not (isinstance(value, float) and math.isinf(value)) and Fraction(value).denominator == 1
    return NUMPY[dtype].type(int(value)) if whole and info.min <= value <= info.max else Kind.VALUE


def same(found: Any, expected: Any, *, finite_only: bool) -> bool:
    """Bit for bit; where a way has no form for NaN and infinity, NULL stands for both."""
    if isinstance(expected, np.floating) and not np.isfinite(expected):
        if finite_only:
            return found is None
        return bool(np.isnan(found)) if np.isnan(expected) else found == expected
    if isinstance(expected, np.generic):
        return bool(type(expected)(found).tobytes() == expected.tobytes())
    return bool(found == expected and type(found) is type(expected))


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


def kind_of(error: Exception) -> str:
    assert "'x'" in str(error), f"the message names no column: {error}"
    if isinstance(error, NullFeatureError):
        return Kind.MISSING
    return Kind.VALUE if isinstance(error, FeatureValueError) else Kind.TYPE


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
        model, options = loaded[dtype], RuntimeOptions()
        data = pa.table({"id": pa.array(range(len(values)), pa.int64()), "x": pa.array(values, arrow)})
        with pool.connect("a test", create=True) as connection:
            connection.register("data", data)
            connection.execute("CREATE OR REPLACE TABLE cells AS SELECT * FROM data ORDER BY id")
        spec = ScoringSpec(
            name="s", onnx="m", source="cells", key=["id"], target="scores", checks={"null_rate": 1.0}
        )  # fmt: skip
        staging = Staging(tmp_path)
        try:
            plan = ScoringPlan(spec, model, pool.source(spec))
            (piece,) = extract(plan, pool, staging, plan.partitioning.keys(), say=lambda text: None)
            refuse_nulls(plan, piece.partition_key, piece.rows, {}, piece.null_counts)
            with (
                staging.open("s", "features", piece.partition_key) as (_, reader),
                closing(open_stream(spec.engine, plan.task, options)) as engine,
            ):
                return [value for _, arrays in engine.score(reader) for value in arrays[0].to_pylist()]
        except (NullFeatureError, FeatureValueError, SignatureError) as error:
            raise Refused(kind_of(error)) from error

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
    wrong: list[tuple[Any, ...]] = []
    tried = 0
    for arrow, every in CELLS:
        cells = [(value, truth(value, arrow, dtype)) for value in every if has_form(arrow, value, dtype)]
        fitting = [(value, expected) for value, expected in cells if not isinstance(expected, Kind)]
        if fitting:
            found = score(dtype, arrow, [value for value, _ in fitting])
            wrong += [
                (str(arrow), value, outcome, expected)
                for (value, expected), outcome in zip(fitting, found, strict=True)
                if not same(outcome, expected, finite_only=finite_only)
            ]
        refused = [(value, expected) for value, expected in cells if isinstance(expected, Kind)]
        if refused and refused[0][1] is Kind.TYPE:
            refused = refused[-1:]  # no value of the column makes a difference
        for value, expected in refused:
            with pytest.raises(Refused) as refusal:
                wrong.append((str(arrow), value, score(dtype, arrow, [value]), expected))
            if refusal.value.kind is not expected:
                wrong.append((str(arrow), value, refusal.value.kind, expected))
        tried += len(fitting) + len(refused)
    assert not wrong
    assert tried or (way, dtype) == ("in_sql_server", "uint64")
