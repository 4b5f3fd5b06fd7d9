"""Every kind of partitions over every type of column that may decide them; Python's own calendar says what belongs where."""

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.server import Server

UTC = datetime.timezone.utc
FORMATS = {"hour": "%Y-%m-%d-%H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m-%d"}
FINEST = {
    "DATE": datetime.timedelta(days=1),
    "SMALLDATETIME": datetime.timedelta(minutes=1),
    "DATETIME": datetime.timedelta(milliseconds=10),
    "DATETIME2(0)": datetime.timedelta(seconds=1),
    "DATETIME2(6)": datetime.timedelta(microseconds=1),
    "DATETIME2(7)": datetime.timedelta(microseconds=1),
    "DATETIMEOFFSET(0)": datetime.timedelta(seconds=1),
    "DATETIMEOFFSET(7)": datetime.timedelta(microseconds=1),
}
"""The smallest step of each type that a test may take."""

ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu")
STARTS = {"hour": "2026-03-29", "day": "2026-03-26", "week": "2026-03-01", "month": "2026-01-01"}
"""Clocks go forward on 8 March in Los Angeles, and on 29 March in Berlin."""
COUNTS = {"hour": 8, "day": 6, "week": 5, "month": 4}


def zoned(column: str) -> bool:
    return column.startswith("DATETIMEOFFSET")


def exists(every: str, column: str, zone: str) -> bool:
    """A DATE has no hours, and an hour on the wall happens twice where clocks go back."""
    return every != "hour" or (column != "DATE" and (zoned(column) or zone in ("UTC", "Asia/Kathmandu")))


def truth(moment: datetime.datetime, every: str, zone: str) -> str:
    """The partition of a moment: with zone an instant, without one what a clock on the wall there shows."""
    local = moment.astimezone(ZoneInfo(zone)) if moment.tzinfo is not None else moment
    if every == "hour":
        local = local.replace(minute=0, second=0, microsecond=0)
        # Dagster tells the second of two equal hours by its offset; there is none among these.
        return local.strftime(FORMATS["hour"])
    day = local.date()
    if every == "week":
        day -= datetime.timedelta(days=day.isoweekday() % 7)
    if every == "month":
        day = day.replace(day=1)
    return day.isoformat()


def moments(keys: Sequence[str], every: str, column: str, zone: str) -> list[datetime.datetime | None]:
    """Each partition's first moment, the one just before it, and some within; strays on either side; NULL."""
    step = FINEST[column]
    edges = []
    for key in keys:
        wall = datetime.datetime.strptime(key, FORMATS[every])
        edges.append(wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) if zoned(column) else wall)
    found: list[datetime.datetime | None] = [None]
    for edge in edges:
        within = datetime.timedelta(minutes=7) if every == "hour" else datetime.timedelta(hours=13, minutes=44)
        found += [edge, edge - step, edge + within, edge + within]
    if column == "DATE":
        found = [moment and datetime.datetime.combine(moment.date(), datetime.time()) for moment in found]
    if zoned(column):
        # The same instants, as clocks elsewhere show them.
        offsets = [datetime.timezone(datetime.timedelta(minutes=minutes)) for minutes in (0, 330, -480)]
        found = [moment and moment.astimezone(offsets[index % 3]) for index, moment in enumerate(found)]
    return found


def text(moment: datetime.datetime | None, column: str) -> str | None:
    if moment is None:
        return None
    if column == "DATE":
        return moment.date().isoformat()
    if zoned(column):
        shown = moment.isoformat(sep=" ", timespec="microseconds")
        return f"{shown[:-6]} {shown[-6:]}"
    # A DATETIME takes three digits of a second.
    return moment.isoformat(timespec="milliseconds" if column in ("DATETIME", "SMALLDATETIME") else "microseconds")


