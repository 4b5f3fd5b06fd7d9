"""Every statement that the code can emit for a server: T-SQL to a parser, and readable in `snapshots/`.

`ONNX_PIPELINE_SNAPSHOTS=write` writes the snapshots anew; read the difference before you commit it.
"""

import os
import re
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import KeyColumnError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.landing import LandedSlice
from onnx_pipeline.pools.queries import UserQuery
from onnx_pipeline.pools.records import Source
from onnx_pipeline.pools.synapse import pool as synapse_module
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql import landing as landing_module
from onnx_pipeline.pools.tsql.dialect import compiled, sql_type
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.tables import staging_name
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline.scoring.bins import binned
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.target import TargetSpec
from onnx_pipeline_tests.pools.conftest import (
    ADDRESS,
    PROVENANCE,
    Waits,
    load,
    rows_of,
    slice_of,
    synapse_on,
    target_of,
)
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server

SNAPSHOTS = Path(__file__).parent / "snapshots"

SOURCE = pa.schema(
    [
        ("id", pa.int64()), ("name", pa.string()), ("token", pa.uuid()), ("day", pa.date32()), ("at", pa.timestamp("us")),
        ("at_utc", pa.timestamp("us", "UTC")), ("a", pa.float64()), ("flag", pa.bool_()), ("size ]", pa.decimal128(12, 2)),
    ]
)  # fmt: skip
PARTITIONS = {
    "none": "none",
    "values": {"column": "name", "values": ["north", "süd"]},
    "buckets of a number": {"buckets": 8},
    "days of a date": {"column": "day", "every": "day", "start": "2026-01-01"},
    "hours of a time": {"column": "at", "every": "hour", "start": "2026-01-01"},
    "weeks of a time with zone": {
        "column": "at_utc",
        "every": "week",
        "start": "2026-01-04",
        "timezone": "Europe/Berlin",
    },
}


def wide_target(**options):
    staged = pa.schema(
        [
            ("id", pa.int64()), ("name", pa.string()), ("token", pa.uuid()), ("day", pa.date32()),
            ("at", pa.timestamp("us")), ("at_utc", pa.timestamp("us", "UTC")), ("hour", pa.time64("us")),
            ("amount", pa.decimal128(12, 2)), ("b", pa.bool_()), ("i8", pa.int8()), ("u8", pa.uint8()), ("i16", pa.int16()),
            ("u16", pa.uint16()), ("i32", pa.int32()), ("u32", pa.uint32()), ("u64", pa.uint64()), ("f16", pa.float16()),
            ("f32", pa.float32()), ("f64", pa.float64()), ("the label ]", pa.string()),
        ]
    )  # fmt: skip
    key = ("id", "name", "token", "day", "at", "at_utc", "hour", "amount")
    return target_of(staged, "ward.every type ü", key, options=TargetSpec(table="ward.every type ü", **options))


def selects(pool, weighted_sum):
    """What reads: the features and the inventory of every kind of partitions, and small things."""
    columns = [sa.column(field.name, sql_type(field.type, column=field.name)) for field in SOURCE]
    source = Source("table ward.visits", SOURCE, sa.table("visits", *columns, schema="ward").alias("source"))
    model = weighted_sum({"a": 1.0, "size ]": 2.0, "flag": 1.0})
    for title, partitions in PARTITIONS.items():
        keys = ["name"] if "name" in title else ["id"]
        spec = ScoringSpec(
            onnx="m.onnx",
            source={"table": "ward.visits", "changed": "at"},
            key=keys,
            target="t",
            name="s",
            partitions=partitions,
        )
        plan = ScoringPlan(spec, model, source)
        chosen = list(plan.partitioning.keys())[:2]
        yield f"features by {title}", plan.statement(pool, chosen, marked=len(chosen) > 1)
        captured = []
        pool.source, pool.fetch = (
            lambda _: source,
            lambda statement, captured=captured: captured.append(statement) or stop(),
        )
        with pytest.raises(StopHere):
            take_inventory(spec, pool, partitioning(spec))
        yield f"inventory by {title}", captured[0]
    query = UserQuery(
        "WITH few AS (SELECT * FROM ward.visits WHERE name LIKE '%:x')\nSELECT * FROM few ORDER BY id; -- all"
    )
    selectable = query.columns(*columns).subquery("source")
    spec = ScoringSpec(onnx="m.onnx", source={"query": "as above"}, key=["id"], target="t", name="s")
    plan = ScoringPlan(spec, model, Source("query of s", SOURCE, selectable))
    yield "features of a query with WITH and ORDER BY", plan.statement(pool, ["all"], marked=False)
    landed = sa.table("landed", sa.column("id"), sa.column("a"))
    rows = sa.select(selectable.c.id, selectable.c.a)
    yield "a query with WITH and ORDER BY that lands", sa.insert(landed).from_select(["id", "a"], rows)
    for name in ("name", "token", "day", "at_utc"):
        bucket = pool.bucket([source.column(name), source.column("id")], 8).label("bucket")
        yield f"bucket of {name} and a number", sa.select(bucket).select_from(source.selectable)


