"""A DataFrame scored by Spark and loaded: what plain ONNX Runtime gives, once, with a row of the log that runs know."""

import datetime

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException

from onnx_pipeline.base.errors import DataError, KeyColumnError, PartitionError, SignatureError
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.notebook import load, score
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests import spark_clusters

ROWS = 5_000
DAYS = ("2026-01-01", "2026-01-02")


@pytest.fixture(scope="module")
def spark(spark_settings):
    with spark_clusters.session(spark_clusters.LOCAL) as opened:
        yield opened


@pytest.fixture
def model(weighted_sum, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(weighted_sum({"a": 2.0, "b": -1.0}, bias=0.5).normalised)
    return str(path)


@pytest.fixture
def visits(pool):
    """A table of two days in the pool, and the same rows as Arrow."""
    random = np.random.default_rng(5)
    days = [datetime.date(2026, 1, 1 + index % 2) for index in range(ROWS)]
    table = pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "day": pa.array(days),
            "a": random.normal(size=ROWS),
            "b": pa.array(random.normal(size=ROWS).astype(np.float32)),
            "note": ["unread"] * ROWS,
        }
    )
    with pool.connect("making visits") as connection:
        connection.register("made", table)
        connection.execute("CREATE TABLE visits AS FROM made").fetchall()
    return table


def scoring(model, **more):
    return {"name": "visits", "onnx": model, "source": {"table": "visits"}, "key": ["id"], "target": "scores", **more}


BY_DAY = {"partitions": {"column": "day", "every": "day", "start": "2026-01-01", "until": "2026-01-03"}}


def expected(model, table):
    session = ort.InferenceSession(model)
    feeds = {name: table[name].to_numpy().astype(np.float32)[:, None] for name in ("a", "b")}
    return session.run(None, feeds)[0][:, 0]


def url(pool):
    return f"duckdb:///{pool.path}"


def frame_of(spark, table):
    """From Arrow as Spark 3.5 takes it, too, which is by way of pandas."""
    return spark.createDataFrame(table.to_pandas())


def test_a_frame_is_scored_as_onnx_runtime_does(spark, model, visits):
    frame = frame_of(spark, visits).repartition(5)
    scored = score(frame, model, key=["id", "day"], outputs={"risk": "score"})
    assert [(field.name, field.dataType.simpleString()) for field in scored.schema] == [
        ("id", "bigint"), ("day", "date"), ("risk", "float"),
    ]  # fmt: skip
    ids, days, risks = zip(*scored.orderBy("id").collect(), strict=True)
    assert list(ids) == list(range(ROWS))
    assert list(days) == visits["day"].to_pylist()
    np.testing.assert_allclose(risks, expected(model, visits), rtol=1e-5, atol=1e-6)
    # It is a DataFrame as any other: lazy, and to go on with.
    assert scored.filter("risk > 0").count() == int((expected(model, visits) > 0).sum())


def test_what_the_model_refuses_is_named(spark, model, visits):
    frame = frame_of(spark, visits)
    with pytest.raises(SignatureError, match="'c'"):
        score(frame, model, features={"a": "c", "b": "b"})
    with pytest.raises(SignatureError, match="key names the column 'ix'"):
        score(frame, model, key=["ix"])
    with pytest.raises(SignatureError, match="more than one column 'a'|more than once"):
        score(frame.select("a", "a", "b"), model)
    with pytest.raises(PySparkException, match=r"FeatureValueError.*a.*1e\+300"):
        score(frame.selectExpr("if(id = 7, 1e300, a) as a", "b"), model).collect()
    null = frame.selectExpr("if(id = 7, null, a) as a", "b")
    assert score(null, model).filter("isnan(score)").count() == 1
    assert score(null, model, nulls={"a": 0.0}).filter("isnan(score)").count() == 0


