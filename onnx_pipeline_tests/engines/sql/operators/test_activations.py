"""Activations, bounds and normalization, on edges of what a float holds, as ONNX Runtime has them."""

import numpy as np
import pytest

from onnx_pipeline_tests.engines.sql.graphs import edges, graph
from onnx_pipeline_tests.engines.sql.oracle import check

ROWS = np.random.default_rng(3).normal(size=(100, 3)).astype(np.float32) * 3


def several(bodies: dict[str, str]) -> tuple[str, str]:
    """One graph with an output for each body, which costs one session instead of many."""
    return " ".join(f"{name} = {body}" for name, body in bodies.items()), ", ".join(
        f"float[N,3] {name}" for name in bodies
    )


ACTIVATIONS = {
    "a": "Celu <alpha = 0.7> (x)",
    "b": "Elu <alpha = 0.7> (x)",
    "c": "HardSigmoid <alpha = 0.3> (x)",
    "d": "HardSwish (x)",
    "e": "LeakyRelu (x)",
    "f": "PRelu (x, scale)",
    "g": "Selu (x)",
    "h": "Softplus (x)",
    "i": "Softsign (x)",
    "j": "ThresholdedRelu <alpha = 0.7> (x)",
    "k": "Erf (x)",
    "l": "Gelu (x)",
    "m": 'Gelu <approximate = "tanh"> (x)',
    "n": "Mish (x)",
    "o": "Clip (x, low, high)",
    "p": "Clip (x, low)",
    "q": "Clip (x, , high)",
    "r": "Clip (x, high, low)",
    "s": "Max (x, scale, turned)",
    "t": "Min (turned, x, scale)",
    "u": "Mod <fmod = 1> (x, scale)",
    "bn": "BatchNormalization (x, scale, scale, spread, spread)",
    "z": "CumSum <exclusive = 1, reverse = 1> (x, one)",
}
CONSTANTS = (
    "float[3] scale = {1.5, -0.3, 7}, float[3] spread = {1, 2, 0.5}, float low = {-1}, float high = {2}, int64 one = {1}, "
    "int64[3] order = {2, 0, 1}"
)


@pytest.mark.parametrize("rows", [edges(), ROWS], ids=["edges", "rows"])
def test_activations(rows):
    body, outputs = several(ACTIVATIONS)
    check(graph(f"turned = Gather <axis = 1> (x, order) {body}", outputs=outputs, constants=CONSTANTS, opset=22), rows)


def test_forms_of_old_operator_sets():
    body, outputs = several({"a": "Clip <min = -1.0, max = 2.0> (x)", "b": "Dropout (x)", "c": "Clip <max = 1.0> (x)"})
    check(graph(body, outputs=outputs, opset=9), edges())


def test_layer_normalization_looks_along_the_features():
    check(graph("a = LayerNormalization (x, scale, spread) y = Dropout (a)", constants=CONSTANTS), ROWS)


def test_is_nan_and_is_inf_are_booleans():
    body = "a = IsNaN (x) b = IsInf (x) c = IsInf <detect_negative = 0> (x) l = Log (x) d = IsNaN (l) e = IsInf (l)"
    check(graph(body, outputs=", ".join(f"bool[N,3] {name}" for name in "abcde")), edges())


def test_remainders_of_whole_numbers():
    body = "i = Cast <to = 7> (x) a = Mod (i, w) b = Mod <fmod = 1> (i, w)"
    rows = np.arange(-12, 12, dtype=np.float32).reshape(8, 3)
    check(graph(body, outputs="int64[N,3] a, int64[N,3] b", constants="int64[3] w = {2, -5, 3}"), rows)


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ij,kj->ki", "ij,j->i"])
def test_einsum(equation):
    outputs = "float[A] y" if equation.endswith(">i") else "float[A,B] y"
    body, constants = f'p = Einsum <equation = "{equation}"> (x, w)', "float[3,3] w = {1, 2, 0, -1, 3, 0.2, 5, 6, 7}"
    if equation == "ij,kj->ki":
        body += " y = Transpose (p)"
    elif equation == "ij,j->i":
        body, constants = body + " y = Identity (p)", "float[3] w = {1, 2, 0.5}"
    else:
        body += " y = Identity (p)"
    check(graph(body, outputs=outputs, constants=constants), ROWS)


def test_the_error_function_keeps_sign_and_digits_beside_zero():
    """What takes its root, its logarithm or its sign would tell 0 from the tolerance."""
    near = np.array([0, 1e-30, -1e-30, 1e-7, -1e-7, 1e-3, 0.1, -0.3, 0.4999, 0.5, 0.5001, -0.5], np.float32)
    rows = np.column_stack([near, near[::-1], np.roll(near, 3)])
    body = "k = Erf (x) s = Sign (k) y = Sqrt (k)"
    outputs = "float[N,3] k, float[N,3] s, float[N,3] y"
    check(graph(body, outputs=outputs), rows, relative=1e-6, absolute=0)
