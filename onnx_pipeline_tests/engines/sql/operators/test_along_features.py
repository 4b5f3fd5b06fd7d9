"""Products of matrices, reductions, softmax and the place of the largest, along a row's own values."""

import numpy as np
import pytest

from onnx_pipeline_tests.engines.sql.graphs import edges, graph
from onnx_pipeline_tests.engines.sql.oracle import check

ROWS = np.random.default_rng(3).normal(size=(200, 3)).astype(np.float32)
WIDE = "float[N,K] y"


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul (x, w)",
        "y = Gemm <alpha = 2.0, beta = 0.5> (x, w, b)",
        "y = Gemm <transB = 1> (x, v)",
        "t = Transpose (x) p = MatMul (v, t) y = Transpose (p)",
        "t = Transpose (x) y = Gemm <transA = 1> (t, w, b)",
        "u = Unsqueeze (x, one) p = MatMul (u, w) y = Squeeze (p, one)",
        "u = Unsqueeze (x, one) t = Transpose <perm = [0, 2, 1]> (u) p = MatMul (u, t) y = Flatten (p)",
    ],
)
def test_products_of_matrices(body):
    constants = (
        "float[3,2] w = {1, 2, 0, -0.5, 3, 0.25}, float[2] b = {0.1, -7}, float[2,3] v = {1, 2, 0, 4, 5, 6}, "
        "int64[1] one = {1}"
    )
    check(graph(body, outputs=WIDE, constants=constants), ROWS)
    check(graph(body, outputs=WIDE, constants=constants), edges()[:100])


REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSumExp", "LogSum"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    axes = "<axes = [1]>"
    rows = abs(ROWS) if name == "LogSum" else ROWS
    check(
        graph(
            f"y = Reduce{name} {axes} (x)" if name != "Sum" else "y = ReduceSum (x, one)",
            outputs=WIDE,
            opset=13,
            constants="int64[1] one = {1}",
        ),
        rows,
    )
    check(
        graph(
            f"r = Reduce{name} <keepdims = 0> (x, one) y = Unsqueeze (r, one)",
            outputs=WIDE,
            constants="int64[1] one = {-1}",
        ),
        rows,
    )


@pytest.mark.parametrize("name", ["Sum", "Mean", "Max", "Min", "L1", "L2"])
def test_reductions_of_edges(name):
    rows = edges()
    rows = rows[~(abs(rows) > 1e30).any(axis=1)]
    check(graph(f"y = Reduce{name} (x, one)", outputs=WIDE, constants="int64[1] one = {1}"), rows)


@pytest.mark.parametrize("columns", [2, 3, 5])
@pytest.mark.parametrize(
    "body",
    ["y = ArgMax <axis = 1> (x)", "y = ArgMax <axis = 1, select_last_index = 1> (x)", "y = ArgMin <axis = 1> (x)"],
)
def test_the_place_of_the_largest(body, columns):
    check(graph(body, inputs=f"float[N,{columns}] x", outputs="int64[N,1] y"), edges(columns))


@pytest.mark.parametrize("largest", [0, 1])
def test_top_of_one(largest):
    body = f"v, i = TopK <largest = {largest}> (x, k) f = Cast <to = 1> (i) y = Concat <axis = 1> (v, f)"
    check(graph(body, outputs=WIDE, constants="int64[1] k = {1}"), edges())


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_softmax_does_not_overflow(operator, opset, columns):
    rows = edges(columns)
    check(graph(f"y = {operator} (x)", inputs=f"float[N,{columns}] x", outputs=WIDE, opset=opset), rows)


def test_hardmax():
    check(graph("y = Hardmax (x)"), edges())