class StopHere(Exception):
    pass


def stop():
    raise StopHere


def scripted(pool, server):
    """What writes, on an imitated server that keeps what arrives."""
    pool.scoring_log("scoring", ["a", "b"])
    server.rows(f"CREATE TABLE {staging_name('onnx_0123456789abcdef', 'ended', 0)} (id INT)")
    for mode, run in (("replace", "run-1"), ("upsert", "run-2")):
        load(pool, slice_of(rows_of(0, 10, 1.0), run_id=run), mode=mode)
    load(pool, slice_of(rows_of(0, 10, 1.0), "2026-01-02"), mode="append")
    rows = rows_of(0, 3, 1.0)
    with pytest.raises(KeyColumnError):
        load(pool, slice_of(rows.set_column(0, "id", pa.array([1, None, 2], pa.int64())), "NULL in a key"))
    with pytest.raises(KeyColumnError, match=r"1 occur more than once: 1"):
        load(pool, slice_of(rows.set_column(0, "id", pa.array([1, 1, 2], pa.int64())), "a key that occurs twice"))
    named = target_of(
        table="named", key=["label", "id"], collations={"label": "Latin1_General_100_CI_AS_KS_WS_SC_UTF8"}
    )
    load(pool, slice_of(rows.set_column(2, "label", pa.array(["a", "A", "b"]))), target=named, mode="upsert")
    pool.collations_of(sa.select(sa.column("label")).select_from(sa.table("named")))
    pool.register_model("scoring", "ab" * 32, b"model", "{}")
    pool.scoring_log("scoring", ["a", "b"])
    pool.preview("predictions", {"partition_key": "2026-01-01"}, 5)


def landed(pool, server, weighted_sum):
    """What an engine of the pool and the counting of its predictions send."""
    server.rows('CREATE TABLE dbo.visits (id BIGINT, a DOUBLE, "at" TIMESTAMP)')
    said = {"onnx": "m.onnx", "source": {"table": "visits", "changed": "at"}, "key": ["id"], "target": "scores"}
    spec = ScoringSpec(**said, name="s")
    plan = ScoringPlan(spec, weighted_sum({"a": 2.0}), pool.source(spec))
    parts = ScoringSpec(**said, name="s", partitions={"column": "at", "every": "month", "start": "2026-01-01"})
    Marks(ScoringPlan(parts, plan.model, plan.source), pool).facts_in_source(["2026-01-01", "2026-02-01"])
    schema = pa.schema([*plan.predictions_schema, ("label", pa.string()), *PROVENANCE])
    plan.source.never_null()
    (key,) = plan.partitioning.keys()
    marks = Marks(plan, pool)
    piece = LandedSlice(
        target=target_of(pa.schema(list(schema)[:3]), "scores"), partition_key=key,
        features=marks.features(key), marks=marks.schema, folder=Path(), pool=pool.kind,
    )  # fmt: skip
    with pool.landing(piece) as landing:
        features = landing.features.subquery("features")
        score, label = features.c.a.label("score"), sa.literal_column("'a'").label("label")
        landing.insert(sa.select(*(features.c[name] for name in landing.marks), score, label))
        landing.fetch(marks.counted(landing.rows))
        landing.fetch(binned(landing.rows, "score", pa.float64()))
        value, *more = landing.distinct(landing.rows.c.label)
        landing.fetch(sa.select(value.label("value"), sa.func.count().label("n")).group_by(value, *more))
        landing.stored(0)


