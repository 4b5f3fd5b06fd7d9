"""Estimators that compile give the answers of ONNX Runtime, and the page of them says what is so."""

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline_tests.engines.sql.oracle import assert_same, by_duckdb, by_runtime, check_inputs, read
from onnx_pipeline_tests.engines.sql.sweep.cases import exported, tried_on
from onnx_pipeline_tests.engines.sql.sweep.estimators import CASES
from onnx_pipeline_tests.engines.sql.sweep.page import PAGE, page, row, versions

QUICK = [case for case in CASES.values() if case.quick]
LINES = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []


def named(cases):
    return [pytest.param(case, id=case.name) for case in cases]


def compiled_ones(cases):
    """Those that the page says are compiled: a test of the page says whether it is right."""
    return [case for case in cases if f"| {case.name} | {case.exporter} | compiled |  |" in LINES]


@pytest.mark.parametrize("case", named(compiled_ones(QUICK)))
def test_the_answers_of_onnx_runtime(case):
    check_inputs(exported(case), tried_on(case), relative=case.relative, absolute=case.absolute)


@pytest.mark.nightly
@pytest.mark.parametrize("case", named(case for case in compiled_ones(CASES.values()) if not case.quick))
def test_the_answers_of_onnx_runtime_for_the_rest(case):
    check_inputs(exported(case), tried_on(case), relative=case.relative, absolute=case.absolute)


def of_numbers(cases):
    """Those over `[N, F]` of float32; what their labels are beside NaN is left open."""
    others = ("Binarizer", "CategoricalNB")  # ONNX Runtime scores no batch with NaN by them.
    return [
        case
        for case in compiled_ones(cases)
        if case.data not in ("texts", "integers", "mixed") and case.name not in others
    ]


def check_holes(case):
    """Where a cell is NaN, floats are NULL where ONNX Runtime gives NaN, and values where it gives values."""
    model, rows = read(exported(case)), tried_on(case)[case.input].copy()
    rows[np.random.default_rng(9).random(rows.shape) < 0.15] = np.nan
    columns = [f"c{place}" for place in range(rows.shape[1])]
    found = by_duckdb(model, pa.table({name: rows[:, place] for place, name in enumerate(columns)}), columns)
    wanted = by_runtime(model, {case.input: rows})
    floats = [field.name for field in wanted.schema if pa.types.is_floating(field.type)]
    assert_same(found.select(floats), wanted.select(floats), relative=1e-4, absolute=1e-4)


@pytest.mark.parametrize("case", named(of_numbers(QUICK)))
def test_missing_values(case):
    check_holes(case)


@pytest.mark.nightly
@pytest.mark.parametrize("case", named(case for case in of_numbers(CASES.values()) if not case.quick))
def test_missing_values_for_the_rest(case):
    check_holes(case)


@pytest.mark.parametrize("case", named(QUICK))
def test_the_page_tells_what_becomes_of_an_estimator(case):
    of_these_versions()
    assert row(case) in LINES, "run python -m onnx_pipeline_tests.engines.sql.sweep.page"


@pytest.mark.nightly
def test_the_page_is_up_to_date():
    of_these_versions()
    assert page().splitlines() == LINES, "run python -m onnx_pipeline_tests.engines.sql.sweep.page"


def of_these_versions():
    """Other versions of the exporters may convert more, or in another way."""
    if f"Made with {versions()}." not in LINES:
        pytest.skip(f"the page was made with other versions; here are {versions()}")


def test_every_estimator_has_a_name_of_its_own_and_most_compile():
    from onnx_pipeline_tests.engines.sql.sweep import estimators, kept

    assert len(CASES) == len(estimators.TABLE) + len(kept.TABLE)
    assert len(compiled_ones(CASES.values())) > 100
