"""The engine `spark` on every pool but DuckDB: what goes out to tasks, and what of theirs comes in.

The tasks run here, in this process (`tasks_here.py`), against servers in memory.
"""

import datetime
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, StagingError
from onnx_pipeline.cluster.parquet_parts import ParquetParts
from onnx_pipeline.pools.tsql import cluster_parts
from onnx_pipeline_tests.engines.parity import CASES, COUNT, PARTS, Case, Scored, rows
from onnx_pipeline_tests.engines.tasks_here import Cluster
from onnx_pipeline_tests.pools.conftest import synapse_on
from onnx_pipeline_tests.pools.grounds import ImitatedGround
from onnx_pipeline_tests.pools.imitation import Fault, Storage

KINDS = ("mssql", "synapse", "synapse by CETAS", "fabric")


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> ImitatedGround:
    kind, _, cetas = request.param.partition(" by ")
    made = ImitatedGround(kind, tmp_path / "pool")
    if cetas:
        made.pool = synapse_on(made.server, extract="cetas")
    return made


@pytest.fixture
def cluster(ground: ImitatedGround, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("ONNX_PIPELINE_POOL", "mssql+mssqlpython://scorer:Secret_1@imitation/warehouse")
    # The server is in this process alone, so a task that signs in there gets the pool that stands.
    monkeypatch.setattr(cluster_parts, "open_pool", lambda _: ground.pool)
    return Cluster(monkeypatch)


Make = Callable[..., Scored]


@pytest.fixture
def scored(ground: ImitatedGround, cluster: Cluster, tmp_path: Path) -> Make:
    def make(case: Case, kind: str = "spark", **attributes: Any) -> Scored:
        engine = {"kind": kind, "part_rows": 1000} if kind == "spark" else {"kind": kind}
        return Scored(ground, tmp_path / kind, case, engine, **attributes)

    return make


def leftovers(ground: ImitatedGround) -> list[Any]:
    """What no run left there for good: tables that are neither the source, the target nor the log, and files."""
    tables = ground.tables() - {"rows", "scored", "onnx_scoring_log", "onnx_models"}
    return [*sorted(tables), *Storage(ground.server.storage).files()]


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_plain_onnx_runtime(case: str, ground: ImitatedGround, scored: Make) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    one = scored(CASES[case])
    one.run()
    one.assert_right(table)
    assert leftovers(ground) == []


def test_null_counts_and_statistics_are_those_of_onnxruntime(ground: ImitatedGround, scored: Make) -> None:
    ground.store("rows", rows())
    case = CASES["arithmetic"]
    wanted = scored(case, "onnxruntime").run()
    found = scored(case).run()
    for key in PARTS:
        assert found[key]["null_counts"] == wanted[key]["null_counts"]
        for name, column in wanted[key]["statistics"].items():
            one, other = found[key]["statistics"][name], column
            assert (one.missing, one.summary().count) == (other.missing, other.summary().count)
            assert one.summary().mean == pytest.approx(other.summary().mean, rel=1e-5)


@pytest.mark.parametrize("trouble", ["lost", "half"])
def test_what_no_answer_names_is_loaded_by_nobody(
    trouble: str, ground: ImitatedGround, scored: Make, cluster: Cluster
) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    setattr(cluster, trouble, 1)
    one = scored(CASES["tree"])
    one.run()
    one.assert_right(table)
    assert ground.query("SELECT count(*), count(DISTINCT id) FROM scored") == [(COUNT, COUNT)]
    assert leftovers(ground) == []


def test_a_part_that_does_not_hold_what_its_task_told_is_refused(
    ground: ImitatedGround, scored: Make, cluster: Cluster
) -> None:
    ground.store("rows", rows(gaps=False))
    cluster.forged = lambda answers: [
        replace(one, written=replace(one.written, rows=one.written.rows + 1)) for one in answers if one.written
    ]
    with pytest.raises(StagingError, match=r"Nothing was kept, run the partition again"):
        scored(CASES["tree"]).run(["p"])
    assert "scored" not in ground.tables()
    assert leftovers(ground) == []


def test_a_value_without_a_form_is_refused_and_leaves_nothing(ground: ImitatedGround, scored: Make) -> None:
    table = rows(gaps=False)
    values = [2.5 if place == 10 else each for place, each in enumerate(table["c"].to_pylist())]
    ground.store("rows", table.set_column(table.column_names.index("c"), "c", pa.array(values, pa.float64())))
    with pytest.raises(FeatureValueError, match="column 'c' of the row with id = 10 is 2.5, which has a fraction"):
        scored(CASES["whole numbers"]).run(["p"])
    ground.store("rows", rows())
    with pytest.raises(NullFeatureError):
        scored(Case(CASES["whole numbers"].make)).run(["p"])
    assert "scored" not in ground.tables()
    assert leftovers(ground) == []


@pytest.mark.parametrize("after", [False, True])
def test_whatever_breaks_every_row_is_there_once(
    after: bool, ground: ImitatedGround, scored: Make, tmp_path: Path
) -> None:
    """Each statement of the landing in turn meets a broken connection, before or after it was carried out."""
    table = rows(40, gaps=False)
    ground.store("rows", table)
    server = ground.server
    one = scored(CASES["tree"])
    one.run(["p"])
    landing = [place for place, text in enumerate(server.statements) if re.search("COPY INTO|EXTERNAL|INTO", text)]
    assert landing
    for place in landing:
        ground.store("rows", table)
        for name in ground.tables() - {"rows"}:
            server.database.execute(f"DROP TABLE dbo.{name}")
        server.statements.clear()
        server.fault = Fault(place + 1, after=after)
        again = Scored(ground, tmp_path / f"again-{place}", CASES["tree"], {"kind": "spark"})
        again.run(["p"])
        server.fault = None
        assert ground.query("SELECT count(*), count(DISTINCT id) FROM scored") == [(20, 20)]
        assert leftovers(ground) == []


def test_keys_and_changed_come_through_as_they_are(ground: ImitatedGround, cluster: Cluster, tmp_path: Path) -> None:
    table = rows(6, gaps=False)
    ids = [uuid.UUID(int=number * 7**30) for number in range(6)]
    moments = [datetime.datetime(1969, 12, 31, 23, 59, 59, number) for number in range(6)]
    storage = pa.array([one.bytes for one in ids], pa.binary(16))
    table = table.append_column("who", pa.ExtensionArray.from_storage(pa.uuid(), storage))
    table = table.append_column("small", pa.array(range(250, 256), pa.uint8()))
    table = table.append_column("moment", pa.array(moments, pa.timestamp("us")))
    ground.store("rows", table)
    attributes = {
        "key": ["who", "small"],
        "source": {"table": "rows", "changed": "moment"},
        "partitions": "none",
    }
    one = Scored(ground, tmp_path / "spark", CASES["tree"], {"kind": "spark"}, **attributes)
    (key,) = one.plan.partitioning.keys()
    one.run([key])
    found = ground.query("SELECT CAST(who AS VARCHAR), small FROM scored ORDER BY small")
    assert found == [(str(who), 250 + number) for number, who in enumerate(ids)]
    logged = ground.pool.scoring_log(one.spec.scoring)[key]
    assert logged.fingerprint.changed == "1969-12-31T23:59:59.000005"
    assert leftovers(ground) == []


def test_a_time_of_another_writer_is_cut_to_the_microsecond_in_any_year(tmp_path: Path) -> None:
    """As CETAS writes it: INT96, beyond what 64 bits of nanoseconds hold; a server's own driver cuts it alike."""
    late = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
    (tmp_path / "in").mkdir()
    early = pa.array([-1], pa.timestamp("ns"))
    pq.write_table(pa.table({"t": early}), tmp_path / "in" / "early.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(
        pa.table({"t": pa.array([late], pa.timestamp("us"))}), tmp_path / "in" / "late.parquet",
        use_deprecated_int96_timestamps=True,
    )  # fmt: skip
    parts = ParquetParts({"features": str(tmp_path / "in"), "predictions": str(tmp_path / "out")})
    read = [
        batch.column(0).to_pylist()
        for name in ("early", "late")
        for batch in parts.read({"file": f"{name}.parquet", "groups": [0, 1]}, ["t"], 10)
    ]
    assert read == [[datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)], [late]]


def test_an_order_holds_no_secret(ground: ImitatedGround, scored: Make, cluster: Cluster) -> None:
    ground.store("rows", rows(gaps=False))
    scored(CASES["tree"]).run(["p"])
    (order,) = cluster.orders
    assert "Secret_1" not in order
    assert len(json.loads(order)["parts"]) >= 1