def emitted(kind, server, weighted_sum, monkeypatch):
    monkeypatch.setattr(landing_module.uuid, "uuid4", lambda: uuid.UUID(int=0))
    if kind == "mssql":
        pool = MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=Waits()))
    else:
        pool = synapse_on(server, made=FabricPool if kind == "fabric" else SynapsePool)
    scripted(pool, server)
    landed(pool, server, weighted_sum)
    blocks = [
        ("", statement) for statement in server.statements if statement != "connect" and "INSERT BULK" not in statement
    ]
    for options in (
        [{}]
        if kind in ("mssql", "fabric")
        else [{}, {"index": "heap", "distribution": "hash(NAME)"}, {"distribution": "round_robin"}]
    ):
        for statement in pool.target_statements(wide_target(**options)):
            blocks.append((f"target {options or 'as it is by default'}", statement))
    if kind == "synapse":
        monkeypatch.setattr(synapse_module.uuid, "uuid4", lambda: type("U", (), {"hex": "0" * 32}))
        for account in (
            BlobAccount("https://account.blob.core.windows.net", way, "s3cr'et") for way in ("SAS", "account key")
        ):
            server.statements.clear()
            load(synapse_on(server, account), slice_of(rows_of(0, 1, 1.0), run_id="run-3"))
            blocks += [(account.sign_in, text) for text in server.statements if text.startswith("COPY")]
        server.statements.clear()
        statement = sa.select(sa.column("id"), sa.column("label")).select_from(sa.table("predictions"))
        with synapse_on(server, extract="cetas").read(statement.where(sa.column("label") != "it's é")):
            pass
        blocks += [("extract=cetas", text) for text in server.statements if "EXTERNAL" in text]
    blocks += [(title, statement) for title, statement in selects(pool, weighted_sum)]
    for title, statement in blocks:
        text = statement if isinstance(statement, str) else pool.finish(str(compiled(statement)), "reading rows")
        yield title, "\n".join(line.rstrip() for line in text.splitlines()).strip()


@pytest.mark.parametrize("kind", ["mssql", "synapse", "fabric"])
def test_every_statement_is_t_sql_and_reads_as_it_did(kind, tmp_path, weighted_sum, monkeypatch):
    unique = dict.fromkeys(
        emitted(kind, Server(storage=tmp_path, text_is_utf8=kind == "fabric"), weighted_sum, monkeypatch)
    )
    seen, parts = set(), []
    for title, text in unique:
        if text not in seen:
            parts.append((f"-- {title}\n" if title else "") + text + "\n")
        seen.add(text)
    found = "\n".join(parts)
    snapshot = SNAPSHOTS / f"{kind}.sql"
    if os.environ.get("ONNX_PIPELINE_SNAPSHOTS") == "write":
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(found, encoding="utf-8")
    assert found == snapshot.read_text(encoding="utf-8")
    for text in seen:
        assert_parses(text)


@pytest.mark.parametrize("kind", ["mssql", "synapse", "fabric"])
def test_nothing_newer_than_sql_server_2017_is_sent(kind):
    text = (SNAPSHOTS / f"{kind}.sql").read_text(encoding="utf-8").upper()
    for word in (
        "MERGE",
        "CREATE OR ALTER",
        "WAITFOR",
        "SERVERPROPERTY",
        "STRING_AGG",
        "GREATEST(",
        "DATETRUNC",
        "DATE_BUCKET",
    ):
        assert word not in text
    if kind != "synapse":
        assert "COLUMNSTORE" not in text


@pytest.mark.parametrize(
    "script", sorted(path.relative_to(paths.sql_folder()).as_posix() for path in paths.sql_folder().glob("[!d]*/*.sql"))
)
def test_every_script_is_t_sql(script):
    from onnx_pipeline.pools.scripts import statements_of

    for statement in statements_of((paths.sql_folder() / script).read_text(encoding="utf-8")):
        assert_parses(statement)


# https://learn.microsoft.com/sql/t-sql/statements/copy-into-transact-sql
COPY_INTO = re.compile(
    r"COPY INTO \[\w+\]\.\[\w+\] \(\[\w+\](, \[\w+\])*\)\nFROM '[^']+/\*\.parquet'\nWITH \(\n    FILE_TYPE = 'PARQUET'"
    r"(,\n    CREDENTIAL = \(IDENTITY = '[^']+'(, SECRET = '([^']|'')+')?\))?\n\) OPTION \(LABEL = '[^']+'\)"
)


def assert_parses(statement):
    """By sqlfluff, but for what its grammar lacks and Microsoft's has: COPY INTO, NOT ENFORCED, `]]` in a name, a label
    after VALUES, and `?` for a value."""
    import sqlfluff

    if statement.startswith("COPY INTO"):
        assert COPY_INTO.fullmatch(statement), statement
        return
    known = statement.replace(" NOT ENFORCED", "").replace("]]]", ")]").replace("?", "@p")
    known = re.sub(r"(VALUES \(.*\)) OPTION \(LABEL = '[^']+'\)$", r"\1", known)
    try:
        sqlfluff.parse(known + "\n", dialect="tsql")
    except sqlfluff.api.APIParsingError as error:
        pytest.fail(f"{statement}\n{error}")
