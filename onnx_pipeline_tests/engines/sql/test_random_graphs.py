"""Random small graphs over random rows give by DuckDB what ONNX Runtime gives."""

from collections.abc import Sequence

import hypothesis.extra.numpy as of_numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline_tests.engines.sql.graphs import EDGES, graph
from onnx_pipeline_tests.engines.sql.oracle import check

CONSTANTS = (
    "float[3] w = {1.5, -0.3, 7}, float zero = {0}, float half = {0.5}, float two = {2}, float low = {-3}, "
    "int64[1] one = {1}, int64 axis = {1}, int64[3] order = {2, 0, 1}, "
    "float[3,3] m = {1, 0.2, 0, -0.5, 0.3, 0.25, 1, 0, -0.4}"
)
EXACT = [
    "{} = Abs (a)", "{} = Ceil (a)", "{} = Floor (a)", "{} = LeakyRelu (a)", "{} = Neg (a)", "{} = Reciprocal (a)",
    "{} = Relu (a)", "{} = Round (a)", "{} = Sign (a)", "{} = ThresholdedRelu (a)", "{} = Gather <axis = 1> (a, order)",
    "{} = Add (a, b)", "{} = Sub (a, b)", "{} = Mul (a, b)", "{} = Div (a, b)", "{} = Max (a, b)", "{} = Min (b, a)",
    "{} = Add (a, w)", "{} = Sub (w, a)", "{} = Mul (zero, a)", "{} = Div (half, a)", "{} = PRelu (a, w)",
    "{} = Clip (a, low, two)", "{} = Pow (a, two)", "{} = Hardmax (a)", "c{} = Less (a, b) {} = Where (c{}, a, w)",
    "c{} = GreaterOrEqual (a, b) n{} = Not (c{}) {} = Where (n{}, zero, a)", "c{} = Equal (a, b) {} = Where (c{}, w, b)",
    "c{} = IsNaN (a) {} = Where (c{}, half, a)", "c{} = ReduceMax (a, one) {} = Sub (a, c{})",
    "c{} = ArgMax <axis = 1> (a) d{} = Cast <to = 1> (c{}) {} = Add (d{}, b)", "c{} = Transpose (a) {} = Transpose (c{})",
]  # fmt: skip
"""What float32 arithmetic decides to the last bit, also where it is tested afterwards."""
SMOOTH = [
    *(f"{{}} = {name} (a)" for name in ("Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Mish", "Selu", "Sigmoid")),
    *(f"{{}} = {name} (a)" for name in ("Softmax", "Softplus", "Softsign", "Tanh", "Celu", "LogSoftmax", "Relu", "Neg")),
    "{} = MatMul (a, m)", "{} = Add (a, b)", "{} = Sub (a, w)", "{} = Mul (a, half)", "c{} = ReduceMean (a, one) {} = Sub (a, c{})",
    "c{} = Sigmoid (a) {} = Mul (b, c{})", "{} = Clip (a, low, two)",
]  # fmt: skip
"""What makes no small difference large."""
LAST = [*SMOOTH, *(f"{{}} = {name} (a)" for name in ("Exp", "Sqrt"))]


@st.composite
def bodies(draw: st.DrawFn, operators: Sequence[str], last: Sequence[str], most: int) -> str:
    """Operators one after the other, each over results of those before."""
    lines, names = [], ["x"]
    for number in range(draw(st.integers(0, most))):
        lines.append(_drawn(draw, operators, names, f"r{number}"))
        names.append(f"r{number}")
    return " ".join([*lines, _drawn(draw, last, names, "y")])


def _drawn(draw: st.DrawFn, operators: Sequence[str], names: Sequence[str], result: str) -> str:
    line = draw(st.sampled_from(operators)).replace("{}", result)
    for operand in ("a", "b"):
        chosen = draw(st.sampled_from(names))
        for before, after in (("(", ","), ("(", ")"), (" ", ","), (" ", ")")):
            line = line.replace(f"{before}{operand}{after}", f"{before}{chosen}{after}")
    return line


ANY = st.one_of(st.sampled_from(EDGES.tolist()), st.floats(width=32))
MODERATE = st.one_of(st.just(np.nan), st.floats(-3, 3, width=32))
FEW = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=300)


def rows(values: "st.SearchStrategy[float]") -> "st.SearchStrategy[np.ndarray[tuple[int, int], np.dtype[np.float32]]]":
    return of_numpy.arrays(np.float32, (20, 3), elements=values)


def _same(body: str, matrix: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> None:
    check(graph(body, constants=CONSTANTS, opset=20 if "Gelu" in body else 18), matrix)


def exact(body: str, matrix: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> None:
    _same(body, matrix)


def smooth(body: str, matrix: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> None:
    _same(body, matrix)


# Sums are taken in double precision, which does not overflow where one of float32 does.
WITHOUT_SUMS = [each for each in LAST if "ReduceMean" not in each and "MatMul" not in each]
OF_EXACT = given(bodies(EXACT, [*EXACT, *WITHOUT_SUMS, "{} = Log (a)"], 5), rows(ANY))
OF_SMOOTH = given(bodies(SMOOTH, LAST, 5), rows(MODERATE))


def test_exact_graphs():
    FEW(OF_EXACT(exact))()


def test_smooth_graphs():
    FEW(OF_SMOOTH(smooth))()


@pytest.mark.nightly
def test_many_exact_graphs():
    MANY(OF_EXACT(exact))()


@pytest.mark.nightly
def test_many_smooth_graphs():
    MANY(OF_SMOOTH(smooth))()
