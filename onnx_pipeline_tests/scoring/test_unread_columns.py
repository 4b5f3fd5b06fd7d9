"""Columns that move no prediction stay in the pool: what that means for features, NULLs, settings and the log."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.spec.engines.options import ColumnsRead
from onnx_pipeline_tests.engines.parity import NUMBERS, PARTS, Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import DuckDBGround

KINDS = ("onnxruntime", "sql")


def stump() -> bytes:
    """A tree over three columns that tests `b` alone."""
    matrix = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    fitted = DecisionTreeRegressor(max_depth=2, random_state=0).fit(matrix, np.sign(matrix[:, 1]))
    return bytes(to_onnx(fitted, matrix[:1]).SerializeToString())


@pytest.fixture
def ground(tmp_path: Path) -> DuckDBGround:
    ground = DuckDBGround(tmp_path)
    ground.store("rows", table())
    return ground


def table() -> pa.Table:
    """`a` and `c` have NULLs, which the tree's exporter says nothing of; `b` has none."""
    whole = rows(gaps=False)
    return rows().set_column(rows().column_names.index("b"), "b", whole["b"])


@pytest.fixture
def scored(ground: DuckDBGround, tmp_path: Path) -> Any:
    def make(kind: str, case: Case | None = None) -> Scored:
        return Scored(ground, tmp_path / kind, case or Case(stump, NUMBERS), {"kind": kind})

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_not_extracted_and_nothing_in_them_matters(kind: str, scored: Any) -> None:
    one = scored(kind)
    assert (one.plan.features, one.plan.unread) == ({"b": "b"}, {"a": "a", "c": "c"})
    found = one.run()
    assert found["p"]["null_counts"] == {"b": 0}
    one.assert_right(table())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stand_in_for_one_is_no_mistake(kind: str, scored: Any) -> None:
    one = scored(kind, Case(stump, NUMBERS, {"a": 0, "b": 1}))
    one.run()
    one.assert_right(table())


def test_a_service_is_sent_every_column(scored: Any, ground: DuckDBGround) -> None:
    spec = Case(stump, NUMBERS).spec({"kind": "remote", "url": "http://127.0.0.1:1/score"})
    assert spec.engine.columns_read is ColumnsRead.EVERY
    assert scored("sql").spec.engine.columns_read is ColumnsRead.NEEDED


def weighed(*weights: float) -> bytes:
    """A linear model over an `[N, F]` input, two scores of which the second has the weights the other way round."""
    matrix = np.array([weights, weights[::-1]], np.float32).T
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), *heads()],
        "weighed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("one", "two")],
        [numpy_helper.from_array(matrix, "w"), *(numpy_helper.from_array(np.array([k]), f"k{k}") for k in range(2))],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def heads() -> list[Any]:
    return [helper.make_node("Gather", ["m", f"k{k}"], [name], axis=1) for k, name in enumerate(("one", "two"))]


def numbers() -> pa.Table:
    """`e`: one large whole number and NULLs; `d` decimals."""
    whole = rows(gaps=False)
    count = whole.num_rows
    large = pa.array([2**62 - place for place in range(count)], pa.int64())
    decimal = pa.array([place - 100 for place in range(count)], pa.int64()).cast(pa.decimal128(21, 2))
    holes = pa.array([None if place % 3 else place for place in range(count)], pa.int64())
    return whole.append_column("large", large).append_column("decimal", decimal).append_column("holes", holes)


def column(name: str) -> dict[int, Any]:
    """By id, without NULLs."""
    whole = table() if name == "b" else rows(gaps=False)
    return dict(zip(whole["id"].to_pylist(), whole[name].to_pylist(), strict=True))


