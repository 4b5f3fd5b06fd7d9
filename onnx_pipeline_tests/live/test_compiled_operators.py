"""What an operator of a compiled graph gives on the server, at the edges of what a float holds, is ONNX Runtime's."""

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.engines.sql.dialects.tsql import TsqlDialect
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.pools.tsql.dialect import DIALECT
from onnx_pipeline_tests.engines.sql.graphs import CONDITIONS, FROM_INFINITY, OF_OVERFLOWS, OVERFLOWING, graph
from onnx_pipeline_tests.engines.sql.oracle import assert_same, by_runtime, compiled
from onnx_pipeline_tests.live.server import Server

EDGES = np.array(
    [0, -0.0, 0.5, -0.5, 1, 1.5, 2.5, -1, -2.5, 3, 0.3, 88.5, -1000, 1000, 3e38, -3e38, 1e-37, np.nan], np.float32
)
ROWS = np.vstack([np.repeat(EDGES[:, None], 3, 1), np.random.default_rng(11).choice(EDGES, (150, 3))])
CONSTANTS = (
    "float[3] w = {1.5, -0.3, 7}, float zero = {0}, float half = {0.5}, float two = {2}, float minus = {-3}, "
    "int64[1] one = {1}, int64[3] order = {2, 0, 1}, float[3,2] m = {1, 2, 0, -0.5, 3, 0.25}, float[3] powers = {2.5, -2, 0.5}, "
    "int64[3] whole = {2, -5, 0}, float top = {1e6}, float lowest = {-1e6}"
)
NUMBERS = [
    *(
        f"{operator} (x)"
        for operator in [
            "Abs",
            "Ceil",
            "Exp",
            "Floor",
            "Log",
            "Neg",
            "Reciprocal",
            "Relu",
            "Round",
            "Sigmoid",
            "Sign",
            "Sqrt",
            "Tanh",
            "Celu",
            "Elu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Selu",
            "Softplus",
            "Softsign",
            "ThresholdedRelu",
            "Erf",
            "Gelu",
            "Mish",
            "Softmax",
            "LogSoftmax",
        ]
    ),
    *(f"{operator} (x, {by})" for operator in ("Add", "Sub", "Mul", "Div") for by in ("w", "t", "zero", "top")),
    *(f"{operator} (w, x)" for operator in ("Add", "Sub", "Mul", "Div")),
    *(f"Pow ({operands})" for operands in ("x, zero", "x, half", "x, two", "x, minus", "x, powers", "w, x", "x, t")),
    *(f"Reduce{kind} (x, one)" for kind in ["Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSumExp"]),
    "MatMul (x, m)",
    "Max (x, t)",
    "Min (x, t)",
    "Clip (x, minus, two)",
    "Mod <fmod = 1> (x, w)",
    'Gelu <approximate = "tanh"> (x)',
    "CumSum (x, one)",
]
"""Bodies with one result of floats."""


@pytest.fixture(scope="module")
def edges(server: Server) -> str:
    server.execute("CREATE TABLE edges (row INT NOT NULL, c0 REAL, c1 REAL, c2 REAL)".replace("row", "number"))
    rows = [[None if np.isnan(cell) else float(cell) for cell in row] for row in ROWS]
    server.insert("edges", ["number", "c0", "c1", "c2"], [[number, *row] for number, row in enumerate(rows)])
    return "edges"


def check(
    server: Server,
    table: str,
    data: bytes,
    rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    *,
    may_refuse_tiny: bool = True,
) -> None:
    model = OnnxModel.from_bytes(data)
    program = compiled(model, ["c0", "c1", "c2"])
    source = sa.table(table, sa.column("number", sa.Integer()), *(sa.column(f"c{n}", sa.REAL()) for n in range(3)))
    statement = select(program.outputs, source, TsqlDialect(), keep=["number"])
    text = str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))
    found = sorted(server.rows(text))
    wanted = by_runtime(model, {"x": rows})
    columns = zip(*(row[1:] for row in found), strict=True)
    arrays = [pa.array(list(column)).cast(wanted.schema.field(place).type) for place, column in enumerate(columns)]
    answers = pa.table(arrays, names=[column.name for column in output_columns(model.signature)])
    assert_same(_nothing_is_zero(answers, wanted) if may_refuse_tiny else answers, wanted, relative=2e-5)


