"""The engine `remote` beside the one in this process: a service on loopback shares the machine's cores with its client.

From staged features to staged predictions, as the asset does it. The recipe by hand, for the same rows, also reads them
and writes its table. Within a size the paths take turns, and the best of the rounds counts.

The tree reads 18 of its 27 columns, and the engine in this process reads no others: with all of them sent, that is not
the same work. The regression reads every column.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rich.table import Table

from benchmarks.setting import MODELS, TARGET, make_models, make_pool
from benchmarks.turns import best_of, in_turns
from onnx_pipeline.engines import open_engine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools import open_pool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["measure", "service"]

_ROOT = Path(__file__).parent.parent
_ROWS = 1_000_000
_JSON_ROWS = 100_000
_ROUNDS = 5
_IN_PROCESS = "in this process"
_RECIPE = "recipe by hand"
_READ_ALONE = "arrow, columns read"
_WIRES = ("records", "data", "input_data", "v2")


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds of each engine and wire, and their ratio to the engine in this process on the same rows."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        models = make_models(base)
        for name, wires in zip(MODELS, ((_READ_ALONE, *_WIRES), ()), strict=True):
            model = models[name]
            with service(model.parent) as url:
                large = _sized(base / name, model, url, _ROWS, ("arrow", *wires[:1]))
                small = _sized(base / name, model, url, _JSON_ROWS, ("arrow", *wires), recipe=bool(wires))
            results += [{"model": name, **row} for row in large + small]
    table = Table(
        "model", "rows", "engine", "seconds", "rows/s", "ratio", "MB sent", title="A scoring service on loopback"
    )
    for row in results:
        sent = f"{row['bytes_sent'] / 1e6:.0f}" if row["bytes_sent"] else ""
        speed, ratio = row["rows"] / row["seconds"], row["ratio_to_in_process"]
        table.add_row(
            row["model"],
            f"{row['rows']:,}",
            row["engine"],
            f"{row['seconds']:.3f}",
            f"{speed:,.0f}",
            f"{ratio:.2f}",
            sent,
        )
    return results, table


@contextmanager
def service(models: Path) -> Iterator[str]:
    """Our service over a folder of models, with its defaults, once it is ready."""
    code = "from onnx_pipeline.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--models", str(models), "--port", "0", "--no-access-log"]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        url = str(json.loads(process.stdout.readline())["url"])
        while not _ready(url):
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.communicate()


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz") as answer:
            return bool(answer.status == 200)
    except OSError:
        # It answers 503 while a model loads.
        return False


def _sized(
    base: Path, model: Path, url: str, rows: int, wires: tuple[str, ...], *, recipe: bool = False
) -> list[dict[str, Any]]:
    home = base / str(rows)
    home.mkdir(parents=True)
    make_pool(home / "pool.duckdb", rows)
    pool = open_pool(f"duckdb:///{home}/pool.duckdb")
    paths: dict[str, Callable[[], dict[str, float]]] = {_IN_PROCESS: _engine(model, pool, home / _IN_PROCESS, {})}
    for name in wires:
        wire = "arrow" if name == _READ_ALONE else name
        path = f"/v2/models/{model.stem}/infer" if wire == "v2" else f"/models/{model.stem}/score"
        engine = {"kind": "remote", "url": f"{url}{path}", "wire": wire, "skip_unread": name == _READ_ALONE}
        paths[f"remote, {name}"] = _engine(model, pool, home / name, engine)
    found_by = in_turns(paths, _ROUNDS)
    if recipe:
        # Once: it takes longer than all the others together.
        found_by[_RECIPE] = [_recipe(home / "pool.duckdb", model)]
    best = best_of(found_by)
    floor = best[_IN_PROCESS]["seconds"]
    return [
        {
            "rows": rows,
            "engine": name,
            "seconds": round(found["seconds"], 4),
            "ratio_to_in_process": round(found["seconds"] / floor, 3),
            "bytes_sent": int(found.get("bytes_sent", 0)),
        }
        for name, found in best.items()
    ]


def _engine(model: Path, pool: Any, folder: Path, engine: dict[str, Any]) -> Callable[[], dict[str, float]]:
    """Features staged for one engine are no other's."""
    staging = Staging(folder)
    spec = ScoringSpec.model_validate(
        {"name": "bench", "onnx": str(model), "source": "encounters", "key": ["encounter_id"], "target": TARGET}
        | {"engine": engine}
    )
    plan = ScoringPlan(spec, OnnxModel.load(model), pool.source(spec))
    (key,) = plan.partitioning.keys()
    list(extract(plan, pool, staging, [key], say=print))

    def run() -> dict[str, float]:
        with closing(open_engine(spec.engine, plan.task, RuntimeOptions(), print)) as opened:
            started = time.perf_counter()
            piece = predict(plan, opened, staging, key, say=print)
            seconds = time.perf_counter() - started
        return {"seconds": seconds, "bytes_sent": piece.engine.get("bytes_sent", 0)}

    return run


def _recipe(pool: Path, model: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.paths", "recipe", str(pool), str(model)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    return {"seconds": json.loads(done.stdout.splitlines()[-1])["seconds"]}
