"""What a live server taught about values on their way, told without one."""

import datetime
import decimal
import importlib
import uuid

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError, PoolUnavailableError
from onnx_pipeline.pools.tsql.checksums import Checksum
from onnx_pipeline.pools.tsql.dialect import compiled, parameters, sql_type
from onnx_pipeline.pools.tsql.drivers.arrow_types import aligned, from_description, to_arrow
from onnx_pipeline.pools.tsql.drivers.open import open_driver
from onnx_pipeline.pools.tsql.transient import classified
from onnx_pipeline.pools.tsql.uuids import uuid_from_text, uuid_text
from onnx_pipeline_tests import needs

UTC = datetime.timezone.utc


def uuids(values):
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([v and v.bytes for v in values], pa.binary(16)))


@pytest.mark.parametrize("where", [slice(None), slice(2, 5), slice(0, 0)])
def test_uuids_become_their_text_and_back(where):
    values = [uuid.UUID(int=index * 2**100 + index) if index % 3 else None for index in range(9)]
    whole = uuids(values)
    part = whole[where]
    texts = uuid_text(part)
    assert texts.to_pylist() == [value and str(value) for value in values[where]]
    assert uuid_from_text(texts).equals(part)
    shouted = pa.array([text and text.upper() for text in texts.to_pylist()], pa.string())
    assert uuid_from_text(shouted).equals(part)


@pytest.mark.parametrize("text", ["0e984725-c51c-4bf4-9960-e1c80e27aba", "not-a-uuid", "x" * 36])
def test_what_is_no_uuid_is_refused(text):
    with pytest.raises(PoolError, match="UNIQUEIDENTIFIER"):
        uuid_from_text(pa.array([text]))


def test_decimals_lie_where_128_bits_may_lie_whatever_they_were_read_from():
    values = [decimal.Decimal(f"{index}.25") if index % 2 else None for index in range(9)]
    source = pa.array(values, pa.decimal128(38, 2))
    odd = np.zeros(16 * 9 + 64, np.uint8)
    start = -odd.ctypes.data % 16 + 8
    odd[start : start + 16 * 9] = np.frombuffer(source.buffers()[1], np.uint8)[: 16 * 9]
    shifted = pa.Array.from_buffers(source.type, 9, [source.buffers()[0], pa.py_buffer(odd)[start : start + 16 * 9]])
    assert shifted.buffers()[1].address % 16 == 8
    for array in (shifted, shifted[3:7]):
        assert aligned(array).equals(array)
        assert aligned(array).buffers()[1].address % 16 == 0
    assert aligned(source) is source


@pytest.mark.parametrize(
    ("column", "arrow"),
    [
        (("x", int, None, 3, 3, 0, True), pa.uint8()),
        (("x", int, None, 19, 19, 0, True), pa.int64()),
        (("x", float, None, 24, 24, 0, True), pa.float32()),
        (("x", decimal.Decimal, None, 12, 12, 3, True), pa.decimal128(12, 3)),
        (("x", datetime.datetime, None, 19, 19, 0, True), pa.timestamp("us")),
        (("x", datetime.datetime, None, 27, 27, 7, True), pa.timestamp("us")),
        (("x", datetime.datetime, None, 26, 26, 0, True), pa.timestamp("us", "UTC")),
        (("x", datetime.datetime, None, 34, 34, 7, True), pa.timestamp("us", "UTC")),
        (("x", uuid.UUID, None, 36, 36, 0, True), pa.uuid()),
        (("x", str, None, 10, 10, 0, True), pa.string()),
    ],
)
def test_a_column_is_known_by_its_description(column, arrow):
    assert from_description(column) == arrow


class Rows:
    """A cursor as pyodbc's: rows, and a description in which a DATETIMEOFFSET(0) looks like NVARCHAR(26)."""

    description = (("at", str, None, 26, 26, 0, True),)

    def __init__(self, values):
        self._values = [(value,) for value in values]

    def fetchmany(self, count):
        part, self._values = self._values[:count], self._values[count:]
        return part


