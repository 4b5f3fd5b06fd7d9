"""The engine `spark` on a server: tasks that read their rows there by themselves, and leave theirs in tables."""

import datetime
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import NullFeatureError, SpecError
from onnx_pipeline.cluster import spark as cluster
from onnx_pipeline.engines.spark.session import session
from onnx_pipeline.pools.tsql.cluster_parts import POOL
from onnx_pipeline.pools.tsql.parts_landing import PartsLanding
from onnx_pipeline_tests.engines.parity import CASES, COUNT, Case, Scored, rows
from onnx_pipeline_tests.engines.tasks_here import Cluster
from onnx_pipeline_tests.faults.disturbed_tasks import answers_that
from onnx_pipeline_tests.live.conftest import DRIVERS, OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.spark_clusters import LOCAL_CLUSTER, TRIES, engine_session, spark_home

SPARK = {"kind": "spark", "part_rows": 1000}


@pytest.fixture(params=["mssqlpython"])
def ground(
    server: Server, open_with: OpenPool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> LiveGround:
    scheme, moving = DRIVERS[request.param]
    monkeypatch.setenv(POOL, server.url(scheme, rows=moving))
    return LiveGround(server, open_with(request.param), tmp_path)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Tasks in this process."""
    return Cluster(monkeypatch, cores=1)


@pytest.fixture
def spark(ground: LiveGround, spark_settings: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Spark's own processes, whose environment names the pool."""
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", "local[2]")
    environment = session().sparkContext.environment
    monkeypatch.setitem(environment, POOL, ground.server.url("mssql+mssqlpython"))
    return lambda url: monkeypatch.setitem(environment, POOL, url)


def leftovers(ground: LiveGround) -> list[str]:
    return [name for name in ground.tables() if name.startswith("onnx_landing")]


@pytest.mark.parametrize("case", ["forest of text labels"])
def test_spark_predicts_as_plain_onnx_runtime(case: str, ground: LiveGround, spark: Any, tmp_path: Path) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    one = Scored(ground, tmp_path / "staging", CASES[case], SPARK, partitions="none")
    one.run(list(one.plan.partitioning.keys()))
    one.assert_right(table)
    assert leftovers(ground) == []


@pytest.mark.parametrize(
    ("how", "cluster_of"),
    [("fails", TRIES), ("loses its Python worker", TRIES), ("loses its executor", LOCAL_CLUSTER)],
)
def test_of_a_part_that_was_tried_twice_one_try_is_loaded(
    how: str, cluster_of: str, ground: LiveGround, spark_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts that die once their rows are in a table of the server, by real processes."""
    table = rows(gaps=False)
    ground.store("rows", table)
    seen: list[tuple[int, int]] = []
    adopt = PartsLanding._adopt

    def watched(landing: PartsLanding, plan: Any, written: Any) -> None:
        seen.append((sum(name.startswith(landing._prefix) for name in ground.tables()), len(written)))
        adopt(landing, plan, written)

    monkeypatch.setattr(PartsLanding, "_adopt", watched)
    monkeypatch.setattr(cluster, "_answers", answers_that(how, tmp_path))
    with engine_session(cluster_of) as opened:
        monkeypatch.setitem(opened.sparkContext.environment, POOL, ground.server.url("mssql+mssqlpython"))
        one = Scored(ground, tmp_path / "staging", CASES["tree"], SPARK, partitions="none")
        one.run(list(one.plan.partitioning.keys()))
    one.assert_right(table)
    assert ground.query("SELECT COUNT(*), COUNT(DISTINCT id) FROM scored") == [(COUNT, COUNT)]
    ((tables, taken),) = seen
    assert tables > taken > 1
    assert leftovers(ground) == []


def test_a_job_that_is_submitted(
    ground: LiveGround, spark_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    submit = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[2]"]
    one = Scored(ground, tmp_path / "staging", CASES["tree"], {"kind": "spark", "submit": submit}, partitions="none")
    one.run(list(one.plan.partitioning.keys()))
    one.assert_right(table)
    assert leftovers(ground) == []


def test_a_task_that_works_on_another_server_is_refused(
    ground: LiveGround, spark: Callable[[str], None], tmp_path: Path
) -> None:
    ground.store("rows", rows(gaps=False))
    spark("mssql+mssqlpython://scorer:Secret_1@elsewhere/warehouse")
    with pytest.raises(
        SpecError, match=r"of the cluster's tasks names mssql:elsewhere/warehouse, and the run works on"
    ):
        Scored(ground, tmp_path / "staging", CASES["tree"], SPARK).run(["p"])
    spark("")
    with pytest.raises(SpecError, match="has no ONNX_PIPELINE_POOL in its environment"):
        Scored(ground, tmp_path / "staging", CASES["tree"], SPARK).run(["p"])
    assert leftovers(ground) == []


@pytest.mark.parametrize(
    ("ground", "case"), [("mssqlpython", "a matrix beside columns"), ("pyodbc", "one-hot")], indirect=["ground"]
)
def test_tasks_by_each_driver(case: str, ground: LiveGround, tasks: Cluster, tmp_path: Path) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    tasks.half = True
    one = Scored(ground, tmp_path / "staging", CASES[case], SPARK, partitions="none")
    one.run(list(one.plan.partitioning.keys()))
    one.assert_right(table)
    assert ground.query("SELECT COUNT(*), COUNT(DISTINCT id) FROM scored") == [(COUNT, COUNT)]
    assert leftovers(ground) == []
    password = re.escape(ground.server.address.password or "")
    assert not any(re.search(password, order) for order in tasks.orders)


def test_parts_are_even_and_hold_each_row_once(ground: LiveGround, tasks: Cluster, tmp_path: Path) -> None:
    """Keys of which nine in ten lie in a hundredth of their range, and features of one moment."""
    table = rows(1000, gaps=False)
    ids = [number if number < 900 else number * 10**9 for number in range(1000)]
    table = table.set_column(0, "id", pa.array(ids, pa.int64()))
    ground.store("rows", table)
    one = Scored(ground, tmp_path / "staging", CASES["tree"], SPARK, partitions="none")
    one.run(list(one.plan.partitioning.keys()))
    one.assert_right(table)
    sizes = [answer.written.rows for answer in tasks.answers if answer.written is not None]
    assert sum(sizes) == 1000
    assert max(sizes) - min(sizes) <= 5


def test_keys_and_marks_of_types_that_tasks_never_see(ground: LiveGround, tasks: Cluster, tmp_path: Path) -> None:
    table = rows(6, gaps=False)
    ids = [str(uuid.UUID(int=number * 7**30)) for number in range(6)]
    table = table.append_column("who", pa.array(ids))
    moments = [datetime.datetime(1969, 12, 31, 23, 59, 59, number) for number in range(6)]
    table = table.append_column("moment", pa.array(moments, pa.timestamp("us")))
    ground.store("rows", table, who="UNIQUEIDENTIFIER")
    one = Scored(
        ground, tmp_path / "staging", CASES["tree"], SPARK,
        key=["who", "n"], source={"table": "rows", "changed": "moment"}, partitions="none",
    )  # fmt: skip
    (key,) = one.plan.partitioning.keys()
    one.run([key])
    found = ground.query("SELECT LOWER(CAST(who AS NVARCHAR(36))) FROM scored")
    assert sorted(row[0] for row in found) == sorted(ids)
    assert ground.pool.scoring_log(one.spec.scoring)[key].fingerprint.changed == "1969-12-31T23:59:59.000005"


def test_a_null_without_a_form_leaves_nothing(ground: LiveGround, tasks: Cluster, tmp_path: Path) -> None:
    ground.store("rows", rows())
    with pytest.raises(NullFeatureError, match="ONNX has no form for a missing value in a tensor of int64"):
        Scored(ground, tmp_path / "staging", Case(CASES["whole numbers"].make), SPARK).run(["p"])
    assert leftovers(ground) == []
