"""What a load leaves in the target and in the scoring log: the new slice or the old one, never something between."""

import dataclasses
import datetime
import decimal
import uuid

import duckdb
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import AlreadyLoadedError, PoolError, TargetError
from onnx_pipeline.pools import LogRow, SliceLoad, Target
from onnx_pipeline.pools.duckdb import load as duckdb_load
from onnx_pipeline.pools.records import Fingerprint
from onnx_pipeline.pools.rows import StagedRows, StoredFiles
from onnx_pipeline.spec.target import PROVENANCE

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)


def make_target(table="scores", key=("id",), key_types=(pa.int64(),), outputs=(("score", pa.float32()),)):
    fields = [*zip(key, key_types, strict=True), *outputs]
    fields += [("partition_key", pa.string()), ("model_sha256", pa.string())]
    fields += [("scored_at", pa.timestamp("us")), ("run_id", pa.string())]
    return Target(table, pa.schema(fields), tuple(key))


def slice_of(target, partition, rows, *, run_id="run-1", sha="a" * 64, ascend=False, source_rows=None):
    schema = pa.schema([target.schema.field(name) for name in target.staged_names])
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
    fingerprint = Fingerprint(len(rows) if source_rows is None else source_rows, "2026-01-01")
    log = LogRow("s", partition, sha, len(rows), fingerprint, 0.5, run_id, NOW, "{}")
    return SliceLoad(log, StagedRows(table.to_reader, keys_ascend=ascend))


def accept(_):
    """Every count is right."""


@pytest.fixture
def load(pool):
    def run(target, *pieces, mode="replace", verify=accept):
        pool.ensure_target(target)
        return list(pool.load(target, pieces, mode, verify))

    return run


@pytest.fixture
def standing(sql):
    """`{partition: [(id, score), ...]}` as the target stands."""

    def read(table="scores"):
        found = {}
        for partition, *values in sql(f"SELECT partition_key, id, score FROM {table} ORDER BY ALL"):
            found.setdefault(partition, []).append(tuple(values))
        return found

    return read


def test_rows_carry_where_they_come_from(load, sql):
    load(make_target(), slice_of(make_target(), "p1", [(1, 0.5)], run_id="run-7", sha="b" * 64))
    assert sql("SELECT * FROM scores") == [(1, 0.5, "p1", "b" * 64, NOW.replace(tzinfo=None), "run-7")]


def test_replace_exchanges_the_slice_and_touches_no_other(load, standing):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0), (2, 2.0), (3, 3.0)]), slice_of(target, "p2", [(4, 4.0)]))
    (loaded,) = load(target, slice_of(target, "p1", [(2, 20.0), (9, 9.0)], run_id="run-2"))
    assert standing() == {"p1": [(2, 20.0), (9, 9.0)], "p2": [(4, 4.0)]}
    assert (loaded.inserted, loaded.deleted, loaded.updated, loaded.present) == (2, 3, 0, 2)


def test_replacing_twice_is_replacing_once(load, standing):
    target = make_target()
    for _ in range(3):
        load(target, slice_of(target, "p1", [(1, 1.0), (2, 2.0)]))
    assert standing() == {"p1": [(1, 1.0), (2, 2.0)]}


def test_append_loads_a_slice_once(load, standing, pool):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0)]), mode="append")
    load(target, slice_of(target, "p2", [(1, 1.5)]), mode="append")
    with pytest.raises(AlreadyLoadedError, match="partition 'p1' stands in scores already, and `load: append`"):
        load(target, slice_of(target, "p1", [(5, 5.0)], run_id="run-2"), mode="append")
    assert standing() == {"p1": [(1, 1.0)], "p2": [(1, 1.5)]}
    assert pool.scoring_log("s")["p1"].run_id == "run-1"


def test_upsert_updates_inserts_and_keeps_what_left_the_source(load, standing):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0), (2, 2.0)]), slice_of(target, "p2", [(4, 4.0)]), mode="upsert")
    (loaded,) = load(target, slice_of(target, "p1", [(2, 20.0), (3, 30.0)], run_id="run-2"), mode="upsert")
    assert standing() == {"p1": [(1, 1.0), (2, 20.0), (3, 30.0)], "p2": [(4, 4.0)]}
    assert (loaded.inserted, loaded.updated, loaded.deleted, loaded.present) == (1, 1, 0, 2)


def test_upsert_takes_a_row_that_moved_to_another_partition_with_it(load, standing):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0)]), mode="upsert")
    load(target, slice_of(target, "p2", [(1, 2.0)], run_id="run-2"), mode="upsert")
    assert standing() == {"p2": [(1, 2.0)]}


