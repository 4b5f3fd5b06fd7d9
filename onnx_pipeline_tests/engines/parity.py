"""Models, rows and NULLs that every engine has to score alike, and what plain ONNX Runtime says of them.

An engine joins by its name: `test_parity.py` runs all that are built in, and the live tests those that score on a server.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.slices import feature_slices, predict_slices
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.pools.grounds import Ground

COUNT = 240
PARTS = ("p", "q")
WORDS = ("red", "green", "blue", "violet", "")
NUMBERS = ["a", "b", "c"]


def rows(count: int = COUNT, *, gaps: bool = True) -> pa.Table:
    """`a` is of float32, `b` of doubles that no float32 is, `c` of a few whole doubles, `n` of int32, `word` of text."""
    generator = np.random.default_rng(5)
    holes = generator.random((count, 5)) < (0.15 if gaps else 0.0)
    columns: Mapping[str, tuple[Any, pa.DataType]] = {
        "a": (generator.normal(size=count).astype(np.float32), pa.float32()),
        "b": (generator.normal(size=count) * 3, pa.float64()),
        "c": (generator.integers(-4, 5, count).astype(np.float64), pa.float64()),
        "n": (generator.integers(-100, 100, count), pa.int32()),
        "word": (generator.choice(WORDS, count), pa.string()),
    }
    made = {
        name: pa.array([None if hole else value.item() for value, hole in zip(values, gap, strict=True)], kind)
        for (name, (values, kind)), gap in zip(columns.items(), holes.T, strict=True)
    }
    ids = list(range(count))
    keys = {"id": pa.array(ids, pa.int64()), "part": pa.array([PARTS[i % 2] for i in ids], pa.string())}
    return pa.table({**keys, **made})


_WHOLE = {"tensor(int64)": np.int64, "tensor(bool)": np.bool_}


@dataclass(frozen=True)
class Case:
    """One model, and what a spec says of it."""

    make: Callable[[], bytes]
    features: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None
    nulls: Mapping[str, Any] = field(default_factory=dict)
    gaps: bool = True
    """Whether columns hold NULLs."""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> OnnxModel:
        return OnnxModel.from_bytes(self.make())

    def spec(self, engine: Mapping[str, Any], **attributes: Any) -> ScoringSpec:
        given: dict[str, Any] = {
            "name": "parity",
            "onnx": "parity.onnx",
            "source": "rows",
            "key": ["id"],
            "partitions": {"column": "part", "values": list(PARTS)},
            "target": "scored",
            "features": self.features,
            "nulls": dict(self.nulls),
            "engine": dict(engine),
        }
        return ScoringSpec.model_validate({**given, **self.attributes, **attributes})

    def truth(self, table: pa.Table) -> list[list[Any]]:
        """The columns of plain ONNX Runtime's outputs, in order; NaN is None."""
        session = ort.InferenceSession(self.make(), providers=["CPUExecutionProvider"])
        feeds = {}
        for tensor in session.get_inputs():
            columns = np.column_stack([self._values(table, name, tensor.type) for name in self._names(tensor.name)])
            feeds[tensor.name] = columns if len(tensor.shape) > 1 else columns.ravel()
        found = []
        for values in session.run(None, feeds):
            if isinstance(values[0], dict):
                values = [list(row.values()) for row in values]
            matrix = np.asarray(values).reshape(table.num_rows, -1)
            found += [[None if value != value else value for value in column.tolist()] for column in matrix.T]
        return found

    def _names(self, tensor: str) -> Sequence[str]:
        """The columns that fill an input."""
        if isinstance(self.features, Mapping):
            named = self.features.get(tensor, tensor)
            return [named] if isinstance(named, str) else named
        return self.features or [tensor]

    def _values(self, table: pa.Table, name: str, tensor: str) -> Any:
        values = [self.nulls.get(name) if value is None else value for value in table[name].to_pylist()]
        if tensor == "tensor(string)":
            return np.array(values, object)
        if tensor in _WHOLE:
            return np.array(values, _WHOLE[tensor])
        return np.array([np.nan if value is None else value for value in values], np.float64).astype(np.float32)


