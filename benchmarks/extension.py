"""The external language against ONNX Runtime itself and against the Python route, one thread each, in one process.

- `Execute`: from SQL Server's column buffers to result columns, as exthost calls it. Columns are NOT NULL; or
  nullable, as SQL Server's are unless told otherwise, so that each value has its indicator; or nullable with one value
  in a hundred NULL.
- `fresh session`: the nullable columns from `InitSession` to `CleanupSession`, against making ONNX Runtime's session
  and running it.
- `sess.run`: ONNX Runtime alone, on a float matrix that lies ready, and its answers left as they are.
- `python`: what a script under `@language = N'Python'` does with the same columns: a DataFrame, its values as a float32
  matrix, `sess.run`, and a DataFrame of the answers.

Ensembles of many trees take ONNX Runtime microseconds a row, so they are given fewer rows and rounds.

Each runs on one thread, whose own processor time is what counts: what else a machine does at the time is not in it.
Rounds alternate, and the best of each counts. A session is from `InitSession` over one row to `CleanupSession`, beside
making ONNX Runtime's session from the same bytes and running one row.
"""

import ctypes
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
from rich.table import Table

from benchmarks.setting import LeftOut
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension
from onnx_pipeline_tests.extension.installed import install, missing

__all__ = ["measure"]

_ROWS = 1_000_000
_FEATURES = 28
_NULLS = 0.01
"""Of the values, where some are NULL."""
_ROUNDS = 7
_MANY_TREES = 100_000
"""Bytes of a model from which on it is one of many trees."""
_ROWS_OF_MANY = 50_000
_ROUNDS_OF_MANY = 3
_SESSIONS = 50


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds of each path and model, with ratios to `sess.run`; LeftOut where the extension was not built."""
    reason = missing()
    if reason is not None:
        raise LeftOut(f"{reason}, with CMake and a C++ compiler")
    matrix = np.random.default_rng(0).normal(size=(_ROWS, _FEATURES)).astype(np.float32)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        extension = Extension(install(Path(folder)), quiet=True)
        extension.init()
        for name, model in _models(matrix[:20_000]).items():
            many = len(model) > _MANY_TREES
            results += _scoring(extension, name, model, matrix[: _ROWS_OF_MANY if many else _ROWS],
                                _ROUNDS_OF_MANY if many else _ROUNDS)  # fmt: skip
            results.append(_starting(extension, name, model))
        extension.cleanup()
    return results, _table(results)


def _models(rows: np.ndarray[Any, Any]) -> dict[str, bytes]:
    """Trees, linear models behind imputer and scaler, and linear models alone, which are the least work there is."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    target = rows[:, 0] * 3 + np.abs(rows[:, 1]) + rows[:, 2] * rows[:, 3]
    tree = DecisionTreeRegressor(max_depth=8, random_state=0).fit(rows, target)
    label = (target > 1).astype(np.int64)
    octile = np.digitize(target, np.quantile(target, np.linspace(0, 1, 9)[1:-1]))
    scaled, eightfold = (
        make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()).fit(rows, classes)
        for classes in (label, octile)
    )
    bare, straight = LogisticRegression().fit(rows, label), LinearRegression().fit(rows, target)
    boosted = HistGradientBoostingRegressor(max_iter=100, max_depth=6, max_leaf_nodes=None).fit(rows, target)
    small, large = (
        RandomForestRegressor(trees, max_depth=8, max_features=0.2, random_state=0).fit(rows[:8000], target[:8000])
        for trees in (100, 500)
    )
    regressors = {
        "decision tree": tree,
        "100 boosted trees of depth 6": boosted,
        "forest of 100 trees of depth 8": small,
        "forest of 500 trees of depth 8": large,
        "linear regression alone": straight,
    }
    classifiers = {
        "logistic regression": scaled,
        "the same of eight classes": eightfold,
        "the same without imputer and scaler": bare,
    }
    return {name: to_onnx(made, rows[:1]).SerializeToString() for name, made in regressors.items()} | {
        name: to_onnx(made, rows[:1], options={"zipmap": False}).SerializeToString()
        for name, made in classifiers.items()
    }


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _scoring(
    extension: Extension, name: str, model: bytes, matrix: np.ndarray[Any, Any], rounds: int
) -> list[dict[str, Any]]:
    session = _session(model)
    rows = len(matrix)
    buffers = np.ascontiguousarray(matrix.T)
    names = [f"c{place}" for place in range(_FEATURES)]
    pointers = (ctypes.c_void_p * _FEATURES)(*(column.ctypes.data for column in buffers))
    lengths = (ctypes.c_void_p * _FEATURES)()
    # The framework hands a script its own arrays; joining them to a DataFrame is the script's first step.
    columns = dict(zip(names, buffers, strict=True))

    def python() -> None:
        frame = pd.DataFrame(columns)
        answers = session.run(None, {"X": frame.to_numpy(dtype=np.float32)})
        pd.concat([pd.DataFrame(answer) for answer in answers], axis=1)

    indicators = np.full(buffers.shape, buffers.itemsize, np.int32)
    some_null = np.where(np.random.default_rng(1).random(buffers.shape) < _NULLS, np.int32(-1), indicators)
    present, holes = ((ctypes.c_void_p * _FEATURES)(*(column.ctypes.data for column in each))
                      for each in (indicators, some_null))  # fmt: skip
    described, nullable = ([Column(column, REAL, nullable=may) for column in names] for may in (False, True))

    def fresh() -> None:
        with extension.session(nullable, model) as own:
            own.execute_arrays(rows, pointers, present)

    with extension.session(described, model) as task, extension.session(nullable, model) as open_task:
        paths: dict[str, Callable[[], object]] = {
            "sess.run": lambda: session.run(None, {"X": matrix}),
            "Execute": lambda: task.execute_arrays(rows, pointers, lengths),
            "Execute, nullable": lambda: open_task.execute_arrays(rows, pointers, present),
            "Execute, 1 % NULL": lambda: open_task.execute_arrays(rows, pointers, holes),
            "sess.run, fresh session": lambda: _session(model).run(None, {"X": matrix}),
            "fresh session, nullable": fresh,
            "python": python,
        }
        best = dict.fromkeys(paths, float("inf"))
        for _ in range(rounds):
            for path, run in paths.items():
                started = time.thread_time()
                run()
                best[path] = min(best[path], time.thread_time() - started)
    against = {"fresh session, nullable": "sess.run, fresh session"}
    return [
        {"model": name, "path": path, "rows": rows, "seconds": round(seconds, 4),
         "ratio_to_sess_run": round(seconds / best[against.get(path, "sess.run")], 2)}
        for path, seconds in best.items()
    ]  # fmt: skip


