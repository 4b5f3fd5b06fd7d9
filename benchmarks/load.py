"""A project of 500 scorings: how long its definitions take, how much memory, and a tick of all its new-rows sensors.

Beside it stands Dagster alone: as many components, each with four assets that do nothing, a job and two sensors. Every
figure is of a process of its own, in seconds of a processor, so that what the machine does besides counts less.
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.load_project import Shape, make_project, make_trivial_project
from benchmarks.setting import environment_of
from benchmarks.turns import best_of, in_turns

__all__ = ["measure"]

_ROUNDS = 3

_LOADING = """
import importlib, json, resource, sys, time
begun = time.process_time()
import onnx_pipeline.component, dagster
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value
imported = time.process_time()
repository = importlib.import_module("bench_project.definitions").defs().get_repository_def()
loaded = time.process_time()
serialize_value(RepositorySnap.from_def(repository))
told = time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
found = {"import_s": imported - begun, "definitions_s": loaded - imported, "answer_s": told - loaded}
found["peak_rss_mb"] = peak
if len(sys.argv) > 1:
    import dagster as dg
    wall, begun, requests = time.perf_counter(), time.process_time(), 0
    with dg.DagsterInstance.ephemeral() as instance:
        for name in sorted(sensor.name for sensor in repository.sensor_defs if sensor.name.endswith("_new_rows")):
            with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
                requests += len(repository.get_sensor_def(name).evaluate_tick(context).run_requests or ())
    found |= {"tick_cpu_s": time.process_time() - begun, "tick_wall_s": time.perf_counter() - wall}
    found["requests"] = requests
print(json.dumps(found))
"""


def _in_a_process(home: Path, *arguments: str) -> dict[str, float]:
    environment = {**environment_of(home), "PYTHONPATH": f"{home}:{Path(__file__).parent.parent}"}
    command = [sys.executable, "-W", "ignore", "-c", _LOADING, *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(shape: Shape | None = None) -> tuple[list[dict[str, Any]], Table]:
    """Loading by this project and by Dagster alone, and a tick in which every slice is pending."""
    shape = shape or Shape()
    with tempfile.TemporaryDirectory() as folder:
        ours, alone = Path(folder) / "ours", Path(folder) / "alone"
        make_project(ours, shape)
        make_trivial_project(alone, shape)
        ways = {"Dagster alone": partial(_in_a_process, alone), "onnx_pipeline": partial(_in_a_process, ours)}
        best = best_of(in_turns(ways, _ROUNDS))
        ticked = _in_a_process(ours, "tick")
        best["onnx_pipeline"] |= {name: ticked[name] for name in ("tick_cpu_s", "tick_wall_s", "requests")}
        results: list[dict[str, Any]] = [
            {"what": what, "scorings": shape.scorings, **found} for what, found in best.items()
        ]
    table = Table(title=f"{shape.scorings} scorings, {shape.long} of them with {shape.partitions:,} partitions")
    headings = ("", "import", "definitions", "answer to the webserver", "ratio", "peak MB", "a tick of all, s")
    for heading in headings:
        table.add_column(heading, justify="right")
    whole = results[0]["definitions_s"] + results[0]["answer_s"]
    for found in results:
        ratio = (found["definitions_s"] + found["answer_s"]) / whole
        tick = f"{found['tick_wall_s']:.1f}" if "tick_wall_s" in found else ""
        seconds = (f"{found[name]:.1f}" for name in ("import_s", "definitions_s", "answer_s"))
        table.add_row(found["what"], *seconds, f"{ratio:.2f}", f"{found['peak_rss_mb']:.0f}", tick)
    return results, table
