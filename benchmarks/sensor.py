"""A tick of the new-rows sensor over years of hours: what is pending, by one grouped query."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
from rich.table import Table

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools import open_pool
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.scoring.settings import settings_of
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.source import SourceSpec

__all__ = ["measure"]

_PARTITIONS = ((10_000, "2025-01-01"), (57_000, "2020-05-01"))
"""How many hours, and since when."""
_ROWS = 3_000_000
_TICKS = 3
_STATISTICS = json.dumps({"score": {"counts": [100] * 20, "edges": [0.05 * edge for edge in range(21)], "rows": 300}})
"""As long as those of one column of predictions."""


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds of a tick in which everything is pending, and of one in which nothing is."""
    results = [result for partitions, start in _PARTITIONS for result in _ticks(partitions, start)]
    table = Table("", "partitions", "pending", "seconds", "the first", title="A tick of the new-rows sensor")
    for row in results:
        table.add_row(
            row["state"],
            f"{row['partitions']:,}",
            f"{row['pending']:,}",
            f"{row['seconds']:.3f}",
            f"{row['first']:.3f}",
        )
    return results, table


def _ticks(partitions: int, start: str) -> list[dict[str, Any]]:
    spec = ScoringSpec(
        name="bench",
        onnx="model.onnx",
        source=SourceSpec(table="events", changed="changed"),
        key=["id"],
        target="predictions",
        partitions=PartitionSpec(column="moment", every="hour", start=start),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                f"CREATE TABLE events AS SELECT i AS id, TIMESTAMP '{start}' "
                f"+ INTERVAL (i * {partitions} * 3600 // {_ROWS}) SECOND AS moment, moment AS changed "
                f"FROM range({_ROWS}) AS r(i)"
            ).fetchall()
            statement = (Path(__file__).parent.parent / "sql" / "duckdb" / "onnx_scoring_log.sql").read_text()
            connection.execute(statement).fetchall()
            connection.execute("CREATE TABLE predictions (id BIGINT)").fetchall()
        pool = open_pool(f"duckdb:///{path}")
        source = pool.source(spec)
        results = []
        for state in ("all pending", "none pending"):
            ticks = []
            for _ in range(_TICKS):
                started = time.perf_counter()
                found = pending(spec, pool, partitioning(spec), "0" * 64)
                ticks.append(time.perf_counter() - started)
            results.append(
                {
                    "state": state,
                    "partitions": partitions,
                    "pending": len(found),
                    "seconds": min(ticks),
                    "first": ticks[0],
                }
            )
            with duckdb.connect(str(path)) as connection:
                connection.execute(
                    "INSERT INTO onnx_scoring_log (scoring, partition_key, model_sha256, rows, source_rows, "
                    "source_changed, seconds, run_id, scored_at, statistics, target, settings, partitions) "
                    "SELECT 'bench', "
                    "strftime(time_bucket(INTERVAL 1 HOUR, moment), '%Y-%m-%d-%H:%M'), "
                    "repeat('0', 64), count(*), count(*), strftime(max(changed), '%Y-%m-%dT%H:%M:%S'), 1.0, 'run', "
                    "TIMESTAMP '2026-01-01', ?, 'main.predictions', ?, ? FROM events GROUP BY ALL",
                    [_STATISTICS, settings_of(spec, source, None), partitioning(spec).way(source)],
                ).fetchall()
    return results
