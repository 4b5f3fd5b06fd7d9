"""The engine `sql` on a server: the parity suite's models and rows, scored where they lie."""

from pathlib import Path

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError
from onnx_pipeline_tests.engines.parity import CASES, Case, Scored, rows
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path) -> LiveGround:
    return LiveGround(server, open_with("mssqlpython"), tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_plain_onnx_runtime(case: str, ground: LiveGround, tmp_path: Path) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    one = Scored(ground, tmp_path / "staging", CASES[case], {"kind": "sql"})
    found = one.run()
    one.assert_right(table)
    other = Scored(ground, tmp_path / "here", CASES[case], {"kind": "onnxruntime"})
    for key, wanted in other.run().items():
        assert found[key]["null_counts"] == wanted["null_counts"]
        for name, column in wanted["statistics"].items():
            assert found[key]["statistics"][name].missing == column.missing
            ours, theirs = found[key]["statistics"][name].summary(), column.summary()
            if theirs.mean is None:  # of texts
                assert dict(zip(ours.categories, ours.shares, strict=True)) == pytest.approx(
                    dict(zip(theirs.categories, theirs.shares, strict=True))
                )
            else:
                assert ours.mean == pytest.approx(theirs.mean, rel=1e-5)


@pytest.mark.parametrize(
    ("case", "column", "value", "reason"),
    [
        (
            "tree",
            "b",
            1e39,
            r"column 'b' of the row with id = 10 is 1e\+39, out of the range of float32, which ends at 3.4028",
        ),
        (
            "whole numbers",
            "c",
            2.5,
            "column 'c' of the row with id = 10 is 2.5, which has a fraction, and the model takes int64",
        ),
    ],
)
def test_a_value_without_a_form_in_the_models_dtype_is_refused_and_named(
    case: str, column: str, value: float, reason: str, ground: LiveGround, tmp_path: Path
) -> None:
    table = rows(gaps=False)
    values = [value if place == 10 else each for place, each in enumerate(table[column].to_pylist())]
    ground.store("rows", table.set_column(table.column_names.index(column), column, pa.array(values, pa.float64())))
    with pytest.raises(FeatureValueError, match=reason):
        Scored(ground, tmp_path / "staging", CASES[case], {"kind": "sql"}).run(["p"])
    assert not {name for name in ground.tables() if name.startswith("onnx_landing")}


def test_null_without_a_form_is_refused_and_leaves_nothing(ground: LiveGround, tmp_path: Path) -> None:
    ground.store("rows", rows())
    bare = Case(CASES["whole numbers"].make)
    with pytest.raises(NullFeatureError, match="ONNX has no form for a missing value in a tensor of int64"):
        Scored(ground, tmp_path / "staging", bare, {"kind": "sql"}).run(["p"])
    assert not {name for name in ground.tables() if name.startswith("onnx_landing")}
