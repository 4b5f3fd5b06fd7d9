"""Every engine that runs on this machine, end to end: from rows of the pool to loaded predictions, without Dagster.

The comparison that Microsoft published for its three ways: a decision tree and a logistic regression, the mean of five
runs, as ratios to the fastest. Within a size and model the engines take turns. The service of `remote` shares the
machine's cores with its client. The engines of Synapse and SQL Server need their servers: the part `extension` measures
what of them runs here.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from benchmarks.data_path import score
from benchmarks.remote import service
from benchmarks.setting import MODELS, make_models, make_pool
from benchmarks.turns import in_turns, timed
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["measure"]

_ENGINES = ("onnxruntime", "sql", "remote")


def measure(sizes: Sequence[int], mean_of: int) -> tuple[list[dict[str, Any]], Table]:
    """Mean seconds per engine, by the clock and of this process' CPU, and the ratio to the fastest by the clock."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        models = make_models(base)
        served = {name: base / f"{path.stem}.onnx" for name, path in models.items()}
        for name, path in models.items():
            if path != served[name]:
                shutil.copyfile(path, served[name])
        with service(base) as url:
            for rows in sizes:
                home = base / str(rows)
                home.mkdir()
                make_pool(home / "pool.duckdb", rows)
                pool = open_pool(f"duckdb:///{home}/pool.duckdb")
                for name in MODELS:
                    results += _measured(pool, Staging(home / "staging"), rows, name, served[name], url, mean_of)
    table = Table("rows", "model", "engine", "seconds", "CPU", "ratio to the fastest", title="Engines, end to end")
    for row in results:
        table.add_row(
            f"{row['rows']:,}", row["model"], row["engine"], f"{row['seconds']:.3f}", f"{row['cpu']:.3f}",
            f"{row['ratio']:.2f}",
        )  # fmt: skip
    return results, table


def _measured(
    pool: Pool, staging: Staging, rows: int, name: str, model: Path, url: str, mean_of: int
) -> list[dict[str, Any]]:
    options: Mapping[str, Mapping[str, Any]] = {"remote": {"url": f"{url}/models/{model.stem}/score"}}
    ways = {kind: _scoring(pool, staging, model, {"kind": kind, **options.get(kind, {})}) for kind in _ENGINES}
    for run in ways.values():
        run()  # what is made once, a look at the model for one, is nobody's
    means = {
        kind: [fmean(values) for values in zip(*found, strict=True)] for kind, found in in_turns(ways, mean_of).items()
    }
    fastest = min(seconds for seconds, _ in means.values())
    return [
        {"rows": rows, "model": name, "engine": kind, "seconds": round(seconds, 4), "cpu": round(cpu, 4),
         "ratio": round(seconds / fastest, 2)}
        for kind, (seconds, cpu) in means.items()
    ]  # fmt: skip


def _scoring(pool: Pool, staging: Staging, model: Path, engine: Mapping[str, Any]) -> Callable[[], tuple[float, float]]:
    spec = ScoringSpec.model_validate(
        {"name": model.stem, "onnx": str(model), "source": "encounters", "key": ["encounter_id"]}
        | {"target": f"scored_{model.stem}", "engine": engine}
    )

    return lambda: timed(lambda: score(spec, pool, staging, model))