def _nothing_is_zero(found: pa.Table, wanted: pa.Table) -> pa.Table:
    """Some servers refuse a number nearer to zero than float32's normal ones, where SQL Server rounds it to zero."""
    for place, name in enumerate(wanted.schema.names):
        if pa.types.is_floating(wanted[name].type):
            tiny = abs(wanted[name].to_numpy()) < 1.2e-38
            values = found[name].to_numpy().astype(np.float32)
            found = found.set_column(place, name, pa.array(np.where(tiny & np.isnan(values), np.float32(0), values)))
    return found


@pytest.mark.parametrize("body", NUMBERS)
def test_numbers(server: Server, edges: str, body: str) -> None:
    cut = "u = Identity (x)"
    if "Reduce" in body or "Mod" in body:
        # Sums are taken in double precision, which neither overflow nor cancel out where those of float32 do.
        lowest = "zero" if "Reduce" in body else "lowest"
        cut, body = f"n = IsNaN (x) c = Clip (x, {lowest}, top) u = Where (n, x, c)", body.replace("(x", "(u")
    data = graph(
        f"{cut} t = Gather <axis = 1> (u, order) y = {body}", outputs="float[N,K] y", constants=CONSTANTS, opset=22
    )
    check(server, edges, data, ROWS, may_refuse_tiny=body not in ("Sigmoid (x)", "Softmax (x)", "Exp (x)"))


NOTHING_TINY = "size = Abs (x) tiny = Less (size, small) big = Where (tiny, small, x) "
"""Some servers refuse the square of 1e-37, and not as a prediction alone."""


# An exponential stays a double, and is 1e150 at most.
@pytest.mark.parametrize("overflowing", [each for each in OVERFLOWING if "Exp" not in each])
def test_what_overflows_is_infinity_on_the_way(server: Server, edges: str, overflowing: str) -> None:
    bodies = [(f"y = {result}", "float[N,3] y") for result in FROM_INFINITY]
    bodies += [(f"t = Gather <axis = 1> (u, order) y = {result}", "bool[N,3] y") for result in CONDITIONS]
    bodies.append(("y = ArgMax <axis = 1> (u)", "int64[N,1] y"))
    constants = f"{OF_OVERFLOWS}, float small = {{0.01}}"
    for body, outputs in bodies:
        made = NOTHING_TINY + overflowing.replace("(x", "(big").replace(", x", ", big") + f" {body}"
        check(server, edges, graph(made, outputs=outputs, constants=constants, opset=20), ROWS)


def test_conditions_and_places(server: Server, edges: str) -> None:
    names = ["Equal (x, t)", "Less (x, t)", "LessOrEqual (t, x)", "Greater (x, w)", "GreaterOrEqual (x, zero)", "Not (a)",
             "And (a, f)", "Or (b, f)", "Xor (b, d)", "IsNaN (x)"]  # fmt: skip
    bodies = dict(zip("abcdefghij", names, strict=True))
    body = "t = Gather <axis = 1> (x, order) " + " ".join(f"{name} = {each}" for name, each in bodies.items())
    body += " k = ArgMax <axis = 1> (x) l = ArgMin <axis = 1, select_last_index = 1> (x)"
    outputs = ", ".join([*(f"bool[N,3] {name}" for name in bodies), "int64[N,1] k", "int64[N,1] l"])
    check(server, edges, graph(body, outputs=outputs, constants=CONSTANTS), ROWS)


def test_whole_numbers(server: Server, edges: str) -> None:
    body = "s = Clip (x, minus, top) z = Where (n, zero, s) i = Cast <to = 7> (z) a = Div (i, v) b = Mod (i, v) "
    body += "c = Mod <fmod = 1> (i, v) d = Cast <to = 8> (i) f = Cast <to = 9> (x)"
    constants = CONSTANTS.replace("top = {1e6}", "top = {1e9}") + ", int64[3] v = {2, -5, 3}"
    outputs = "int64[N,3] a, int64[N,3] b, int64[N,3] c, string[N,3] d, bool[N,3] f"
    check(server, edges, graph(f"n = IsNaN (x) {body}", outputs=outputs, constants=constants), ROWS)