def _training() -> tuple[Any, Any]:
    table = rows(400, gaps=False)
    matrix = np.column_stack([np.asarray(table[name].to_pylist(), np.float32) for name in NUMBERS])
    return matrix, matrix[:, 0] * 2 + matrix[:, 1] ** 2 - matrix[:, 2]


@cache
def _tree() -> bytes:
    from sklearn.tree import DecisionTreeRegressor

    matrix, values = _training()
    fitted = DecisionTreeRegressor(max_depth=5, random_state=0).fit(matrix, values)
    return bytes(to_onnx(fitted, matrix[:1]).SerializeToString())


@cache
def _forest(zipmap: bool = False) -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    matrix, values = _training()
    classes = np.array(["low", "middle", "high"])[np.digitize(values, [0.0, 8.0])]
    fitted = RandomForestClassifier(7, max_depth=4, random_state=0).fit(matrix, classes)
    return bytes(to_onnx(fitted, matrix[:1], options={"zipmap": zipmap}).SerializeToString())


@cache
def _routed() -> bytes:
    """The same tree, in which every other test sends a missing value where it holds."""
    model = onnx.load_model_from_string(_tree())
    (node,) = model.graph.node
    count = len(next(attribute.floats for attribute in node.attribute if attribute.name == "nodes_values"))
    tracks = helper.make_attribute("nodes_missing_value_tracks_true", [place % 2 for place in range(count)])
    kept = [attribute for attribute in node.attribute if attribute.name != tracks.name]
    del node.attribute[:]
    node.attribute.extend([*kept, tracks])
    return bytes(model.SerializeToString())


@cache
def _logistic() -> bytes:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    matrix, values = _training()
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(
        matrix, np.digitize(values, [0.0, 8.0])
    )
    return bytes(to_onnx(fitted, matrix[:1], options={"zipmap": False}).SerializeToString())


@cache
def _words() -> bytes:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = rows(400, gaps=False)
    frame = pd.DataFrame({name: table[name].to_pylist() for name in ("a", "b", "word")})
    parts = [("number", StandardScaler(), ["a", "b"]), ("word", OneHotEncoder(handle_unknown="ignore"), ["word"])]
    fitted = make_pipeline(ColumnTransformer(parts), LinearRegression()).fit(
        frame, frame["a"] + frame["word"].str.len()
    )
    number, text = FloatTensorType([None, 1]), StringTensorType([None, 1])
    made = convert_sklearn(fitted, initial_types=[("a", number), ("b", number), ("word", text)])
    return bytes(made.SerializeToString())


def graph(nodes: Sequence[Any], inputs: Mapping[str, int], outputs: Mapping[str, int], weights: Sequence[Any]) -> bytes:
    """A model of one column per input and output, by their element types."""
    made = helper.make_graph(
        list(nodes),
        "parity",
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in outputs.items()],
        list(weights),
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@cache
def _sum() -> bytes:
    """`score = a · b - a`, whose missing values stay missing."""
    nodes = [helper.make_node("Mul", ["a", "b"], ["ab"]), helper.make_node("Sub", ["ab", "a"], ["score"])]
    return graph(nodes, {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT}, {"score": TensorProto.FLOAT}, ())


@cache
def _counts() -> bytes:
    """`count = 3 · c + n` in whole numbers, where `c` comes as doubles."""
    three = helper.make_tensor("three", TensorProto.INT64, [1], [3])
    nodes = [helper.make_node("Mul", ["c", "three"], ["triple"]), helper.make_node("Add", ["triple", "n"], ["count"])]
    return graph(nodes, {"c": TensorProto.INT64, "n": TensorProto.INT64}, {"count": TensorProto.INT64}, [three])