def test_upsert_matches_on_every_key_column(load, sql):
    target = make_target(key=("id", "site"), key_types=(pa.int64(), pa.string()))
    load(target, slice_of(target, "p", [(1, "a", 1.0), (1, "b", 2.0)]), mode="upsert")
    load(target, slice_of(target, "p", [(1, "b", 20.0), (2, "a", 3.0)]), mode="upsert")
    assert sql("SELECT id, site, score FROM scores ORDER BY ALL") == [(1, "a", 1.0), (1, "b", 20.0), (2, "a", 3.0)]


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_the_log_row_is_what_was_loaded(load, pool, mode):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0), (2, 2.0)], sha="c" * 64, source_rows=2), mode=mode)
    (row,) = pool.scoring_log("s").values()
    assert (row.scoring, row.partition_key, row.model_sha256, row.rows) == ("s", "p1", "c" * 64, 2)
    assert row.fingerprint == Fingerprint(2, "2026-01-01")
    assert (row.run_id, row.scored_at, row.statistics) == ("run-1", NOW, "{}")
    assert row.seconds >= 0.5


def test_the_log_keeps_one_row_per_scoring_and_partition(load, pool, sql):
    target = make_target()
    for number in range(3):
        load(target, slice_of(target, "p1", [(1, 1.0)], run_id=f"run-{number}"))
    load(target, slice_of(target, "p2", []))
    assert sql("SELECT scoring, partition_key, run_id FROM onnx_scoring_log ORDER BY ALL") == [
        ("s", "p1", "run-2"), ("s", "p2", "run-1"),
    ]  # fmt: skip
    assert list(pool.scoring_log("s", ["p2", "p9"])) == ["p2"]
    assert pool.scoring_log("another") == {}


def test_a_pool_that_never_scored_has_an_empty_log(pool):
    assert pool.scoring_log("s") == {}


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_a_refused_load_changes_nothing(load, standing, pool, mode):
    target = make_target()
    load(target, slice_of(target, "p1", [(1, 1.0)]), mode=mode)
    before = pool.scoring_log("s")
    seen = []

    def refuse(loaded):
        seen.append(loaded)
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        load(target, slice_of(target, "p1", [(1, 10.0), (2, 2.0)], run_id="run-2"), mode=mode, verify=refuse)
    # It was told what the target would have been.
    assert seen[0].present == 2
    assert standing() == {"p1": [(1, 1.0)]}
    assert pool.scoring_log("s") == before


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_source_of_rows_that_breaks_half_way_changes_nothing(load, standing, pool, mode):
    target = make_target()
    load(target, slice_of(target, "p0", [(1, 1.0)]))
    if mode != "append":
        load(target, slice_of(target, "p1", [(2, 2.0)]))
    before, log = standing(), pool.scoring_log("s")
    piece = slice_of(target, "p1", [(3, 3.0)])
    schema = piece.rows.open().schema

    def break_half_way():
        for number in range(5):
            rows = pa.record_batch(
                [pa.array(range(number * 10_000, (number + 1) * 10_000)), pa.array([0.0] * 10_000, pa.float32())],
                schema=schema,
            )
            yield rows
        raise OSError("the disk is gone")

    broken = SliceLoad(
        piece.log, StagedRows(lambda: pa.RecordBatchReader.from_batches(schema, break_half_way()), keys_ascend=True)
    )
    with pytest.raises((OSError, PoolError), match="the disk is gone"):
        load(target, broken, mode=mode)
    assert standing() == before
    assert pool.scoring_log("s") == log


def test_slices_before_the_one_that_fails_stay_loaded(load, standing, pool):
    target = make_target()

    def refuse_second(loaded):
        if loaded.partition_key == "p2":
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        load(target, *(slice_of(target, name, [(1, 1.0)]) for name in ("p1", "p2", "p3")), verify=refuse_second)
    assert standing() == {"p1": [(1, 1.0)]}
    assert list(pool.scoring_log("s")) == ["p1"]


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_null_and_repeated_keys_are_counted_before_the_commit(load, mode):
    target = make_target(key=("id", "site"), key_types=(pa.int64(), pa.string()))
    rows = [(1, "a", 1.0), (1, "a", 2.0), (1, "a", 3.0), (2, "a", 4.0), (2, "b", 5.0)]
    (loaded,) = load(target, slice_of(target, "p", rows), mode=mode)
    assert (loaded.duplicate_keys, loaded.null_keys) == (1, 0)