def _starting(extension: Extension, name: str, model: bytes) -> dict[str, Any]:
    """What a session costs beyond ONNX Runtime's own; the median of many, since each is short."""
    row = np.zeros((1, _FEATURES), np.float32)
    described = [Column(f"c{place}", REAL, nullable=False) for place in range(_FEATURES)]
    values = [[0.0]] * _FEATURES

    def ours() -> None:
        with extension.session(described, model) as task:
            task.execute(values)

    def theirs() -> None:
        _session(model).run(None, {"X": row})

    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(_SESSIONS):
        for whose, run in (("theirs", theirs), ("ours", ours)):
            started = time.thread_time()
            run()
            spent[whose].append(time.thread_time() - started)
    taken = {whose: float(np.median(times)) for whose, times in spent.items()}
    return {"model": name, "path": "a session of one row", "rows": 1, "seconds": round(taken["ours"], 5),
            "beyond_onnx_runtime_ms": round((taken["ours"] - taken["theirs"]) * 1000, 2)}  # fmt: skip


def _table(results: list[dict[str, Any]]) -> Table:
    title = f"The external language: rows of {_FEATURES} features, one thread"
    table = Table("model", "path", "rows", "ms", "ratio to sess.run", "ms beyond ONNX Runtime", title=title)
    for row in results:
        ratio, beyond = row.get("ratio_to_sess_run"), row.get("beyond_onnx_runtime_ms")
        cells = ("" if ratio is None else f"{ratio:.2f}", "" if beyond is None else f"{beyond:.2f}")
        table.add_row(row["model"], row["path"], f"{row['rows']:,}", f"{row['seconds'] * 1000:.1f}", *cells)
    return table
