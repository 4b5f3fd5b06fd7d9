"""The external language against ONNX Runtime itself and against the Python route, one thread each, in one process.

- `Execute`: from SQL Server's column buffers to result columns, as exthost calls it. Columns are NOT NULL; or
  nullable, as SQL Server's are unless told otherwise, so that each value has its indicator; or nullable with one value
  in a hundred NULL.
- `fresh session`: the nullable columns from `InitSession` to `CleanupSession`, against making ONNX Runtime's session
  and running it.
- `sess.run`: ONNX Runtime alone, on a float matrix that lies ready, and its answers left as they are.
- `python`: what a script under `@language = N'Python'` does with the same columns: a DataFrame, its values as a float32
  matrix, `sess.run`, and a DataFrame of the answers.

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
            results += _scoring(extension, name, model, matrix)
            results.append(_starting(extension, name, model))
        extension.cleanup()
    return results, _table(results)


def _models(rows: np.ndarray[Any, Any]) -> dict[str, bytes]:
    """A tree, a logistic regression behind imputer and scaler, and one alone, which is the least work there is."""
    from skl2onnx import to_onnx
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    target = rows[:, 0] * 3 + np.abs(rows[:, 1]) + rows[:, 2] * rows[:, 3]
    tree = DecisionTreeRegressor(max_depth=8, random_state=0).fit(rows, target)
    label = (target > 1).astype(np.int64)
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()).fit(rows, label)
    bare = LogisticRegression().fit(rows, label)
    return {
        "decision tree": to_onnx(tree, rows[:1]).SerializeToString(),
        "logistic regression": to_onnx(scaled, rows[:1], options={"zipmap": False}).SerializeToString(),
        "the same without imputer and scaler": to_onnx(bare, rows[:1], options={"zipmap": False}).SerializeToString(),
    }


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _scoring(extension: Extension, name: str, model: bytes, matrix: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    session = _session(model)
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
            own.execute_arrays(_ROWS, pointers, present)

    with extension.session(described, model) as task, extension.session(nullable, model) as open_task:
        paths: dict[str, Callable[[], object]] = {
            "sess.run": lambda: session.run(None, {"X": matrix}),
            "Execute": lambda: task.execute_arrays(_ROWS, pointers, lengths),
            "Execute, nullable": lambda: open_task.execute_arrays(_ROWS, pointers, present),
            "Execute, 1 % NULL": lambda: open_task.execute_arrays(_ROWS, pointers, holes),
            "sess.run, fresh session": lambda: _session(model).run(None, {"X": matrix}),
            "fresh session, nullable": fresh,
            "python": python,
        }
        best = dict.fromkeys(paths, float("inf"))
        for _ in range(_ROUNDS):
            for path, run in paths.items():
                started = time.thread_time()
                run()
                best[path] = min(best[path], time.thread_time() - started)
    against = {"fresh session, nullable": "sess.run, fresh session"}
    return [
        {"model": name, "path": path, "rows": _ROWS, "seconds": round(seconds, 4),
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
    title = f"The external language: {_ROWS:,} rows × {_FEATURES} features, one thread"
    table = Table("model", "path", "ms", "ratio to sess.run", "ms beyond ONNX Runtime", title=title)
    for row in results:
        ratio, beyond = row.get("ratio_to_sess_run"), row.get("beyond_onnx_runtime_ms")
        cells = ("" if ratio is None else f"{ratio:.2f}", "" if beyond is None else f"{beyond:.2f}")
        table.add_row(row["model"], row["path"], f"{row['seconds'] * 1000:.1f}", *cells)
    return table