def test_repeated_keys_are_counted_also_where_an_upsert_finds_the_row_already(load):
    target = make_target()
    load(target, slice_of(target, "p", [(1, 1.0)]), mode="upsert")
    (loaded,) = load(target, slice_of(target, "p", [(1, 2.0), (1, 3.0)], run_id="run-2"), mode="upsert")
    assert loaded.duplicate_keys == 1


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_repeated_keys_are_counted_in_parts_as_at_once(load, mode, monkeypatch):
    """Of many rows the keys are grouped part by part; these three are of different parts."""
    monkeypatch.setattr(duckdb_load, "_GROUPED_VALUES", 4)
    target = make_target(key=("id", "site"), key_types=(pa.float64(), pa.string()))
    keys = [(float(number), site) for number in range(20) for site in ("a", "b")]
    rows = [(*key, 1.0) for key in [*keys, (0.0, "a"), (-0.0, "a"), (7.0, "b"), (13.0, "a"), (19.0, "b"), (19.0, "b")]]
    told = []
    load(target, slice_of(target, "p", rows), mode=mode, verify=told.append)
    assert told[0].duplicate_keys == 4
    assert told[0].null_keys == 0
    repeated = {"(0.0, 'a')", "(-0.0, 'a')", "(7.0, 'b')", "(13.0, 'a')", "(19.0, 'b')"}
    assert len(told[0].examples) == 3 and set(told[0].examples) <= repeated


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_the_keys_of_a_hundred_million_rows_are_looked_at_within_the_pools_memory(load, tmp_path):
    count = 100_000_000
    target = make_target(table="scored")
    # Of a prime number no multiples meet; the last row has the key of another one.
    key = f"CASE WHEN range = {count - 1} THEN 5 ELSE range END * 7919 % 100000007"
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute(
            f"COPY (SELECT {key} AS id, 0.5::FLOAT AS score FROM range({count})) TO '{tmp_path}/staged.parquet'"
        )
    log = slice_of(target, "p", []).log
    (loaded,) = load(
        target, SliceLoad(dataclasses.replace(log, rows=count), StoredFiles((tmp_path / "staged.parquet",), count))
    )
    assert loaded.inserted == loaded.present == count
    assert (loaded.duplicate_keys, loaded.examples) == (1, ("39595",))


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_null_key_never_reaches_the_target(load, standing, pool, mode):
    target = make_target()
    load(target, slice_of(target, "p0", [(7, 7.0)]))
    with pytest.raises(PoolError, match="NOT NULL"):
        load(target, slice_of(target, "p", [(1, 1.0), (None, 2.0)]), mode=mode)
    assert standing() == {"p0": [(7, 7.0)]}
    assert list(pool.scoring_log("s")) == ["p0"]


KEYS = [
    (pa.string(), ["a", "b'c", 'd"e', "ünï\ncode", ""]),
    (pa.date32(), [datetime.date(1969, 12, 31), datetime.date(2024, 2, 29)]),
    (pa.timestamp("us"), [datetime.datetime(2026, 1, 1, 0, 0, 0, 1), datetime.datetime(1900, 1, 1)]),
    (pa.decimal128(38, 3), [decimal.Decimal("12345678901234567890.123"), decimal.Decimal("12345678901234567890.124")]),
    (pa.int8(), [-128, 127]),
    (pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.uint64(), [0, 2**64 - 1]),
    (pa.bool_(), [False, True]),
]


@pytest.mark.parametrize("mode", ["replace", "upsert"])
@pytest.mark.parametrize(("arrow", "values"), KEYS, ids=[str(arrow) for arrow, _ in KEYS])
def test_keys_of_every_type_come_back_as_they_went(load, sql, mode, arrow, values):
    target = make_target(key_types=(arrow,))
    rows = [(value, float(index)) for index, value in enumerate(values)]
    for run in ("run-1", "run-2"):
        (loaded,) = load(target, slice_of(target, "p", rows, run_id=run), mode=mode)
        assert (loaded.present, loaded.duplicate_keys, loaded.null_keys) == (len(rows), 0, 0)
    assert dict(sql("SELECT id, score FROM scores")) == dict(rows)


