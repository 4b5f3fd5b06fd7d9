"""Every engine that is built in gives what plain ONNX Runtime gives, refuses what the others refuse, and tells the same."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, OnnxPipelineError, UnsupportedModelError
from onnx_pipeline.spec.engines.registry import BUILT_IN
from onnx_pipeline_tests.engines.conftest import Server, ground_of_engine, service_over
from onnx_pipeline_tests.engines.parity import CASES, PARTS, Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import Ground

Engine = Callable[[Case], Mapping[str, Any]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service with the models of all cases, each by its sha256."""
    folder = tmp_path_factory.mktemp("models")
    for case in CASES.values():
        data = case.make()
        (folder / f"{hashlib.sha256(data).hexdigest()}.onnx").write_bytes(data)
    server = service_over(folder)
    yield server
    server.end()


@pytest.fixture
def engine_of(request: pytest.FixtureRequest) -> Callable[[str, Case], Mapping[str, Any]]:
    """The attribute `engine` of a kind, with what it needs running."""

    def engine(kind: str, case: Case) -> Mapping[str, Any]:
        if kind != "remote":
            return {"kind": kind}
        name = hashlib.sha256(case.make()).hexdigest()
        return {"kind": kind, "url": f"{request.getfixturevalue('service').url}/models/{name}/score"}

    return engine


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """The pool of the engine that the test is about."""
    return ground_of_engine(request.node.callspec.params.get("kind", "sql"), tmp_path, request)


Make = Callable[..., Scored]


@pytest.fixture
def scored(ground: Ground, tmp_path: Path, engine_of: Any) -> Make:
    def make(kind: str, case: Case, **attributes: Any) -> Scored:
        return Scored(ground, tmp_path / kind, case, engine_of(kind, case), **attributes)

    return make


REFUSED = {("predict", "a matrix beside columns"): "nulls puts \"it's ünknown\" in place of NULL in column 'word'"}
"""What an engine says of a case that is beyond it."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", BUILT_IN)
def test_predictions_are_those_of_plain_onnx_runtime(kind: str, case: str, ground: Ground, scored: Make) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    one = scored(kind, CASES[case])
    if (kind, case) in REFUSED:
        with pytest.raises(UnsupportedModelError, match=REFUSED[kind, case]):
            one.run()
        return
    one.run()
    one.assert_right(table)


OTHERS = [kind for kind in BUILT_IN if kind != "onnxruntime"]


@pytest.mark.parametrize(
    "case", ["tree with stand-ins", "tree that routes missing values", "arithmetic", "whole numbers"]
)
@pytest.mark.parametrize("kind", OTHERS)
def test_null_counts_and_statistics_are_those_of_onnxruntime(
    kind: str, case: str, ground: Ground, scored: Make
) -> None:
    ground.store("rows", rows())
    wanted = scored("onnxruntime", CASES[case]).run()
    found = scored(kind, CASES[case]).run()
    assert list(found) == list(PARTS)
    for key in PARTS:
        assert found[key]["null_counts"] == wanted[key]["null_counts"]
        for name, column in wanted[key]["statistics"].items():
            one, other = found[key]["statistics"][name], column
            assert (one.missing, one.summary().count) == (other.missing, other.summary().count)
            assert one.summary().mean == pytest.approx(other.summary().mean, rel=1e-5)
            assert one.summary().minimum == pytest.approx(other.summary().minimum, rel=1e-5)
            assert sum(one.summary().shares) == pytest.approx(sum(other.summary().shares))


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize(
    ("case", "column", "value", "reason"),
    [
        (
            "tree",
            "b",
            1e39,
            r"column 'b' of the row with id = 10 is 1e\+39, out of the range of float32, which ends at 3.4028",
        ),
        ("tree", "b", -3.5e38, r"column 'b' of the row with id = 10 is -3.5e\+38, out of the range of float32"),
        (
            "whole numbers",
            "c",
            2.5,
            "column 'c' of the row with id = 10 is 2.5, which has a fraction, and the model takes int64",
        ),
        (
            "whole numbers",
            "c",
            1e19,
            r"column 'c' of the row with id = 10 is 1e\+19, and int64 holds -9223372036854775808 to",
        ),
        ("whole numbers", "c", float("-inf"), "column 'c' of the row with id = 10 is -inf, and int64 holds"),
    ],
)
def test_a_value_without_a_form_in_the_models_dtype_is_refused_and_named(
    kind: str, case: str, column: str, value: float, reason: str, ground: Ground, scored: Make
) -> None:
    table = rows(gaps=False)
    values = [value if place == 10 else each for place, each in enumerate(table[column].to_pylist())]
    ground.store("rows", table.set_column(table.column_names.index(column), column, pa.array(values, pa.float64())))
    with pytest.raises(FeatureValueError, match=reason):
        scored(kind, CASES[case]).run(["p"])
    assert "scored" not in ground.tables()


def refusal(scored: Scored, kind: type[OnnxPipelineError]) -> str:
    with pytest.raises(kind) as raised:
        scored.run(["p"])
    return str(raised.value)


@pytest.mark.parametrize("case", ["tree", "whole numbers"])
@pytest.mark.parametrize("kind", OTHERS)
def test_null_without_a_form_is_refused_in_the_same_words(kind: str, case: str, ground: Ground, scored: Make) -> None:
    if kind == "remote":
        pytest.skip("a service of ours refuses by its own answer, which other tests look at")
    ground.store("rows", rows())
    bare = Case(CASES[case].make, CASES[case].features)
    assert refusal(scored(kind, bare), NullFeatureError) == refusal(scored("onnxruntime", bare), NullFeatureError)
    assert "scored" not in ground.tables()


@pytest.mark.parametrize("value", [3.4028235e38, float("inf"), -1e-46, 0.1])
def test_a_double_at_the_ends_of_float32_means_the_same_in_the_pool(value: float, ground: Ground, scored: Make) -> None:
    table = rows(gaps=False)
    values = [value if place == 10 else each for place, each in enumerate(table["b"].to_pylist())]
    table = table.set_column(table.column_names.index("b"), "b", pa.array(values, pa.float64()))
    ground.store("rows", table)
    one = scored("sql", CASES["tree"])
    one.run()
    one.assert_right(table)