def fill(server: Server, table: str, column: str, values: Sequence[str | None]) -> dict[int, float]:
    """id → feature."""
    server.execute(f"CREATE TABLE {table} (id BIGINT NOT NULL, moment {column} NULL, a REAL NOT NULL)")
    features = {index: float(index % 17) / 4 for index in range(len(values))}
    cells = [value for index, given in enumerate(values) for value in (index, given, features[index])]
    marks = ", ".join(f"(?, CAST(? AS {column}), ?)" for _ in values)
    server.execute(f"INSERT INTO {table} (id, moment, a) VALUES {marks}", cells)
    return features


def scored(server: Server, target: str) -> dict[int, tuple[str, float]]:
    return {row[0]: (row[1], row[2]) for row in server.rows(f"SELECT id, partition_key, score FROM {target}")}


THOROUGH = ("DATE", "DATETIME2(6)", "DATETIMEOFFSET(7)")
"""Types that are tried in every zone; the others take one zone each, in turns."""

TIMES = [
    pytest.param(every, column, zone, id=f"{every} of {column} in {zone}")
    for row, every in enumerate(STARTS)
    for place, column in enumerate(FINEST)
    for index, zone in enumerate(zone for zone in ZONES if exists(every, column, zone))
    if column in THOROUGH or index == (row + place) % (2 if every == "hour" else 4)
]


@pytest.mark.parametrize(("every", "column", "zone"), TIMES)
def test_every_row_of_a_time_partition_is_scored_into_it(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score,
    every: str, column: str, zone: str,
) -> None:  # fmt: skip
    table = fresh("visits")
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=["id"], target=f"{table}_scored",
        partitions={"column": "moment", "every": every, "start": STARTS[every], "timezone": zone},
    )  # fmt: skip
    parts = partitioning(spec)
    keys = list(parts.keys())[: COUNTS[every]]
    found = moments(keys, every, column, zone)
    features = fill(server, table, column, [text(moment, column) for moment in found])
    expected = {index: truth(moment, every, zone) for index, moment in enumerate(found) if moment is not None}
    chosen = {index: key for index, key in expected.items() if key in keys}
    assert set(chosen.values()) == set(keys)

    inventory = take_inventory(spec, pool, parts)
    counts = {key: list(expected.values()).count(key) for key in set(expected.values()) & set(parts.keys())}
    assert {key: piece.rows for key, piece in inventory.slices.items()} == counts
    assert (inventory.unplaced, inventory.early, inventory.late) == (1, len(expected) - sum(counts.values()), 0)

    # One alone, then the others by one statement.
    score(spec, weighted_sum({"a": 2.0}, bias=1.0), keys[:1])
    assert {row[0] for row in scored(server, spec.target_table).values()} == {keys[0]}
    score(spec, weighted_sum({"a": 2.0}, bias=1.0), keys[1:], run_id="run-2")
    assert scored(server, spec.target_table) == {index: (key, 1 + 2 * features[index]) for index, key in chosen.items()}

    left = pending(spec, pool, parts, None)
    assert {piece.partition_key for piece in left} == set(counts) - set(keys)


ENDS = {"hour": ("2026-03-02-10:30", "2026-03-02-13:30"), "day": ("2026-03-02", "2026-03-07"),
        "week": ("2026-03-03", "2026-03-20"), "month": ("2026-01-20", "2026-03-02")}  # fmt: skip
BOUNDARIES = {"hour": ("2026-03-02T10:00", "2026-03-02T14:00"), "day": ("2026-03-02", "2026-03-07"),
              "week": ("2026-03-01", "2026-03-22"), "month": ("2026-01-01", "2026-04-01")}  # fmt: skip
"""Where partitions begin and end that `start` and `until` lie within; the other days are boundaries themselves."""


