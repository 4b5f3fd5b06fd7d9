"""`make bench`: every path on the same rows, one after the other, each in a process of its own.

Within a size and model the paths take turns, and the best of the rounds counts: what a machine does besides can only
make a run slower. Ratios are to the floor of the same run.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from benchmarks import compiled, engines, extension, load, partitions, remote, sensor, server, serving, spark
from benchmarks.setting import (
    MODELS,
    LeftOut,
    environment_of,
    make_models,
    make_pool,
    write_empty_project,
    write_project,
)
from benchmarks.turns import best_of, in_turns
from onnx_pipeline.cli.terminal import terminal

_RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parent.parent
_FEW_ROWS = 100_000
_ROUNDS = 3
_PARTS: dict[str, Callable[[], tuple[list[dict[str, Any]], RenderableType]]] = {
    "partitions": partitions.measure,
    "sensor": sensor.measure,
    "load": load.measure,
    "remote": remote.measure,
    "serving": serving.measure,
    "extension": extension.measure,
}


@dataclass(frozen=True)
class Measurement:
    """One path on one size and model."""

    rows: int
    model: str
    path: str
    seconds: float
    ratio_to_floor: float
    peak_rss_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 3_000_000])
    parser.add_argument(
        "--full",
        action="store_true",
        help="30 million rows too, and 300,000 to compare memory with; of the part `spark`, 100 million",
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--only", choices=["scoring", *_PARTS, "engines", "compiled", "server", "spark"])
    parser.add_argument(
        "--mean-of", type=int, default=5, help="runs that the parts `engines` and `compiled` take the mean of"
    )
    parser.add_argument("--models", nargs="+", default=[], help="models of the part `compiled`, by their names; all")
    parser.add_argument("--spark-rows", type=int, nargs="+", help="sizes of the part `spark`: 1 and 10 million")
    options = parser.parse_args()
    sizes = sorted({*options.rows, *([300_000, 30_000_000] if options.full else [])})
    _RESULTS.mkdir(exist_ok=True)
    console = terminal()
    if options.only in (None, "scoring"):
        measured = [found for rows in sizes for found in _measure_size(rows, options.rounds, console)]
        _save("scoring", [asdict(found) for found in measured])
        console.print(_table(measured))
    parts = {
        **_PARTS,
        "engines": lambda: engines.measure(options.rows, options.mean_of),
        "compiled": lambda: compiled.measure(options.rows, options.mean_of, options.models),
        "server": lambda: server.measure(options.rounds, console),
        "spark": lambda: spark.measure(options.spark_rows, options.rounds, full=options.full),
    }
    for name, measure in parts.items():
        if options.only in (None, name):
            try:
                found, shown = measure()
            except LeftOut as reason:
                if options.only:
                    raise SystemExit(f"{name}: {reason}") from reason
                console.print(f"{name}: left out; {reason}")
                continue
            _save(name, found)
            console.print(shown)


def _save(name: str, results: Sequence[dict[str, Any]]) -> None:
    about = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    (_RESULTS / f"{name}.json").write_text(json.dumps({**about, "results": list(results)}, indent=1) + "\n")


def _measure_size(rows: int, rounds: int, console: Console) -> list[Measurement]:
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_pool(base / "source.duckdb", rows)
        models = make_models(base)
        for name in MODELS:
            ways = {
                path: lambda run=run, name=name: _fresh(base, lambda home: run(home, models[name]))
                for path, run in _paths(rows, name).items()
            }
            found_by = in_turns(
                ways, _rounds(rows, rounds),
                say=lambda turn, name=name: console.print(f"{rows:>12,} rows, {name}, {turn}", style="dim"),
            )  # fmt: skip
            best = best_of(found_by)
            floor = best["floor"]["seconds"]
            for path, found in best.items():
                ratio = round(found["seconds"] / floor, 3)
                peak = round(found["peak_rss_mb"], 1)
                measured.append(Measurement(rows, name, path, round(found["seconds"], 3), ratio, peak))
    return measured


def _rounds(rows: int, rounds: int) -> int:
    """More of them where a path takes tenths of a second, which is what a machine does besides."""
    if rows > 3_000_000:
        return 1
    return 3 * rounds if rows <= _FEW_ROWS else rounds


def _paths(rows: int, model: str) -> dict[str, Callable[[Path, Path], dict[str, float]]]:
    paths: dict[str, Callable[[Path, Path], dict[str, float]]] = {
        "floor": lambda home, model: _child("floor", home, model),
        "assets": lambda home, model: _child("assets", home, model),
        "command": _scoring,
    }
    if rows <= _FEW_ROWS:
        paths["empty job"] = _empty_job
    if rows <= _FEW_ROWS and model == MODELS[0]:
        paths["recipe"] = lambda home, model: _child("recipe", home, model)
    return paths


def _fresh(base: Path, run: Callable[[Path], dict[str, float]]) -> dict[str, float]:
    """Run on a copy of the pool that nothing was written to yet."""
    home = base / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copy(base / "source.duckdb", home / "pool.duckdb")
    return run(home)


def _child(path: str, home: Path, model: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.paths", path, str(home / "pool.duckdb"), str(model)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": found["seconds"], "peak_rss_mb": found["peak_rss_mb"]}


def _scoring(home: Path, model: Path) -> dict[str, float]:
    write_project(home, model)
    return _command(home)


def _empty_job(home: Path, _: Path) -> dict[str, float]:
    write_empty_project(home)
    return _command(home)


def _command(home: Path) -> dict[str, float]:
    """`dagster job execute` as a person runs it, start-up and all, on an instance that has history already."""
    shutil.copy(_ROOT / "dagster.yaml", home / "dagster.yaml")
    environment = environment_of(home)
    dagster = [sys.executable, "-m", "dagster"]
    subprocess.run([*dagster, "run", "list"], cwd=home, env=environment, check=True, capture_output=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        [*dagster, "job", "execute", "-m", "bench_project.definitions", "-j", "bench"],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(home / "log").open("wb"),
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _anonymous_of(process.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"the command failed:\n{(home / 'log').read_text()[-4000:]}")
    return {"seconds": seconds, "peak_rss_mb": peak}


def _anonymous_of(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        # Not Linux, or the process has just ended.
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)


def _table(measured: Sequence[Measurement]) -> Table:
    table = Table(title="Scoring a table of encounters (27 features) in DuckDB")
    for heading in ("rows", "model", "path", "seconds", "rows/s", "ratio to floor", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("model", "path") else "right")
    for found in measured:
        table.add_row(
            f"{found.rows:,}", found.model, found.path, f"{found.seconds:.3f}", f"{found.rows / found.seconds:,.0f}",
            f"{found.ratio_to_floor:.2f}", f"{found.peak_rss_mb:.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
