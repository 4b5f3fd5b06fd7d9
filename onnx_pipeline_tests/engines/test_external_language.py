"""The engine `external_language`: whole scorings on an imitated SQL Server, whose language is the built extension."""

from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline_tests.engines.parity import CASES, Scored, rows
from onnx_pipeline_tests.extension.as_language import BuiltExtension
from onnx_pipeline_tests.pools.grounds import ImitatedGround


@pytest.fixture
def ground(onnx_language: BuiltExtension, tmp_path: Path) -> ImitatedGround:
    ground = ImitatedGround("mssql", tmp_path)
    ground.server.languages["ONNX"] = onnx_language
    return ground


def scored(ground: ImitatedGround, folder: Path, case: str, **options: Any) -> Scored:
    return Scored(ground, folder / "staging", CASES[case], {"kind": "external_language", **options})


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_plain_onnx_runtime(case: str, ground: ImitatedGround, tmp_path: Path) -> None:
    table = rows(gaps=CASES[case].gaps)
    ground.store("rows", table)
    one = scored(ground, tmp_path, case)
    one.run()
    one.assert_right(table)