def test_keys_may_be_uuids(load, sql):
    target = make_target(key_types=(pa.uuid(),))
    one, two = uuid.UUID(int=1), uuid.uuid4()
    schema = pa.schema([("id", pa.uuid()), ("score", pa.float32())])
    piece = slice_of(make_target(), "p", [(1, 1.0), (2, 2.0)])
    table = pa.table([pa.array([one.bytes, two.bytes], pa.uuid()), pa.array([1.0, 2.0], pa.float32())], schema=schema)
    (loaded,) = load(target, SliceLoad(piece.log, StagedRows(table.to_reader, keys_ascend=False)))
    assert loaded.present == 2
    assert dict(sql("SELECT id, score FROM scores")) == {one: 1.0, two: 2.0}


def test_names_and_values_with_quotes_spaces_and_other_alphabets(load, sql):
    sql('CREATE SCHEMA "my ""schema"""')
    names = ("select", 'a "b" c', "it's", "größe", "日本", "at", "x;y--", "Mixed Case", "100%", ":colon", "a?b", "$1")
    target = make_target(
        'my "schema".täble "x" y', key=names[:2], key_types=(pa.int64(), pa.string()),
        outputs=[(name, pa.float32()) for name in names[2:]],
    )  # fmt: skip
    values = [float(index) for index in range(len(names) - 2)]
    partition = 'it\'s "p"; DROP TABLE x --'
    for mode in ("replace", "upsert"):
        load(target, slice_of(target, partition, [(1, "b'\"c", *values)], run_id="r'u\"n"), mode=mode)
    with_names = sql('SELECT * FROM "my ""schema"""."täble ""x"" y"')
    assert with_names == [(1, "b'\"c", *values, partition, "a" * 64, NOW.replace(tzinfo=None), "r'u\"n")]
    described = sql('DESCRIBE "my ""schema"""."täble ""x"" y"')
    assert [row[0] for row in described] == [*names, *PROVENANCE]


def test_a_target_that_stands_with_these_columns_is_used(load, sql, standing):
    target = make_target()
    sql(
        "CREATE TABLE scores (RUN_ID VARCHAR, score FLOAT, partition_key VARCHAR, id BIGINT, scored_at TIMESTAMP, "
        "model_sha256 VARCHAR)"
    )
    load(target, slice_of(target, "p", [(1, 1.0)]))
    assert standing() == {"p": [(1, 1.0)]}
    assert sql("SELECT run_id FROM scores") == [("run-1",)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "id BIGINT, score FLOAT",
            "partition_key is missing; model_sha256 is missing; scored_at is missing; run_id is missing",
        ),
        ("id VARCHAR, score FLOAT", "id is string there and int64 here"),
        ("id BIGINT, score VARCHAR", "score is string there and float here"),
        ("id BIGINT, score DOUBLE", "score is double there and float here"),
        ("id BIGINT, score FLOAT, extra INTEGER", "extra is there and not among the predictions"),
        ("id INTEGER, score FLOAT", "id is int32 there and int64 here"),
    ],
)
@pytest.mark.parametrize("name", ["scores", "SCORES"])
def test_a_target_that_stands_with_other_columns_is_refused(load, sql, name, columns, message):
    provenance = "partition_key VARCHAR, model_sha256 VARCHAR, scored_at TIMESTAMP, run_id VARCHAR"
    if not message.startswith("partition_key"):
        columns = f"{columns}, {provenance}"
    sql(f"CREATE TABLE {name} ({columns})")
    target = make_target()
    with pytest.raises(
        TargetError, match=f"(?s)table scores stands with other columns: .*{message}.*[Nn]ame another `target`"
    ):
        load(target, slice_of(target, "p", [(1, 1.0)]))


def test_predictions_may_be_null_and_keys_and_provenance_may_not(load, sql):
    target = make_target()
    load(target, slice_of(target, "p", [(1, None)]))
    nullable = {row[0]: row[2] for row in sql("DESCRIBE scores")}
    assert nullable == {"id": "NO", "score": "YES", **dict.fromkeys(PROVENANCE, "NO")}


def test_a_model_is_registered_once_under_its_name_and_sha256(pool, sql):
    for _ in range(2):
        pool.register_model("risk's", "a" * 64, b"\x00onnx\xff", '{"inputs": []}')
    pool.register_model("risk's", "b" * 64, b"other", "{}")
    pool.register_model("stay", "a" * 64, b"\x00onnx\xff", '{"inputs": []}')
    assert sql("SELECT id, name, sha256, model, signature FROM onnx_models ORDER BY id") == [
        (1, "risk's", "a" * 64, b"\x00onnx\xff", '{"inputs": []}'),
        (2, "risk's", "b" * 64, b"other", "{}"),
        (3, "stay", "a" * 64, b"\x00onnx\xff", '{"inputs": []}'),
    ]
