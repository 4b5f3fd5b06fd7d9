"""One engine that scores whenever it is told to: `python -m benchmarks.spark_run <engine> <pool> <model> <folder>`.

Each line of the input is answered with seconds and the peak memory of this process. The folder is for staging.
"""

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.data_path import score
from benchmarks.memory import PeakMemory
from onnx_pipeline.pools import open_pool
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec


def main() -> None:
    kind, pool_file, model, folder = sys.argv[1:5]
    spec = ScoringSpec.model_validate(
        {"name": kind, "onnx": model, "source": "encounters", "key": ["encounter_id"], "target": f"scored_by_{kind}"}
        | {"engine": {"kind": kind}}
    )
    pool, staging = open_pool(f"duckdb:///{pool_file}"), Staging(Path(folder))
    for _ in sys.stdin:
        with PeakMemory() as memory, redirect_stdout(sys.stderr):
            started = time.perf_counter()
            score(spec, pool, staging, Path(model))
            seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "peak_rss_mb": memory.megabytes}), flush=True)


if __name__ == "__main__":
    main()
