"""Models of other libraries' exporters give by SQL what ONNX Runtime gives: the exporters are in exported/make.py."""

from pathlib import Path

import numpy as np
import pytest

from onnx_pipeline_tests.engines.sql.oracle import check

HERE = Path(__file__).parent / "exported"
REGRESSORS = Path(__file__).parents[2] / "models" / "exported"
MODELS = sorted([*HERE.glob("*.onnx"), *REGRESSORS.glob("*.onnx")])


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_exported(path):
    random = np.random.default_rng(3)
    rows = random.normal(size=(300, 4)).astype(np.float32).round(2)
    rows[:, 3] = random.integers(-1, 7, 300)
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[random.random(rows.shape) < 0.02] = np.inf
    rows[random.random(rows.shape) < 0.02] = 0
    check(path.read_bytes(), rows)
