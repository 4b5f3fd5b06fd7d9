"""Many runs at once through Dagster's daemon, its storage on Postgres, against one DuckDB pool.

`python -m benchmarks.load_runs`: starts a Postgres and a daemon of its own, switches the new-rows sensors of 50
scorings on, waits for their runs and counts what stands in the targets. Needs Debian's postgresql and dagster-postgres.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.load_project import Shape, make_project
from benchmarks.setting import LeftOut, environment_of

__all__ = ["measure_runs"]

_SETTINGS = """\
storage:
  postgres:
    postgres_url: {url}
concurrency:
  runs: {{max_concurrent_runs: {at_once}}}
  pools: {{granularity: op, default_limit: 4}}
telemetry: {{enabled: false}}
"""


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise LeftOut("there is no PostgreSQL: apt-get install --no-install-recommends postgresql")
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server of one's own, whose folder goes with it. PostgreSQL refuses to be run by root, and SQLAlchemy
    takes another driver than dagster-postgres where the URL names none.
    """
    binaries, port = _binaries(), _free_port()
    somebody = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="onnx-postgres-"))
    if somebody:
        shutil.chown(folder, "postgres")
    server = None
    try:
        subprocess.run(
            [*somebody, str(binaries / "initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", "dagster"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        server = subprocess.Popen(
            [*somebody, str(binaries / "postgres"), "-D", f"{folder}/data", "-p", str(port), "-k", str(folder),
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for _ in range(300):
            if not subprocess.run(
                [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)], capture_output=True, check=False
            ).returncode:
                break
            time.sleep(0.1)
        yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _daemon(home: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (home / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", "bench_project.definitions"],
            cwd=home, env=dict(environment), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield daemon
        finally:
            os.killpg(daemon.pid, signal.SIGTERM)
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)


def measure_runs(runs: int, at_once: int, *, patience: float = 1800) -> dict[str, Any]:
    """Seconds until `runs` runs, `at_once` of them at a time, have ended; what they waited; what stands then."""
    import dagster as dg

    with tempfile.TemporaryDirectory() as folder, postgres() as url:
        home = Path(folder)
        make_project(home, Shape(scorings=runs, long=0, rows_per_partition=100))
        (home / "dagster.yaml").write_text(_SETTINGS.format(url=url, at_once=at_once))
        environment = {**environment_of(home), "PYTHONPATH": f"{home}:{Path(__file__).parent.parent}"}
        switched = subprocess.run(
            [sys.executable, "-m", "dagster", "sensor", "start", "--start-all", "-m", "bench_project.definitions"],
            cwd=home, env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if switched.returncode:
            raise SystemExit(switched.stderr[-4000:])
        os.environ["DAGSTER_HOME"] = str(home)
        with dg.DagsterInstance.get() as instance, _daemon(home, environment) as daemon:
            started, most = time.monotonic(), 0
            records: list[Any] = []
            while time.monotonic() - started < patience and daemon.poll() is None:
                time.sleep(2)
                records = list(instance.get_run_records())
                most = max(most, sum(record.dagster_run.status.value == "STARTED" for record in records))
                scored = [record for record in records if not record.dagster_run.asset_selection]
                if len(scored) >= runs and all(record.dagster_run.is_finished for record in records):
                    break
            seconds = time.monotonic() - started
            ended = [record for record in records if record.end_time is not None]
            waits = [record.start_time - record.create_timestamp.timestamp() for record in ended if record.start_time]
            took = [record.end_time - record.start_time for record in ended if record.start_time]
            statuses: dict[str, int] = {}
            for record in records:
                status = record.dagster_run.status.value
                statuses[status] = statuses.get(status, 0) + 1
        return {
            "runs": runs, "at_once": at_once, "seconds": round(seconds, 1), "most_at_work": most, "statuses": statuses,
            "longest_wait_s": round(max(waits, default=0), 1), "median_run_s": round(statistics.median(took or [0]), 1),
            "longest_run_s": round(max(took, default=0), 1), **_counted(home / "pool.duckdb", runs),
        }  # fmt: skip


def _counted(pool: Path, runs: int) -> dict[str, int]:
    """Rows of the sources, those of them that the targets lack, and those that stand there more than once."""
    rows = lost = twice = 0
    with duckdb.connect(str(pool), read_only=True) as connection:
        made = {name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()}
        for number in range(runs):
            source, target = f"events_{number:03}", f"predictions_{number:03}"
            ((there,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
            rows += there
            if target not in made:
                lost += there
                continue
            ((missing,),) = connection.execute(
                f"SELECT count(*) FROM {source} WHERE id NOT IN (SELECT id FROM {target})"
            ).fetchall()
            ((surplus,),) = connection.execute(f"SELECT count(*) - count(DISTINCT id) FROM {target}").fetchall()
            lost, twice = lost + missing, twice + surplus
    return {"rows": rows, "lost": lost, "twice": twice}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    # Told to stop, it ends its server and its daemon too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    print(json.dumps(measure_runs(options.runs, options.at_once)))
