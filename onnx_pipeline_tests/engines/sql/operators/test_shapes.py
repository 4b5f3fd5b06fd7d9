"""What changes shapes and takes parts: each row keeps its own values."""

import numpy as np
import onnx
import pytest

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.graph import compile_graph
from onnx_pipeline.engines.sql.tensors import Tensor
from onnx_pipeline_tests.engines.sql.graphs import graph
from onnx_pipeline_tests.engines.sql.oracle import check

ROWS = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32)

BODIES = [
    "y = Reshape (x, minus)",
    "r = Reshape (x, cube) f = Flatten (r) y = Identity (f)",
    "r = Reshape (x, cube) t = Transpose <perm = [0, 2, 1]> (r) y = Reshape (t, minus)",
    "t = Transpose (x) r = Reshape (t, halves) b = Transpose <perm = [2, 1, 0]> (r) y = Flatten (b)",
    "s = Shape (x) n = Gather (s, zero) u = Unsqueeze (n, axis0) c = Concat <axis = 0> (u, m1) y = Reshape (x, c)",
    "s = Shape <end = 1> (x) c = Concat <axis = 0> (s, two, m1) r = Reshape (x, c) y = Flatten (r)",
    "u = Unsqueeze (x, axis0) t = Transpose <perm = [1, 0, 2]> (u) y = Squeeze (t, axis1)",
    "a, b = Split <axis = 1, num_outputs = 2> (x) y = Concat <axis = 1> (b, a)",
    "a, b = Split <axis = -1> (x, parts) y = Concat <axis = -1> (b, a)",
    "y = Gather <axis = 1> (x, order)",
    "t = Transpose (x) g = Gather <axis = 0> (t, order) y = Transpose (g)",
    "y = Slice (x, five, before, axis1, m1)",
    "y = Slice (x, axis0, end, axis0)",
    "y = Slice (x, axis1, end, axis1, two)",
    "s = Shape (x) e = ConstantOfShape (s) y = Add (x, e)",
    """s = Shape (x) q = Equal (s, m1) o = ConstantOfShape <value = int64[1] {1}> (two) w = Where (q, o, s)
    e = Expand (six, w) y = Mul (x, e)""",
    "a = Slice (x, axis0, axis1, axis1) e = Expand (a, row) y = Sub (x, e)",
]
CONSTANTS = (
    "int64[2] minus = {-1, 6}, int64[3] cube = {0, 2, 3}, int64[3] halves = {2, 3, -1}, int64 zero = {0}, "
    "int64[1] axis0 = {0}, int64[1] axis1 = {1}, int64[1] m1 = {-1}, int64[1] two = {2}, int64[2] parts = {2, 4}, "
    "int64[6] order = {5, 3, 1, -6, 2, 4}, int64[1] five = {5}, int64[1] before = {-100}, "
    "int64[1] end = {9223372036854775807}, float[6] six = {1, 2, 3, 4, 5, 6}, int64[2] row = {1, 6}"
)


@pytest.mark.parametrize("body", BODIES)
def test_each_row_keeps_its_values(body):
    check(graph(body, inputs="float[N,6] x", outputs="float[N,K] y", constants=CONSTANTS), ROWS)


def test_forms_of_old_operator_sets():
    body = (
        "u = Unsqueeze <axes = [1]> (x) s = Squeeze <axes = [1]> (u) a, b = Split <axis = 1, split = [1, 5]> (s) "
        "c = Concat <axis = 1> (b, a) y = Slice <axes = [1], starts = [1], ends = [9]> (c)"
    )
    check(graph(body, inputs="float[N,6] x", outputs="float[N,K] y", opset=9), ROWS)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = Reshape (x, pairs)", r"\[N, 6\] to \[-1, 3\] would not keep each row's values together"),
        ("r = Reshape (x, cube) t = Transpose (r) y = Flatten (t)", "would not keep each row's values together"),
        ("y = ReduceMean <axes = [0]> (x)", r"works along axis 0 of \[N, 6\], and so mixes rows"),
        ("t = Transpose (x) y = MatMul (x, t)", r"the rows of \[N, 6\] meet those of \[6, N\]"),
        ("t = Transpose (x) y = MatMul (t, x)", "sums over the rows"),
        ("y = Gather (x, two)", "mixes rows"),
        ("y = Concat <axis = 0> (x, x)", "mixes rows"),
        ("y = Softmax <axis = 0> (x)", "mixes rows"),
        (
            "s = Shape (x) f = Cast <to = 1> (s) n = Gather (f, zero) y = Mul (x, n)",
            "depends on how many rows are scored",
        ),
        ("t = Transpose (x) y = Add (t, x)", "rows of one input would meet the columns of another"),
    ],
)
def test_what_would_mix_rows_is_refused(body, why):
    constants = "int64[2] pairs = {-1, 3}, int64[3] cube = {0, 2, 3}, int64[1] two = {2}, int64 zero = {0}"
    data = graph(body, inputs="float[N,6] x", outputs="float[A,B] y", constants=constants, opset=13)
    cells = [[algebra.column(f"c{place}", Kind.FLOAT) for place in range(6)]]
    with pytest.raises(NotCompilableError, match=why):
        compile_graph(onnx.load_model_from_string(data), {"x": Tensor.of_cells(cells, np.float32)}, ["y"])


def test_each_row_chooses_by_its_own_place():
    body = "a = ArgMax <axis = 1> (x) w = Gather (names, a) y = Flatten (w)"
    check(
        graph(
            body,
            inputs="float[N,6] x",
            outputs="string[N,K] y",
            constants='string[6] names = {"a", "b", "c", "d", "e", "f"}',
        ),
        ROWS,
    )
    body = "a = ArgMax <axis = 1> (x) y = GatherElements <axis = 1> (x, a)"
    check(graph(body, inputs="float[N,6] x", outputs="float[N,K] y"), ROWS)