@pytest.mark.parametrize(
    ("every", "column", "zone"),
    [
        ("hour", "DATETIME2(7)", "Asia/Kathmandu"), ("hour", "DATETIMEOFFSET(7)", "Europe/Berlin"),
        ("day", "DATE", "Europe/Berlin"), ("day", "DATETIMEOFFSET(0)", "America/Los_Angeles"),
        ("week", "DATE", "UTC"), ("week", "DATETIME", "Europe/Berlin"), ("week", "DATETIMEOFFSET(7)", "Asia/Kathmandu"),
        ("month", "DATETIME2(6)", "America/Los_Angeles"), ("month", "SMALLDATETIME", "UTC"),
    ],
)  # fmt: skip
def test_every_row_is_in_one_partition_of_a_closed_history_or_counted_outside_it(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score,
    every: str, column: str, zone: str,
) -> None:  # fmt: skip
    table, (start, until) = fresh("closed"), ENDS[every]
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=["id"], target=f"{table}_scored",
        partitions={"column": "moment", "every": every, "start": start, "until": until, "timezone": zone},
    )  # fmt: skip
    parts = partitioning(spec)
    keys = list(parts.keys())
    first, last = (datetime.datetime.fromisoformat(edge) for edge in BOUNDARIES[every])
    assert len(parts.notes) == (0 if every == "day" else 2)
    around: list[datetime.datetime | None] = [None, None]
    step = datetime.timedelta(minutes=20) if every == "hour" else datetime.timedelta(hours=13)
    moment = first - 4 * step
    while moment < last + 4 * step:
        around.append(moment)
        moment += step
    around += [first, first - FINEST[column], last, last - FINEST[column]]
    if zoned(column):
        around = [moment and moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for moment in around]
    elif column == "DATE":
        around = [moment and datetime.datetime.combine(moment.date(), datetime.time()) for moment in around]
    features = fill(server, table, column, [text(moment, column) for moment in around])

    wall = {
        index: moment if moment.tzinfo is None else moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        for index, moment in enumerate(around)
        if moment is not None
    }
    early = sum(moment < first for moment in wall.values())
    ended = sum(moment >= last for moment in wall.values())
    assert early and ended
    inventory = take_inventory(spec, pool, parts)
    assert (inventory.null, inventory.early, inventory.ended, inventory.late) == (2, early, ended, 0)
    expected = {i: truth(around[i], every, zone) for i, moment in wall.items() if first <= moment < last}  # type: ignore[arg-type]
    assert set(expected.values()) <= set(keys)
    assert {key: piece.rows for key, piece in inventory.slices.items()} == Counter(expected.values())
    score(spec, weighted_sum({"a": 2.0}, bias=1.0), keys)
    assert scored(server, spec.target_table) == {
        index: (key, 1 + 2 * features[index]) for index, key in expected.items()
    }
    assert pending(spec, pool, parts, None) == []


@pytest.mark.parametrize("most", [1, 100], ids=["each alone", "as a range"])
def test_a_changed_partition_is_found_and_scored_again_and_no_other(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score, most: int
) -> None:
    table = fresh("visits")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, day DATE NOT NULL, a REAL NOT NULL, touched DATETIME2(7))")
    days = [f"2026-01-{day:02d}" for day in range(1, 101 - 70)]
    rows = [(index, day, index / 8, f"{day}T10:00:00.1234567") for index, day in enumerate(days * 5)]
    server.insert(table, ["id", "day", "a", "touched"], rows)
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source={"table": table, "changed": "touched"}, key=["id"], target=f"{table}_scored",
        partitions={"column": "day", "every": "day", "start": "2026-01-01"},
    )  # fmt: skip
    parts, model = partitioning(spec), weighted_sum({"a": 8.0})
    assert [(p.partition_key, p.reason, p.rows) for p in pending(spec, pool, parts, None)] == [
        (day, Reason.NEVER_SCORED, 5) for day in days
    ]
    for start in range(0, len(days), most):
        score(spec, model, days[start : start + most])
    assert pending(spec, pool, parts, None) == []

    server.execute(f"UPDATE {table} SET a = -1, touched = '2026-02-01T00:00:00.5' WHERE id = 3")
    server.execute(f"INSERT INTO {table} VALUES (1000, '2026-01-09', 5, NULL)")
    server.execute(f"DELETE FROM {table} WHERE day = '2026-01-20'")
    found = pending(spec, pool, parts, None)
    assert [(p.partition_key, p.reason, p.rows) for p in found] == [
        ("2026-01-04", Reason.SOURCE_CHANGED, 5), ("2026-01-09", Reason.SOURCE_CHANGED, 6),
        ("2026-01-20", Reason.SOURCE_CHANGED, 0),
    ]  # fmt: skip
    score(spec, model, [piece.partition_key for piece in found], run_id="again")
    assert pending(spec, pool, parts, None) == []
    source = server.rows(f"SELECT id, CONVERT(VARCHAR(10), day, 23), 8 * a FROM {table}")
    assert scored(server, spec.target_table) == {row[0]: row[1:] for row in source}
    assert pool.scoring_log(table)["2026-01-20"].rows == 0


