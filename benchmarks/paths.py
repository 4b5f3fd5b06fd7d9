"""The measured paths, each in a process of its own: `python -m benchmarks.paths <path> <pool> <model>`.

Prints one JSON line: seconds without imports, rows, and peak memory in MB.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.memory import PeakMemory
from benchmarks.setting import TARGET

__all__ = ["main"]


def _floor() -> Callable[[Path, Path], int]:
    from benchmarks import floor

    return floor.run


def _assets() -> Callable[[Path, Path], int]:
    """The four assets' data path, with staging and checks' statistics, without Dagster."""
    import onnx_pipeline.engines.onnxruntime
    import onnx_pipeline.models.first_look
    import onnx_pipeline.models.stores
    import onnx_pipeline.pools.duckdb.pool  # noqa: F401 - late in a command, and imports all the same
    from benchmarks.data_path import score
    from onnx_pipeline.pools import open_pool
    from onnx_pipeline.scoring.staging import Staging
    from onnx_pipeline.spec.scoring import ScoringSpec

    def run(pool_path: Path, model_path: Path) -> int:
        spec = ScoringSpec(name="bench", onnx=str(model_path), source="encounters", key=["encounter_id"], target=TARGET)
        return score(spec, open_pool(f"duckdb:///{pool_path}"), Staging(pool_path.parent / "staging"), model_path)

    return run


def _recipe() -> Callable[[Path, Path], int]:
    from benchmarks import recipe

    return recipe.run


PATHS = {"floor": _floor, "assets": _assets, "recipe": _recipe}


def main() -> None:
    path, pool, model = sys.argv[1:4]
    run = PATHS[path]()
    # Dagster's modules are half a million objects. A command collects garbage among them while it loads, and not in the
    # run; here that would fall into the time.
    gc.freeze()
    with PeakMemory() as memory:
        started = time.perf_counter()
        rows = run(Path(pool), Path(model))
        seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "rows": rows, "peak_rss_mb": memory.megabytes}) + "\n")


if __name__ == "__main__":
    main()
