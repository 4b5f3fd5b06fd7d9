"""What the pool adds to its drivers on a server: rows out, and rows in, beside the driver alone.

Runs against the server that ONNX_PIPELINE_TEST_MSSQL names, in a database of its own. Ratios are to the bare driver in
the same run: `arrow_reader` and `bulkcopy_arrow` of mssql-python, `fetchall` and `fast_executemany` of pyodbc.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from benchmarks.server_setting import DATABASE_VARIABLE, VARIABLE, address, make_source, new_database
from benchmarks.setting import LeftOut

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_SIZES = {"mssqlpython": (100_000, 1_000_000), "pyodbc": (10_000, 50_000)}
"""Rows per driver: pyodbc sends some 10,000 rows a second."""
_NAMES = {"mssqlpython": ("arrow_reader", "bulkcopy_arrow"), "pyodbc": ("fetchall", "fast_executemany")}
_PHASES = ("prepare", "bulk copy", "checksum", "swap", "leave")


@dataclass(frozen=True)
class Measurement:
    """One path at one size: the best of the rounds, for the whole and for each phase by itself."""

    direction: str
    driver: str
    path: str
    rows: int
    seconds: float
    ratio_to_driver: float
    cpu_seconds: float
    """Of this process, without the server's; far less disturbed by what a machine does besides."""
    cpu_ratio: float
    bulk_copy_ratio: float | None
    phases: dict[str, float]
    peak_rss_mb: float


def measure(rounds: int, console: Console) -> tuple[list[dict[str, Any]], Group]:
    """Seconds, ratio to the bare driver and peak memory of every path, at two sizes each; LeftOut without a server."""
    if not os.environ.get(VARIABLE):
        raise LeftOut(f"{VARIABLE} names no server; set it to mssql+mssqlpython://login:password@server:1433/database")
    measured = []
    with new_database() as name:
        for rows in sorted({rows for sizes in _SIZES.values() for rows in sizes}):
            make_source(address(name), rows)
        for driver, sizes in _SIZES.items():
            for rows in sizes:
                for direction in ("out", "in"):
                    measured += _measure_pair(direction, driver, rows, name, rounds, console)
    return [asdict(row) for row in measured], Group(*_tables(measured))


def _measure_pair(
    direction: str, driver: str, rows: int, name: str, rounds: int, console: Console
) -> list[Measurement]:
    """Driver and pool take turns."""
    best: dict[str, dict[str, Any]] = {}
    for turn in range(rounds):
        for who in ("driver", "pool"):
            console.print(f"{rows:>12,} rows {direction}, {driver}, {who}, round {turn + 1}", style="dim")
            found = _child(f"{direction} {who}", driver, rows, name)
            best[who] = _better(best.get(who, found), found)
    bare = best["driver"]
    copied = bare["phases"].get("bulk copy")
    return [
        Measurement(
            direction=direction,
            driver=driver,
            path=_NAMES[driver][direction == "in"] if who == "driver" else "pool",
            rows=rows,
            seconds=round(found["seconds"], 3),
            ratio_to_driver=round(found["seconds"] / bare["seconds"], 3),
            cpu_seconds=round(found["cpu_seconds"], 3),
            cpu_ratio=round(found["cpu_seconds"] / bare["cpu_seconds"], 3),
            bulk_copy_ratio=round(found["phases"]["bulk copy"] / copied, 3) if copied else None,
            phases={name: round(seconds, 3) for name, seconds in found["phases"].items()},
            peak_rss_mb=round(found["peak_rss_mb"], 1),
        )
        for who, found in best.items()
    ]


def _better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The smaller of every number: what a machine does besides can only make a run slower."""
    return {
        **{name: min(one[name], other[name]) for name in ("seconds", "cpu_seconds", "peak_rss_mb")},
        "phases": {name: min(seconds, other["phases"][name]) for name, seconds in one["phases"].items()},
    }


def _child(path: str, driver: str, rows: int, name: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.server_paths", path, driver, str(rows)]
    environment = {**os.environ, DATABASE_VARIABLE: name}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} by {driver} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _tables(measured: list[Measurement]) -> list[Table]:
    """Everything beside the driver alone, and the phases of what goes in."""
    whole = Table(title="28 REAL columns and a key, between this process and a server")
    for heading in ("direction", "driver", "path"):
        whole.add_column(heading)
    for heading in ("rows", "seconds", "rows/s", "ratio to driver", "CPU s", "its ratio", "peak MB"):
        whole.add_column(heading, justify="right")
    phases = Table(title="Rows in, seconds by phase")
    for heading in ("driver", "path"):
        phases.add_column(heading)
    for heading in ("rows", "prepare", "bulk copy", "its ratio to driver", "checksum", "swap", "leave"):
        phases.add_column(heading, justify="right")
    for row in measured:
        whole.add_row(
            row.direction, row.driver, row.path, f"{row.rows:,}", f"{row.seconds:.3f}",
            f"{row.rows / row.seconds:,.0f}", f"{row.ratio_to_driver:.2f}", f"{row.cpu_seconds:.3f}",
            f"{row.cpu_ratio:.2f}", f"{row.peak_rss_mb:.0f}",
        )  # fmt: skip
        if row.bulk_copy_ratio is not None:
            seconds = [f"{row.phases[name]:.3f}" if name in row.phases else "" for name in _PHASES]
            seconds.insert(2, f"{row.bulk_copy_ratio:.2f}")
            phases.add_row(row.driver, row.path, f"{row.rows:,}", *seconds)
    return [whole, phases]
