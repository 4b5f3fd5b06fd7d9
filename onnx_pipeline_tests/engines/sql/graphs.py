"""Small graphs in ONNX's own text form, and rows at the edges of what a float holds."""

import numpy as np
import onnx
from onnx.parser import parse_model

EDGES = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.0, 1.5, 2.5, -1.0, -2.5, 3.0, 1e-40, 88.5, -1000.0, 1000.0, 3e38, np.inf, -np.inf, np.nan],
    np.float32,
)

OVERFLOWING = [
    "u = Mul (x, x)", "v = Mul (x, w) u = Add (v, v)", "u = Div (x, little)", "v = Neg (x) u = Sub (v, x)",
    "v = Mul (x, x) u = Neg (v)", "v = Exp (x) u = Identity (v)",
    "d = Cast <to = 11> (x) p = Mul (d, d) u = Cast <to = 1> (p)",
]  # fmt: skip
"""Bodies whose result is beyond float32 for some rows."""
FROM_INFINITY = [
    "Sigmoid (u)", "Tanh (u)", "Reciprocal (u)", "Div (w, u)", "Clip (u, low, two)", "Min (u, top)", "Max (u, low)",
    "Sign (u)", "HardSigmoid (u)", "Softsign (u)", "Elu (u)", "Softmax (u)", "Relu (u)", "Floor (u)",
    "ThresholdedRelu (u)",
]  # fmt: skip
"""Bodies that make a number of an infinity."""
CONDITIONS = ["IsInf (u)", "Greater (u, top)", "Equal (u, u)", "IsNaN (u)", "Less (u, t)"]
"""And those that decide by one; `t` is `u` in another order."""
OF_OVERFLOWS = (
    "float[3] w = {1.5, -0.3, 7}, float two = {2}, float low = {-3}, float top = {1e6}, float little = {1e-30}, "
    "int64[3] order = {2, 0, 1}"
)


def graph(
    body: str, *, inputs: str = "float[N,3] x", outputs: str = "float[N,3] y", opset: int = 18, constants: str = ""
) -> bytes:
    """A model of that body, e.g. `y = Relu (x)`; `constants` as `float[3] w = {1, 2, 3}`."""
    weights = f"<{constants}>" if constants else ""
    text = f"""
        <ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 3]>
        tested ({inputs}) => ({outputs}) {weights} {{ {body} }}
    """
    model = parse_model(text)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def edges(columns: int = 3, rows: int = 400) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Rows of edges beside each other, the first with one edge throughout each."""
    random = np.random.default_rng(11)
    same = np.repeat(EDGES[:, None], columns, 1)
    return np.vstack([same, random.choice(EDGES, (rows, columns))])
