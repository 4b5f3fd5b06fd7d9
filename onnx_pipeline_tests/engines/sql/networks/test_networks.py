"""Networks: those of PyTorch's exporters give ONNX Runtime's answers, and what layers share is computed once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import sqlalchemy as sa
from onnx import helper, numpy_helper

from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.dialects.tsql import TsqlDialect
from onnx_pipeline.engines.sql.rendering import program_of, select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline_tests.engines.sql.graphs import graph
from onnx_pipeline_tests.engines.sql.oracle import check, compiled

EXPORTED = sorted(Path(__file__).parent.glob("*.onnx"))
random = np.random.default_rng(5)


@pytest.mark.parametrize("path", EXPORTED, ids=lambda path: path.stem)
def test_exported_networks(path):
    rows = random.normal(size=(300, 4)).astype(np.float32)
    rows[0, 1] = np.nan
    check(path.read_bytes(), rows)


def perceptron(sizes: list[int], activation: str = "Relu") -> bytes:
    """Layers of those sizes, the first being the number of features."""
    nodes, weights, last = [], [], "x"
    for layer, (before, after) in enumerate(pairwise(sizes)):
        for name, shape in (("w", (before, after)), ("b", (after,))):
            values = random.normal(size=shape).astype(np.float32)
            weights.append(numpy_helper.from_array(values, f"{name}{layer}"))
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"s{layer}"]))
        nodes.append(helper.make_node(activation, [f"s{layer}"], [f"h{layer}"]))
        last = f"h{layer}"
    types = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", size])
        for name, size in (("x", sizes[0]), (last, sizes[-1]))
    ]
    made = helper.make_graph(nodes, "perceptron", types[:1], types[1:], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


@pytest.mark.parametrize("dialect", [DuckDBDialect(), TsqlDialect()], ids=["duckdb", "tsql"])
@pytest.mark.parametrize("activation", ["Relu", "Sigmoid"])
def test_what_neurons_share_is_computed_once(dialect, activation):
    def statement(hidden: int) -> tuple[int, int]:
        model = OnnxModel.from_bytes(perceptron([8, hidden, hidden, 2], activation))
        columns = [f"c{place}" for place in range(8)]
        outputs = compiled(model, columns).outputs
        source = sa.table("t", *(sa.column(name, sa.REAL()) for name in columns))
        text = select(outputs, source, dialect).compile(
            dialect=dialect.renders_by, compile_kwargs={"literal_binds": True}
        )
        return len(program_of(outputs, source, dialect, in_one=True).steps), len(str(text))

    (steps, small), (same, large) = statement(8), statement(16)
    assert steps == same <= 9
    # Four times the weights between the hidden layers, and no more than four times the text.
    assert large < 4 * small


def test_a_perceptron_answers_like_onnx_runtime():
    check(perceptron([8, 16, 16, 3], "Tanh"), random.normal(size=(200, 8)).astype(np.float32))


def test_a_thousand_terms_add_up():
    body = "p = MatMul (x, w) s = Add (p, p) y = Identity (s)"
    # Of one sign: what cancels out shows the last digits of float32 sums, which have no order that could be kept.
    weights = random.uniform(0.1, 1, size=(1000, 1)).astype(np.float32)
    model = onnx.load_model_from_string(graph(body, inputs="float[N,1000] x, float[1000,1] w", outputs="float[N,1] y"))
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    del model.graph.input[1]
    check(model.SerializeToString(), random.uniform(0, 1, size=(50, 1000)).astype(np.float32))
    zeros = np.zeros((20, 1000), np.float32)
    check(model.SerializeToString(), zeros)


def test_what_no_row_decides_is_computed_while_compiling():
    body = "a = Exp (w) b = Log (a) c = MatMul (b, m) d = Softmax (c) y = Add (x, d)"
    constants = "float[1,3] w = {1, 2, 3}, float[3,3] m = {1, 2, 0, -0.5, 3, 0.25, 1, 0, 4}"
    data = graph(body, constants=constants)
    outputs = compiled(OnnxModel.from_bytes(data), ["c0", "c1", "c2"]).outputs
    assert {each.op for output in outputs.values() for each in output.args} == {"column", "constant"}
    check(data, random.normal(size=(20, 3)).astype(np.float32))


def test_functions_and_branches_of_a_model_are_compiled():
    text = """
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        tested (float[N,3] x) => (float[N,3] y) <bool yes = {1}>
        {
            a = own.halved (x)
            y = If (yes) <
                then_branch = then () => (float[N,3] t) { t = Relu (a) },
                else_branch = other () => (float[N,3] e) { e = Neg (a) }
            >
        }
        <domain: "own", opset_import: ["" : 18]>
        halved (v) => (h) { two = Constant <value = float {2}> () h = Div (v, two) }
    """
    model = onnx.parser.parse_model(text)
    check(model.SerializeToString(), random.normal(size=(20, 3)).astype(np.float32))
