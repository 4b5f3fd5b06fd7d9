"""The engine `spark` on `local[2]`: end to end beside `onnxruntime`, and its tasks beside what else scores in Spark.

End to end each engine has a process that stays, with one Spark session for all of its runs, and its memory is that
process' own: the JVM and its Python workers are the cluster's. The scoring part alone, from Parquet to Parquet, runs in
an environment that has MLflow, which pins older packages: all of its ways share one session there. In both, ways take
turns and the best of the rounds counts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.environments import python_with
from benchmarks.setting import MODELS, LeftOut, make_models, make_pool
from benchmarks.turns import best_of, in_turns

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_MASTER = "local[2]"
_END_TO_END = ("onnxruntime", "spark")
_SIZES = (1_000_000, 10_000_000)
_FULL = 100_000_000
_PEER = ["mlflow-skinny==3.17.2", "-e", f"{_ROOT}[spark]"]
_ANCHOR = "mlflow spark_udf"


def measure(sizes: Sequence[int] | None, rounds: int, *, full: bool) -> tuple[list[dict[str, Any]], Table]:
    """Seconds and rows per second of each way, and its ratio to the part's anchor: `onnxruntime`, or `spark_udf`."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise LeftOut("Spark needs Java 17 or newer (Debian 12: apt-get install openjdk-17-jre-headless)")
    found: list[dict[str, Any]] = []
    for rows in sizes or (*_SIZES, *([_FULL] if full else [])):
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            model = make_models(base)[MODELS[0]]
            make_pool(base / "pool.duckdb", rows)
            # Of the largest size one round takes minutes.
            turns = 1 if rows >= _FULL else rounds
            found += _compared("end to end", rows, "onnxruntime", _end_to_end(base, model, turns))
            found += _compared("scoring", rows, _ANCHOR, _scoring(base, model, turns))
    table = Table("rows", "part", "way", "seconds", "rows/s", "ratio", "peak MB", title=f"Spark, {_MASTER}")
    for row in found:
        peak = f"{row['peak_rss_mb']:.0f}" if "peak_rss_mb" in row else ""
        speed = f"{row['rows'] / row['seconds']:,.0f}"
        table.add_row(
            f"{row['rows']:,}", row["part"], row["way"], f"{row['seconds']:.2f}", speed, f"{row['ratio']:.2f}", peak
        )
    return found, table


def _compared(
    part: str, rows: int, anchor: str, found: Mapping[str, Sequence[Mapping[str, float]]]
) -> list[dict[str, Any]]:
    best = best_of(found)
    return [
        {"part": part, "rows": rows, "way": way, "seconds": round(one["seconds"], 3)}
        | ({"peak_rss_mb": round(one["peak_rss_mb"], 1)} if "peak_rss_mb" in one else {})
        | {"ratio": round(one["seconds"] / best[anchor]["seconds"], 3)}
        for way, one in best.items()
    ]


def _end_to_end(base: Path, model: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    with ExitStack() as stack:
        runs = {}
        for kind in _END_TO_END:
            (base / kind).mkdir()
            command = ["benchmarks.spark_run", kind, str(base / "pool.duckdb"), str(model), str(base / kind)]
            runs[kind] = stack.enter_context(_told([sys.executable, "-W", "ignore", "-m", *command]))
            runs[kind]()  # the session starts, and the model is looked at
        return in_turns(runs, rounds)


def _scoring(base: Path, model: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    python = python_with("mlflow", _PEER)
    with _told([python, "-W", "ignore", "-m", "benchmarks.peers.by_spark_udf", str(base), str(model)]) as run:
        ways = {
            way: lambda way=way: run(way)  # type: ignore[misc]
            for way in (_ANCHOR, "mapInPandas", "mapInArrow", "spark")
        }
        for first in ways.values():
            first()  # Python workers start
        return in_turns(ways, rounds)


@contextmanager
def _told(command: Sequence[str]) -> Iterator[Callable[..., dict[str, float]]]:
    """A process that answers each line with one of JSON, until its input ends."""
    environment = {**os.environ, "ONNX_PIPELINE_SPARK": _MASTER, "SPARK_LOCAL_IP": "127.0.0.1"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        assert process.stdin is not None
        assert process.stdout is not None
        given, taken = process.stdin, process.stdout

        def run(way: str = "") -> dict[str, float]:
            print(way, file=given, flush=True)
            for line in taken:
                if line.startswith("{"):
                    answer: dict[str, float] = json.loads(line)
                    return answer
            log.seek(0)
            raise LeftOut(f"{' '.join(command[3:5])} ended: {log.read()[-2000:]}")

        try:
            yield run
        finally:
            given.close()
            taken.close()
            process.wait()