DECLARED = ("large", "decimal", "a")
ZERO = "its weight is zero, and it always holds a number"


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_weight_leaves_a_column_out_that_always_holds_a_number(
    kind: str, scored: Any, ground: DuckDBGround
) -> None:
    ground.store("rows", numbers())
    columns = ["a", "large", "decimal", "holes", "b"]
    case = Case(lambda: weighed(0.5, 0, 0, 0, 0), columns, attributes={"outputs": {"one": "one"}})
    # Nothing is declared: each of them may be NULL.
    assert set(scored(kind, case).plan.unread) == set()
    for name in DECLARED:
        with ground.pool.connect("declaring") as connection:
            connection.execute(f'ALTER TABLE rows ALTER COLUMN "{name}" SET NOT NULL')
    one = scored(kind, case)
    assert one.plan.why_unread == {"large": ZERO, "decimal": ZERO}
    filled = scored(kind, Case(case.make, columns, {"holes": 3}, attributes=case.attributes))
    assert filled.plan.why_unread == {"large": ZERO, "decimal": ZERO, "holes": ZERO}
    not_a_number = scored(kind, Case(case.make, columns, {"holes": "nan"}, attributes=case.attributes))
    assert "holes" in not_a_number.plan.features
    found = filled.run()
    assert found["p"]["null_counts"] == {"a": 0, "b": 0}
    standing = dict(ground.query("SELECT id, one FROM scored"))
    assert standing == {id_: value * 0.5 for id_, value in column("a").items()}


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_query_nobody_says_that_a_column_is_never_null(kind: str, scored: Any, ground: DuckDBGround) -> None:
    ground.store("rows", numbers())
    with ground.pool.connect("declaring") as connection:
        connection.execute("ALTER TABLE rows ALTER COLUMN large SET NOT NULL")
    attributes = {"outputs": {"one": "one"}, "source": {"query": "SELECT * FROM rows"}}
    assert scored(kind, Case(lambda: weighed(0.5, 0), ["a", "large"], attributes=attributes)).plan.unread == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_moves_only_a_prediction_that_is_left_out_is_not_read(
    kind: str, scored: Any, ground: DuckDBGround
) -> None:
    def picked() -> bytes:
        model = onnx.load_model_from_string(weighed(1, 1))
        del model.graph.node[0]
        for node in model.graph.node:
            node.input[0] = "x"
        return bytes(model.SerializeToString())

    case = Case(picked, ["b", "a"], attributes={"outputs": {"one": "one"}})
    one = scored(kind, case)
    assert one.plan.why_unread == {"a": "it moves no prediction that `outputs` names"}
    one.run()
    assert dict(ground.query("SELECT id, one FROM scored")) == pytest.approx(column("b"))
    both = scored(kind, Case(picked, ["b", "a"], attributes={"target": "both"}))
    assert both.plan.unread == {} and both.plan.origin != one.plan.origin


def test_a_model_that_reads_nothing_is_fed_as_it_came(scored: Any, ground: DuckDBGround) -> None:
    ground.store("rows", numbers())
    with ground.pool.connect("declaring") as connection:
        connection.execute("ALTER TABLE rows ALTER COLUMN large SET NOT NULL")
    one = scored("onnxruntime", Case(lambda: weighed(0, 0), ["large", "large"]))
    assert (one.plan.features, one.plan.unread) == ({"large": "large"}, {})


def test_what_was_scored_with_every_column_stays_scored(
    scored: Any, ground: DuckDBGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a release before did it; the NULLs would be refused there.
    ground.store("rows", rows(gaps=False))
    with monkeypatch.context() as before:
        before.setattr(OnnxModel, "reads", lambda *_, **__: True)
        old = scored("onnxruntime")
        assert set(old.plan.features) == set(NUMBERS)
        old.run()
        origin = old.plan.origin
    for kind in KINDS:
        new = scored(kind)
        assert new.plan.origin == origin
        (sha256,) = {row.model_sha256 for row in ground.pool.scoring_log("parity").values()}
        assert pending(new.spec, ground.pool, partitioning(new.spec), sha256) == []
        new.run(run_id="again")
        new.assert_right(rows(gaps=False))
    assert {row.run_id for row in ground.pool.scoring_log("parity").values()} == {"again"}
    assert set(ground.pool.scoring_log("parity")) == set(PARTS)