def test_a_load_is_one_that_runs_know(spark, pool, sql, model, visits):
    spec = ScoringSpec(**scoring(model, **BY_DAY))
    frame = frame_of(spark, visits)
    for day in DAYS:
        scored = score(frame.filter(f"day = '{day}'"), model, key=["id"])
        loaded = load(scored, scoring(model, **BY_DAY), pool=url(pool), partition=day)
        assert (loaded.log.rows, loaded.loaded.inserted) == (ROWS // 2, ROWS // 2)
        again = load(scored, spec, pool=url(pool), partition=day)
        assert (again.loaded.deleted, again.loaded.present) == (ROWS // 2, ROWS // 2)
    rows = sql("SELECT id, score, partition_key, model_sha256 FROM scores ORDER BY id")
    np.testing.assert_allclose([row[1] for row in rows], expected(model, visits), rtol=1e-5, atol=1e-6)
    assert [row[2] for row in rows] == [day.isoformat() for day in visits["day"].to_pylist()]
    sha256 = OnnxModel.load(model).sha256
    assert {row[3] for row in rows} == {sha256}
    assert sql("SELECT name, sha256 FROM onnx_models") == [("visits", sha256)]
    # A schedule of that project finds nothing to do, and what changed it finds.
    assert pending(spec, pool, partitioning(spec), sha256) == []
    sql("INSERT INTO visits VALUES (9000, '2026-01-02', 1, 1, '')")
    (found,) = pending(spec, pool, partitioning(spec), sha256)
    assert (found.partition_key, found.reason) == (DAYS[1], Reason.SOURCE_CHANGED)


def test_a_whole_table(spark, pool, sql, model, visits):
    scored = score(frame_of(spark, visits), model, key=["id"])
    assert load(scored, scoring(model), pool=url(pool)).log.rows == ROWS
    assert sql("SELECT count(*), count(DISTINCT id) FROM scores") == [(ROWS, ROWS)]


def test_what_would_not_be_what_the_log_says_is_not_loaded(spark, pool, sql, model, weighted_sum, visits, tmp_path):
    frame = frame_of(spark, visits)
    scored = score(frame, model, key=["id"])
    spec = scoring(model)

    def refused(error, says, predictions=scored, **how):
        with pytest.raises(error, match=says):
            load(predictions, spec, pool=url(pool), **how)

    refused(SignatureError, "no column 'id'", score(frame, model, key=["day"]))
    refused(SignatureError, "the column 'day', which the target does not take", score(frame, model, key=["id", "day"]))
    refused(SignatureError, "does not say which model made it", frame.selectExpr("id", "cast(a as float) as score"))
    other = tmp_path / "other.onnx"
    other.write_bytes(weighted_sum({"a": 1.0, "b": 1.0}).normalised)
    refused(SignatureError, "was made by model", score(frame, str(other), key=["id"]))
    refused(PartitionError, "no partition '2026-01-01'", partition="2026-01-01")
    refused(DataError, "5000 rows in the partition, 4999 staged", scored.filter("id > 0"))
    refused(
        KeyColumnError, "occur more than once", score(frame.selectExpr("id % 4000 as id", "a", "b"), model, key=["id"])
    )
    assert sql("SELECT count(*) FROM onnx_scoring_log") == [(0,)]
    assert sql("SELECT count(*) FROM scores") == [(0,)]


def test_a_source_that_changes_meanwhile(spark, pool, sql, model, visits, monkeypatch):
    from onnx_pipeline.notebook import loading

    staged = loading.stage

    def meanwhile(*args, **how):
        done = staged(*args, **how)
        sql("DELETE FROM visits WHERE id = 0")
        return done

    monkeypatch.setattr(loading, "stage", meanwhile)
    with pytest.raises(DataError, match="from 5,000 rows to 4,999 rows. Nothing was loaded"):
        load(score(frame_of(spark, visits), model, key=["id"]), scoring(model), pool=url(pool))
    assert sql("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores'") == [(0,)]


@pytest.mark.nightly
def test_over_spark_connect(spark_connect, pool, sql, model, visits):
    from pyspark.sql.connect.session import SparkSession

    remote = SparkSession.builder.remote(spark_connect).create()
    try:
        load(score(frame_of(remote, visits), model, key=["id"]), scoring(model), pool=url(pool))
    finally:
        remote.stop()
    rows = sql("SELECT score FROM scores ORDER BY id")
    np.testing.assert_allclose([row[0] for row in rows], expected(model, visits), rtol=1e-5, atol=1e-6)
