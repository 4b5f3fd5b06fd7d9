"""Models of every form that the extension takes, and plain ONNX Runtime as the truth."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, STRING, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.STRING, TensorProto.BOOL
INT64, INT32, INT16, INT8 = TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8
UINT8, UINT16, UINT32, FLOAT16 = TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.FLOAT16
UINT64, BFLOAT16 = TensorProto.UINT64, TensorProto.BFLOAT16

NUMPY = {
    FLOAT: np.float32, DOUBLE: np.float64, BOOL: np.bool_, INT64: np.int64, INT32: np.int32, INT16: np.int16,
    INT8: np.int8, UINT8: np.uint8, UINT16: np.uint16, UINT32: np.uint32, FLOAT16: np.float16, STRING: object,
}  # fmt: skip

Tensor = tuple[str, int, Sequence[Any] | None]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    weights: Mapping[str, Any] | None = None,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def matrix_sum(width: int, dtype: int = FLOAT) -> bytes:
    """`[N, width]` → score `[N, 1]`: 1·x₀ + 2·x₁ + …, so that exchanged columns show."""
    weights = np.arange(1, width + 1, dtype=NUMPY[dtype]).reshape(width, 1)
    node = helper.make_node("MatMul", ["x", "w"], ["score"])
    return build([node], [("x", dtype, [None, width])], [("score", dtype, [None, 1])], {"w": weights})


def echo(dtypes: Mapping[str, int], *, flat: bool = False) -> bytes:
    """One input per column, `[N, 1]` or `[N]`, each of which comes out as `<name>_out`."""
    shape = [None] if flat else [None, 1]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in dtypes]
    inputs = [(name, dtype, shape) for name, dtype in dtypes.items()]
    return build(nodes, inputs, [(f"{name}_out", dtype, shape) for name, dtype in dtypes.items()])


def echo_matrix(dtype: int, width: int, feature_names: str | None = None) -> bytes:
    """`[N, width]` → the same; perhaps with that text as the metadata property `feature_names`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    model = build([node], [("x", dtype, [None, width])], [("y", dtype, [None, width])])
    if feature_names is None:
        return model
    loaded = onnx.load_from_string(model)
    helper.set_model_props(loaded, {"feature_names": feature_names})
    return bytes(loaded.SerializeToString())


def cast(source: int, targets: Sequence[int]) -> bytes:
    """`x [N, 1]` → one output per target type."""
    nodes = [helper.make_node("Cast", ["x"], [f"as_{target}"], to=target) for target in targets]
    return build(nodes, [("x", source, [None, 1])], [(f"as_{target}", target, [None, 1]) for target in targets])


def ratio() -> bytes:
    """a / b: NaN and infinity, which SQL Server refuses."""
    node = helper.make_node("Div", ["a", "b"], ["ratio"])
    return build([node], [("a", FLOAT, [None, 1]), ("b", FLOAT, [None, 1])], [("ratio", FLOAT, [None, 1])])


@lru_cache
def classifier(
    kind: str, labels: str = "int", *, zipmap: bool = False, width: int = 6, opset: int | None = None
) -> bytes:
    """A scikit-learn decision tree or logistic regression with 3 classes, as skl2onnx converts it.

    By default of the newest opset; with another one, and `ai.onnx.ml` 3, earlier releases of ONNX Runtime load it.
    """
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    random = np.random.default_rng(7)
    rows = random.normal(size=(500, width)).astype(np.float32)
    classes = np.digitize(rows[:, 0] + 0.5 * rows[:, 1], [-0.5, 0.5])
    target = np.array(["low", "mittel", "hoch é"])[classes] if labels == "text" else classes
    made = DecisionTreeClassifier(max_depth=5, random_state=0) if kind == "tree" else LogisticRegression(max_iter=300)
    made.fit(rows, target)
    target = None if opset is None else {"": opset, "ai.onnx.ml": 3}
    return bytes(to_onnx(made, rows[:1], options={"zipmap": zipmap}, target_opset=target).SerializeToString())


_WEIGHTS = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def squeezed() -> bytes:
    """`[N, 2]` → y `[N]`, by a Squeeze without axes: one row comes out as a scalar."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Squeeze", ["h"], ["y"])]
    return build(nodes, [("x", FLOAT, [None, 2])], [("y", FLOAT, None)], {"w": _WEIGHTS[:, :1]})


def quantised() -> bytes:
    """`[N, 2]` → y `[N]`, quantised by one scale for all rows of a call."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "s"], ["p"]),
        helper.make_node("ReduceSum", ["p", "columns"], ["y"], keepdims=0),
    ]
    weights = {"w": (_WEIGHTS * 50).astype(np.int8), "columns": np.array([1])}
    return build(nodes, [("x", FLOAT, [None, 2])], [("y", FLOAT, [None])], weights)


def one_by_one(model: bytes, rows: np.ndarray[Any, Any]) -> list[float]:
    """The first output, of a call for each row of `x`."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [float(session.run(None, {"x": row[None]})[0].reshape(())) for row in rows]


def truth(model: bytes, feeds: Mapping[str, Any], *, batch: int | None = None) -> dict[str, Any]:
    """Answers of plain ONNX Runtime on one thread, by output name, in batches of that many rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = len(next(iter(feeds.values())))
    size = batch or max(rows, 1)
    parts = [
        session.run(names, {name: tensor[start : start + size] for name, tensor in feeds.items()})
        for start in range(0, max(rows, 1), size)
    ]
    return {name: np.concatenate(pieces) for name, pieces in zip(names, zip(*parts, strict=True), strict=True)}


def columns_of(answers: Mapping[str, Any]) -> list[list[Any]]:
    """Each column of each answer as SQL Server is to see it: NaN and infinity as NULL."""
    columns = []
    for answer in answers.values():
        rows = answer.reshape(len(answer), -1)
        for column in rows.T:
            values = column.astype(np.float32) if column.dtype == np.float16 else column
            floats = np.issubdtype(values.dtype, np.floating) if values.dtype != object else False
            columns.append([None if floats and not np.isfinite(value) else value for value in values.tolist()])
    return columns