VALUES = {
    "NVARCHAR(20)": ["north", "süd", "東", "it's [x]", "a b"],
    "VARCHAR(20)": ["north", "west", "it's [x]", "a b"],
    "CHAR(5)": ["north", "south"],
    "INT": [1, -7, 2_000_000_000],
    "BIGINT": [1, 9_000_000_000_000],
    "TINYINT": [0, 255],
    "SMALLINT": [-32768, 5],
    "BIT": ["true", "false"],
    "DATE": ["2026-01-01", "1999-12-31"],
    "DECIMAL(9, 2)": ["1.50", "-2.25"],
}


@pytest.mark.parametrize("column", VALUES)
def test_every_row_of_a_listed_value_is_scored_and_others_are_counted(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score, column: str
) -> None:
    table, values = fresh("wards"), VALUES[column]
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, ward {column} NULL, a REAL NOT NULL)")
    for index, value in enumerate([*values * 3, None]):
        server.execute(f"INSERT INTO {table} VALUES (?, CAST(? AS {column}), ?)", [index, value, index / 2])
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=["id"], target=f"{table}_scored",
        partitions={"column": "ward", "values": values},
    )  # fmt: skip
    parts = partitioning(spec)
    keys = [str(value) for value in values]
    inventory = take_inventory(spec, pool, parts)
    assert {key: piece.rows for key, piece in inventory.slices.items()} == dict.fromkeys(keys, 3)
    assert inventory.unplaced == 1
    score(spec, weighted_sum({"a": 2.0}), keys[:1])
    score(spec, weighted_sum({"a": 2.0}), keys[1:])
    expected = {index: (keys[index % len(keys)], float(index)) for index in range(3 * len(keys))}
    assert scored(server, spec.target_table) == expected
    assert pending(spec, pool, parts, None) == []


KEYS = {
    "INT": [(index,) for index in range(-50, 150)],
    "BIGINT": [(index * 10_000_000_019,) for index in range(200)],
    "NVARCHAR(30)": [(f"visit {index}",) for index in range(200)],
    "UNIQUEIDENTIFIER": [(f"{index:08x}-ABCD-4000-8000-00000000000{index % 10}",) for index in range(200)],
    "DATE": [((datetime.date(2026, 1, 1) + datetime.timedelta(days=index)).isoformat(),) for index in range(200)],
    "INT, VARCHAR(9)": [(index, f"b{index % 3}") for index in range(200)],
}


def md5_bucket(row: Sequence[object], buckets: int) -> int:
    """What DuckDB's pool computes, by hashlib: the same rows lie in the same bucket in every pool."""
    import hashlib

    digest = hashlib.md5("|".join(str(value).lower() for value in row).encode()).digest()
    return int.from_bytes(digest[:3], "big") % buckets


@pytest.mark.parametrize("types", KEYS)
def test_every_row_is_scored_in_its_bucket(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score, types: str
) -> None:
    table, rows, buckets = fresh("buckets"), KEYS[types], 4
    names = [f"key_{index}" for index, _ in enumerate(types.split(", "))]
    columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in zip(names, types.split(", "), strict=True))
    server.execute(f"CREATE TABLE {table} ({columns}, a REAL NOT NULL)")
    server.insert(table, [*names, "a"], [(*row, float(index)) for index, row in enumerate(rows)])
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=names, target=f"{table}_scored", partitions={"buckets": buckets}
    )
    parts = partitioning(spec)
    held = {key: piece.rows for key, piece in take_inventory(spec, pool, parts).slices.items()}
    assert sum(held.values()) == len(rows)
    score(spec, weighted_sum({"a": 1.0}))
    found = server.rows(f"SELECT score, partition_key FROM {spec.target_table} ORDER BY score")
    assert [row[0] for row in found] == [float(index) for index in range(len(rows))]
    assert [row[1] for row in found] == [f"bucket_{md5_bucket(row, buckets)}" for row in rows]
    assert pending(spec, pool, parts, None) == []


