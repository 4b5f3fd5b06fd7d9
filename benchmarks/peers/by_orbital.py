"""orbital's SQL of what it can compile: `python -m benchmarks.peers.by_orbital <folder> [models]`, in its environment.

The estimators are trained here once more, with the same seeds, so nothing is unpickled.
"""

import json
import sys
import time
from pathlib import Path

import orbital
from sklearn.pipeline import Pipeline

from benchmarks.estimators import TEXTS, estimators


def main() -> None:
    folder = Path(sys.argv[1])
    sys.setrecursionlimit(100_000)
    for place, (name, (estimator, columns)) in enumerate(estimators(sys.argv[2:]).items()):
        types = {
            column: orbital.types.StringColumnType() if column in TEXTS else orbital.types.FloatColumnType()
            for column in columns
        }
        pipeline = estimator if isinstance(estimator, Pipeline) else Pipeline([("model", estimator)])
        started = time.perf_counter()
        try:
            parsed = orbital.parse_pipeline(pipeline, features=types)
            statement, refused = orbital.export_sql("t", parsed, dialect="duckdb"), None
        except Exception as error:  # noqa: BLE001 - what it raises for a model that it cannot compile is of many types
            statement, refused = None, f"{type(error).__name__}: {error}"[:300]
        found = {"model": name, "sql": statement, "refused": refused, "compiling": time.perf_counter() - started}
        (folder / f"{place}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
