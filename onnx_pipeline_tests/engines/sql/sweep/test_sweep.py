"""Estimators that compile give the answers of ONNX Runtime, and the page of them says what is so."""

import pytest

from onnx_pipeline_tests.engines.sql.oracle import check_inputs
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
    from onnx_pipeline_tests.engines.sql.sweep import estimators

    assert len(CASES) == len(estimators.TABLE)
    assert len(compiled_ones(CASES.values())) > 100