@cache
def _several() -> bytes:
    """A matrix `x [N, 2]` beside `n [N]` and `word [N, 1]`; gives three products, a text, a whole number and a flag."""
    number, whole, text, flag = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
    weights = helper.make_tensor("weights", number, [2, 3], [0.5, -1.25, 2.0, 1.0, 0.75, -0.5])
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["products"]),
        helper.make_node("Identity", ["word"], ["said"]),
        helper.make_node("Add", ["n", "n"], ["twice"]),
        helper.make_node("Greater", ["n", "zero"], ["above"]),
    ]
    inputs = {"x": (number, [None, 2]), "n": (whole, [None]), "word": (text, [None, 1])}
    outputs = {
        "said": (text, [None, 1]),
        "products": (number, [None, 3]),
        "twice": (whole, [None]),
        "above": (flag, [None]),
    }
    made = helper.make_graph(
        nodes,
        "several",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [weights, helper.make_tensor("zero", whole, [1], [0])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


CASES: Mapping[str, Case] = {
    "tree": Case(_tree, NUMBERS, gaps=False),
    "tree with stand-ins": Case(_tree, NUMBERS, {"a": 0.25, "b": 0, "c": -1}),
    "tree that NaN fails": Case(_tree, NUMBERS, dict.fromkeys(NUMBERS, "nan")),
    "forest of text labels": Case(_forest, NUMBERS, gaps=False),
    "tree that routes missing values": Case(_routed, NUMBERS),
    "imputed, scaled, logistic": Case(_logistic, NUMBERS, attributes={"nulls": dict.fromkeys(NUMBERS, "nan")}),
    "one-hot": Case(_words, None, {"a": 0.5, "b": -0.5, "word": "unknown"}),
    "arithmetic": Case(_sum, attributes={"checks": {"nan_predictions": "allow"}}),
    "whole numbers": Case(_counts, None, {"c": 2, "n": 0}),
    "forest with a ZipMap": Case(partial(_forest, zipmap=True), NUMBERS, gaps=False),
    "a matrix beside columns": Case(
        _several,
        {"x": ["a", "b"]},
        {"n": -7, "word": "it's ünknown"},
        attributes={"checks": {"nan_predictions": "allow"}},
    ),
}


class Scored:
    """A case scored by one engine in one pool."""

    def __init__(self, ground: Ground, folder: Path, case: Case, engine: Mapping[str, Any], **attributes: Any) -> None:
        self.ground, self.case = ground, case
        self.staging = Staging(folder)
        self.spec = case.spec(engine, **attributes)

    @property
    def plan(self) -> ScoringPlan:
        return ScoringPlan(self.spec, self.case.model(), self.ground.pool.source(self.spec))

    def run(self, keys: Sequence[str] = PARTS, run_id: str = "run-1") -> dict[str, Any]:
        """What the assets do; the statistics of each slice, and what its engine says."""
        plan, pool = self.plan, self.ground.pool
        surveyed = list(feature_slices(plan, pool, self.staging, keys, say=_ignore))
        with closing(open_engine(self.spec.engine, plan.task, RuntimeOptions())) as engine:
            pieces = list(predict_slices(plan, engine, pool, self.staging, keys, say=_ignore))
        list(load(plan, pool, self.staging, keys, run_id=run_id))
        return {
            piece.partition_key: {
                "null_counts": found.null_counts,
                "statistics": piece.statistics,
                "engine": piece.engine,
            }
            for found, piece in zip(surveyed, pieces, strict=True)
        }

    def predictions(self) -> list[list[Any]]:
        """Columns in the order of the model's outputs, rows by id."""
        names = ", ".join(f'"{output.name}"' for output in self.plan.outputs)
        found = self.ground.query(f"SELECT {names} FROM scored ORDER BY id")
        return [list(column) for column in zip(*found, strict=True)]

    def assert_right(self, table: pa.Table) -> None:
        """Labels equal, floats within 1e-5, and missing where ONNX Runtime has no number."""
        truth = self.case.truth(table)
        found = self.predictions()
        assert len(found) == len(truth)
        for values, wanted in zip(found, truth, strict=True):
            if not isinstance(next(value for value in wanted if value is not None), float):
                assert values == wanted
                continue
            np.testing.assert_allclose(np.array(values, float), np.array(wanted, float), rtol=1e-5, atol=1e-6)


def _ignore(_: object) -> None:
    return
