"""What a range of partitions costs on top of one partition, beside what Dagster alone takes for the same events.

On each storage that Dagster keeps them in: SQLite, as `dagster.yaml` has it, and Postgres, where a server is installed.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from benchmarks.postgres import running_postgres
from benchmarks.setting import MODELS, LeftOut, environment_of, make_models, make_pool, write_project

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_DAYS = 100
_ROWS_PER_DAY = 1000
_ROUNDS = 3

_TRIVIAL = """
import typing
import dagster as dg
PARTITIONS = dg.DailyPartitionsDefinition("2026-01-01")
POLICY = dg.BackfillPolicy.single_run()
def trivial(name, deps, checks, partitioned=True):
    specs = [dg.AssetCheckSpec(check, asset=name) for check in checks]
    @dg.asset(name=name, deps=deps, check_specs=specs, partitions_def=PARTITIONS if partitioned else None,
              backfill_policy=POLICY if partitioned else None)
    def made(context: dg.AssetExecutionContext) -> typing.Iterator[dg.MaterializeResult]:
        keys = context.partition_keys if partitioned else [None]
        for key in keys:
            for check in checks:
                yield dg.AssetCheckEvaluation(asset_key=dg.AssetKey(name), check_name=check, passed=True,
                    metadata={}, partition=key)
        yield dg.MaterializeResult()
        for output in context.op_def.output_dict:
            if output != "result":
                yield dg.Output(None, output_name=output)
    return made
defs = dg.Definitions(
    assets=[trivial("model", [], ["signature"], False), trivial("features", ["model"], ["null_rate"]),
            trivial("predictions", ["features"], ["missing", "distribution"]),
            trivial("pool_predictions", ["predictions"], ["row_count"])],
    jobs=[dg.define_asset_job("bench")], executor=dg.in_process_executor)
"""


_POSTGRES = {"username": "dagster", "password": "of-a-measurement", "db_name": "dagster", "hostname": "127.0.0.1"}


def _run(home: Path, module: str, last: str) -> float:
    # This checkout, wherever the package is installed from.
    environment = environment_of(home) | {"PYTHONPATH": os.pathsep.join([str(home), str(_ROOT)])}
    tags = f'{{"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "{last}"}}'
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", "bench", "--tags", tags]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return time.perf_counter() - started


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds of one partition and of a hundred, for this project and for four assets that do nothing, by storage."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        # For the user that Postgres runs as.
        base.chmod(0o755)
        results = _measure(base / "sqlite", "SQLite", {})
        try:
            (base / "postgres").mkdir()
            names = {"user": _POSTGRES["username"], "password": _POSTGRES["password"], "database": _POSTGRES["db_name"]}
            with running_postgres(base / "postgres", **names) as port:
                storage = {"postgres": {"postgres_db": {**_POSTGRES, "port": port, "scheme": "postgresql+psycopg2"}}}
                results += _measure(base / "on_postgres", "Postgres", {"storage": storage})
        except LeftOut as reason:
            results.append({"storage": "Postgres", "left_out": str(reason)})
    load = max(found.get("load", 0.0) for found in results)
    about = "three partitioned assets, four checks each"
    title = f"A range of {_DAYS} partitions, {about}; the machine's load was up to {load:.1f}"
    table = Table(title=title)
    for heading in ("storage", "", "1 partition, s", f"{_DAYS} partitions, s", "ms per asset and partition", "ratio"):
        table.add_column(heading, justify="right")
    for found in results:
        if "left_out" in found:
            table.add_row(found["storage"], found["left_out"])
            continue
        cells = (found["one_partition_s"], found["all_s"], found["ms_per_asset_partition"], found["ratio"])
        table.add_row(found["storage"], found["what"], *(f"{cell:.2f}" for cell in cells))
    return results, table


def _measure(home: Path, storage: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    home.mkdir()
    make_pool(home / "pool.duckdb", _DAYS * _ROWS_PER_DAY, days=_DAYS)
    write_project(home, make_models(home)[MODELS[0]], partitioned=True)
    instance = yaml.safe_load((_ROOT / "dagster.yaml").read_text())
    (home / "dagster.yaml").write_text(yaml.safe_dump({**instance, **settings}))
    (home / "trivial.py").write_text(_TRIVIAL)
    paths = {"Dagster alone": "trivial", "onnx_pipeline": "bench_project.definitions"}
    seconds: dict[tuple[str, str], list[float]] = {}
    for module in paths.values():
        _run(home, module, "2026-01-01")
    # In turns, so that what else the machine does meets all of them.
    load = 0.0
    for _ in range(_ROUNDS):
        for name, module in paths.items():
            for last in ("2026-01-01", "2026-04-10"):
                seconds.setdefault((name, last), []).append(_run(home, module, last))
                load = max(load, os.getloadavg()[0])
    results = []
    for name in paths:
        one, many = min(seconds[name, "2026-01-01"]), min(seconds[name, "2026-04-10"])
        each = (many - one) / (_DAYS - 1) / 3 * 1000
        found = {"storage": storage, "what": name, "one_partition_s": one, "partitions": _DAYS, "all_s": many}
        ratio = each / results[0]["ms_per_asset_partition"] if results else 1.0
        results.append({**found, "ms_per_asset_partition": each, "ratio": ratio, "load": load})
    return results
