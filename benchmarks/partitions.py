"""What a range of partitions costs on top of one partition, beside what Dagster alone takes for the same events."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.setting import MODELS, environment_of, make_models, make_pool, write_project

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_DAYS = 100
_ROWS_PER_DAY = 1000

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


def _run(home: Path, module: str, last: str) -> float:
    environment = environment_of(home)
    tags = f'{{"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "{last}"}}'
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", "bench", "--tags", tags]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return time.perf_counter() - started


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds of one partition and of a hundred, for this project and for four assets that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_pool(home / "pool.duckdb", _DAYS * _ROWS_PER_DAY, days=_DAYS)
        write_project(home, make_models(home)[MODELS[0]], partitioned=True)
        shutil.copy(_ROOT / "dagster.yaml", home / "dagster.yaml")
        (home / "trivial.py").write_text(_TRIVIAL)
        results = []
        for name, module in (("Dagster alone", "trivial"), ("onnx_pipeline", "bench_project.definitions")):
            _run(home, module, "2026-01-01")
            one = min(_run(home, module, "2026-01-01") for _ in range(2))
            many = min(_run(home, module, "2026-04-10") for _ in range(2))
            each = (many - one) / (_DAYS - 1) / 3 * 1000
            found = {"what": name, "one_partition_s": one, "partitions": _DAYS, "all_s": many}
            results.append({**found, "ms_per_asset_partition": each})
    table = Table(title=f"A range of {_DAYS} partitions, three partitioned assets, four checks each")
    for heading in ("", "1 partition, s", f"{_DAYS} partitions, s", "ms per asset and partition", "ratio"):
        table.add_column(heading, justify="right")
    for found in results:
        ratio = found["ms_per_asset_partition"] / results[0]["ms_per_asset_partition"]
        cells = (found["one_partition_s"], found["all_s"], found["ms_per_asset_partition"], ratio)
        table.add_row(str(found["what"]), *(f"{cell:.2f}" for cell in cells))
    return results, table