def test_text_beyond_ascii_keeps_its_bucket(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("buckets")
    server.execute(f"CREATE TABLE {table} (id NVARCHAR(20) NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["id", "a"], [(text * 2, float(index)) for index, text in enumerate("aäßéœ東京𝄞🙂ñ")])
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=["id"], target=f"{table}_scored", partitions={"buckets": 3}
    )
    score(spec, weighted_sum({"a": 1.0}))
    found = server.rows(f"SELECT id, score FROM {spec.target_table} ORDER BY score")
    assert found == [(text * 2, float(index)) for index, text in enumerate("aäßéœ東京𝄞🙂ñ")]
    assert pending(spec, pool, partitioning(spec), None) == []


def test_a_table_without_partitions_is_one_slice(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("whole")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["id", "a"], [(index, index / 4) for index in range(500)])
    query = f"SELECT id, a FROM {table} WHERE a < 100 -- not all: of them"
    spec = ScoringSpec(name=table, onnx="m.onnx", source={"query": query}, key=["id"], target=f"{table}_scored")
    (loaded,) = score(spec, weighted_sum({"a": 4.0}))
    assert (loaded.loaded.inserted, loaded.loaded.present, loaded.loaded.deleted) == (400, 400, 0)
    found = scored(server, spec.target_table)
    assert {row[0] for row in found.values()} == {"all"}
    np.testing.assert_array_equal([found[index][1] for index in range(400)], np.arange(400, dtype=np.float32))
    assert pending(spec, pool, partitioning(spec), None) == []


@pytest.mark.parametrize(
    ("kind", "values", "greatest"),
    [
        # By the collation, `B` is the greater one.
        ("VARCHAR(10) COLLATE Latin1_General_CI_AS", ["a", "B", None], "a"),
        ("DATETIMEOFFSET(6)", ["2026-10-25 02:30:00 +02:00", "2026-10-25 02:30:00 +01:00"], "2026-10-25T01:30:00+00:00"),
        ("DECIMAL(9, 2)", ["-1.50", "2.50"], "2.50"),
        ("BINARY(8)", [b"\x00" * 7 + b"\x02", b"\x00" * 6 + b"\x01\x00"], str(b"\x00" * 6 + b"\x01\x00")),
    ],
)  # fmt: skip
def test_the_greatest_change_is_the_same_one_in_the_pool_and_here(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score,
    kind: str, values: Sequence[str | bytes | None], greatest: str,
) -> None:  # fmt: skip
    table = fresh("touched")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, a REAL NOT NULL, site INT NOT NULL, touched {kind} NULL)")
    plain = kind.partition(" COLLATE")[0]
    for index, value in enumerate([*values, *values]):
        given = f"0x{value.hex()}" if isinstance(value, bytes) else "NULL" if value is None else f"'{value}'"
        site = index // len(values)
        server.execute(f"INSERT INTO {table} VALUES ({index}, 1, {site}, CAST({given} AS {plain}))")
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source={"table": table, "changed": "touched"}, key=["id"], target=f"{table}_scored",
        partitions={"column": "site", "values": [0, 1]},
    )  # fmt: skip
    parts = partitioning(spec)
    score(spec, weighted_sum({"a": 2.0}))
    assert {log.fingerprint.changed for log in pool.scoring_log(table).values()} == {greatest}
    assert pending(spec, pool, parts, None) == []
    score(spec, weighted_sum({"a": 2.0}), ["1"], run_id="run-2")
    assert pending(spec, pool, parts, None) == []
    assert server.scalar(f"SELECT COUNT(*) FROM {table}_scored") == 2 * len(values)