@pytest.mark.parametrize(
    ("value", "arrow"),
    [(datetime.datetime(2026, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), ("text", pa.string())],
)
@pytest.mark.parametrize("nulls", [0, 20_000])
def test_a_time_with_zone_is_told_from_text_by_its_values(value, arrow, nulls):
    needs.driver("pyodbc")
    driver = open_driver("pyodbc")
    table = driver.reader(Rows([None] * nulls + [value]), 65_536, "SELECT at FROM t").read_all()
    assert table.schema.field("at").type == arrow
    assert table["at"].to_pylist() == [None] * nulls + [value]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0.1, None, -3.4e38, 1e-40], pa.float32()),
        pa.array([0.1, 1.7e308, -5e-324], pa.float64()),
        pa.array([None, None], pa.float64()),
        pa.array([-(2**63), 2**63 - 1], pa.int64()),
        pa.array([1, None, 255], pa.uint8()),
        pa.array([True, None, False], pa.bool_()),
        uuids([uuid.UUID(int=5), None]),
    ],
)
def test_cells_that_one_driver_gives_as_objects_become_arrow_values(values):
    needs.driver("pyodbc")
    driver = importlib.import_module("onnx_pipeline.pools.tsql.drivers.pyodbc")
    cells = tuple(values.to_pylist())
    found = driver._array(cells, values.type)
    assert found.equals(values)
    assert found.null_count == values.null_count


def test_sums_of_the_largest_numbers_are_numbers_and_still_tell_a_change():
    column = pa.array([1.7e308, 1.7e308, -5.0], pa.float64())
    checksum = Checksum(pa.schema([("x", pa.float64())]), ["x"])
    checksum.add(pa.record_batch([column], names=["x"]))
    scaled = 2 * (1.7e308 * 2.0**-40)
    assert checksum.differences([4, 3, 3, scaled]) == []
    assert checksum.differences([4, 3, 3, scaled / 2]) != []


@pytest.mark.parametrize(("octets_of_ab", "encoding"), [(4, "utf-16-le"), (2, "utf-8")])
def test_text_is_measured_as_the_server_measures_it(octets_of_ab, encoding):
    texts = ["é€", "東京 🙂", "a "]
    checksum = Checksum(pa.schema([("x", pa.string())]), ["x"])
    checksum.add(pa.record_batch([pa.array([*texts, None])[1:]], names=["x"]))
    checksum.add(pa.record_batch([pa.array(texts[:1])], names=["x"]))
    octets = sum(len(text.encode(encoding)) for text in texts)
    assert checksum.differences([octets_of_ab, 4, 3, octets]) == []
    assert checksum.differences([octets_of_ab, 4, 3, octets + 1]) != []


def test_dates_and_times_are_cast_to_what_they_are_and_bound_as_text():
    kinds = {"d": pa.date32(), "at": pa.timestamp("us"), "utc": pa.timestamp("us", "UTC"), "hour": pa.time64("us")}
    table = sa.table("t", *(sa.column(name, sql_type(kind, column=name)) for name, kind in kinds.items()))
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
    values = {"d": moment.date(), "at": moment, "utc": moment.replace(tzinfo=UTC), "hour": moment.time()}
    statement = compiled(sa.select(table.c.d).where(*(table.c[name] >= value for name, value in values.items())))
    assert parameters(statement) == [
        "2026-01-02", "2026-01-02T03:04:05.000006", "2026-01-02T03:04:05.000006+00:00", "03:04:05.000006",
    ]  # fmt: skip
    for kind in ("DATE", "DATETIME2(6)", "DATETIMEOFFSET(6)", "TIME(6)"):
        assert f"CAST(? AS {kind})" in str(statement)


@pytest.mark.parametrize(
    "message",
    [
        "Driver Error: Serialization failure; DDBC Error: [Microsoft][SQL Server]Transaction (Process ID 52) was deadlocked",
        "('HYT00', '[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired (0) (SQLDriverConnect)')",
        "Driver Error: Communication link failure; DDBC Error: [Microsoft]TCP Provider: Error code 0x2746",
    ],
)
def test_what_may_pass_is_known_by_its_message_where_no_number_comes_with_it(message):
    assert isinstance(classified(Exception(message), "here", message), PoolUnavailableError)


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_servers_100_nanoseconds_are_cut_to_the_microsecond_before_also_before_1970(zone):
    ticks = [None, -100, -1000, -1100, 900, 1000, 1_700_000_000_123_456_700, -9_000_000_000_000_000_100]
    found = to_arrow(pa.array(ticks, pa.int64()).cast(pa.timestamp("ns", zone)), pa.timestamp("us", zone))
    assert found.type == pa.timestamp("us", zone)
    assert found.cast(pa.int64()).to_pylist() == [tick and tick // 1000 for tick in ticks]
