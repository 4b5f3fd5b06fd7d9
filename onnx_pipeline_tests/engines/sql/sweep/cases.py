"""What one row of the sweep is: an estimator, the data that it is fitted on, and the rows that it is tried with."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

__all__ = ["SIZES", "Case", "Rows", "exported", "tried_on"]

Rows = Mapping[str, Any]
"""By input of the exported model: `[N, F]`."""

FEATURES = 4
TOWNS = ["Oslo", "Bergen", "oslo ", "Tromsø", ""]
SIZES = ["small", "medium", "large"]


@dataclass(frozen=True)
class Case:
    """One estimator, fitted on data of one kind."""

    name: str
    group: str
    make: Callable[[], Any] = object
    """The estimator."""
    data: str = "numbers"
    target: str = "class"
    quick: bool = False
    """Tried in every run of the tests; the others nightly."""
    takes_nan: bool = False
    relative: float = 1e-5
    absolute: float = 1e-6
    options: Mapping[str, Any] | None = None
    """Of the export."""
    exporter: str = "skl2onnx"
    file: Path | None = None
    """The exported model, where its exporter is no dependency of the tests."""
    input: str = "X"
    """Of the exported model, where it takes numbers alone."""
    not_exported: str = ""
    """What that exporter says of it instead."""


def _numbers(count: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)


def _targets(numbers: Any) -> dict[str, Any]:
    score = numbers[:, 0] + 0.5 * numbers[:, 1] ** 2 - numbers[:, 2]
    third = np.digitize(score, np.quantile(score, [0.33, 0.66]))
    return {
        "binary": (score > 0).astype(np.int64),
        "class": third,
        "text": np.array(["low", "mid", "it's high "], object)[third],
        "number": score.astype(np.float64),
        "positive": np.exp(score / 3).astype(np.float64),
        "several": np.column_stack([score, numbers[:, 3] - score]),
        "labels": np.column_stack([(score > 0), (numbers[:, 3] > 0)]).astype(np.int64),
        "none": None,
    }


def _edges(numbers: Any) -> Any:
    """Nothing, large and small numbers, and rows that the model was fitted on, which lie on its thresholds."""
    flat = np.array([[0.0], [-0.0], [1.0], [30.0], [-30.0], [1e-6]]) * np.ones((1, numbers.shape[1]))
    return np.vstack([numbers[:60], flat.astype(np.float32)])


@cache
def fitted_on(data: str) -> tuple[Any, dict[str, Any]]:
    """The training rows, and its targets by name."""
    numbers = _numbers(300, 1)
    targets = _targets(numbers)
    random = np.random.default_rng(2)
    if data == "counts":
        return random.poisson(2, size=(300, FEATURES)).astype(np.float32) + (
            targets["class"][:, None] == [0, 1, 2, 0]
        ), targets
    if data == "bits":
        return (numbers > 0.3).astype(np.float32), targets
    if data == "unit":
        return 1 / (1 + np.exp(-numbers)).astype(np.float32), targets
    if data == "gaps":
        numbers = numbers.copy()
        numbers[random.random(numbers.shape) < 0.1] = np.nan
        return numbers, targets
    if data == "texts":
        return np.column_stack([random.choice(TOWNS[:4], 300), random.choice(SIZES, 300)]).astype(object), targets
    if data == "integers":
        return random.integers(-2, 3, size=(300, 2)), targets
    if data == "mixed":
        frame = pd.DataFrame(numbers, columns=[f"n{place}" for place in range(FEATURES)])
        frame["town"] = random.choice(TOWNS[:4], 300)
        frame["size"] = random.choice(SIZES, 300)
        frame["count"] = random.integers(0, 5, 300)
        frame.loc[random.random(300) < 0.1, "n1"] = np.nan
        return frame, targets
    return numbers, targets


def tried_on(case: Case) -> Rows:
    """Random rows and edges."""
    trained, _ = fitted_on(case.data)
    random = np.random.default_rng(3)
    if case.data == "texts":
        unseen = np.array([["Oslo ", "small"], ["OSLO", "SMALL"], ["", ""], ["Tromso", "large"]], object)
        return {"X": np.vstack([trained[:100], unseen])}
    if case.data == "integers":
        return {"X": np.vstack([trained[:100], [[7, -9], [0, 0]]])}
    if case.data == "mixed":
        return _mixed_rows(trained)
    fresh = {
        "counts": lambda x: np.abs(x * 3).astype(int),
        "bits": lambda x: x > 0,
        "unit": lambda x: np.abs(np.sin(x)),
    }
    numbers = fresh.get(case.data, lambda x: x)(_numbers(140, 4)).astype(np.float32)
    edges = _edges(trained)
    if case.data in ("counts", "bits", "unit"):
        edges = np.minimum(np.abs(edges), 1 if case.data == "bits" else np.inf)
    found = np.vstack([numbers, edges])
    if case.file is not None:
        found[:, 3] = random.integers(-1, 7, len(found))  # a category, or a number like others
    if case.takes_nan:
        found[random.random(found.shape) < 0.1] = np.nan
    return {case.input: found.astype(np.float32)}


def _mixed_rows(trained: Any) -> Rows:
    some = trained.iloc[:120].copy()
    some.loc[some.index[:5], "town"] = ["Oslo ", "OSLO", "", "unseen", "tromsø"]
    rows: dict[str, Any] = {}
    for name in some.columns:
        values = some[name].to_numpy()
        dtype = object if name in ("town", "size") else np.int64 if name == "count" else np.float32
        rows[name] = values.astype(dtype).reshape(-1, 1)
    return rows


def exported(case: Case) -> bytes:
    """The fitted estimator as ONNX. Raises RuntimeError where its exporter makes nothing of it."""
    if case.not_exported:
        raise RuntimeError(case.not_exported)
    if case.file is not None:
        return case.file.read_bytes()
    trained, targets = fitted_on(case.data)
    wanted = targets[case.target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = case.make()
        model = model.fit(trained) if wanted is None else model.fit(trained, wanted)
        proto = to_onnx(
            model, initial_types=_types(case, trained), options=case.options, target_opset={"": 18, "ai.onnx.ml": 3}
        )
    data: bytes = proto.SerializeToString()
    return data


def _types(case: Case, trained: Any) -> list[tuple[str, Any]]:
    if case.data == "mixed":
        kinds = {"town": StringTensorType, "size": StringTensorType, "count": Int64TensorType}
        return [(name, kinds.get(name, FloatTensorType)([None, 1])) for name in trained.columns]
    kind = {"texts": StringTensorType, "integers": Int64TensorType}.get(case.data, FloatTensorType)
    return [("X", kind([None, trained.shape[1]]))]
