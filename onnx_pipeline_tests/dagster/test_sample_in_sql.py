"""The sample's two scorings with one line changed: `engine: {kind: sql}`."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
import yaml

import onnx_pipeline
from onnx_pipeline.sample import MODELS
from onnx_pipeline.sample.encounters import TREE_FEATURES
from onnx_pipeline.sample.train import encounters
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import Project, Runner

DEFS = Path(onnx_pipeline.__file__).parent / "defs"
DAYS = ("2026-01-01", "2026-01-02")


@pytest.mark.parametrize("scoring", ["length_of_stay", "readmission"])
def test_a_scoring_of_the_sample_scores_in_the_pool(scoring: str, project: Project, runner: Runner) -> None:
    rows = encounters(date(2026, 1, 1), len(DAYS), rows_per_day=150)
    with project.pool.connect("a test", create=True) as connection:
        connection.register("fresh", rows)
        connection.execute("CREATE TABLE encounters AS FROM fresh").fetchall()
    written = yaml.safe_load((DEFS / scoring / "defs.yaml").read_text())["attributes"]
    spec = ScoringSpec.model_validate(
        written
        | {
            "name": scoring,
            "partitions": {**written["partitions"], "start": DAYS[0]},
            "engine": {"kind": "sql"},
            "onnx": str(MODELS / f"{scoring}.onnx"),
            "directory": str(project.home),
            "schedule": None,
        }
    )
    result = runner.run(spec, first=DAYS[0], last=DAYS[1])
    assert result.success
    columns = {"length_of_stay": "predicted_days", "readmission": "readmitted, probability_0, probability_1"}[scoring]
    found = project.execute(f"SELECT {columns} FROM {scoring}_predictions ORDER BY encounter_id")
    assert len(found) == rows.num_rows
    for values, wanted in zip(zip(*found, strict=True), truth(scoring, rows), strict=True):
        np.testing.assert_allclose(np.array(values), wanted, rtol=1e-5, atol=1e-6)


def truth(scoring: str, rows: pa.Table) -> list[Any]:
    """The columns of plain ONNX Runtime's outputs."""
    rows = rows.sort_by("encounter_id")
    session = ort.InferenceSession(MODELS / f"{scoring}.onnx", providers=["CPUExecutionProvider"])
    if scoring == "length_of_stay":
        matrix = np.column_stack([rows[name].cast(pa.float32()).to_numpy() for name in TREE_FEATURES])
        return list(session.run(None, {"features": matrix})[0].T)
    feeds = {}
    for tensor in session.get_inputs():
        values = rows[tensor.name].to_pylist()
        made = {
            "tensor(float)": lambda values: np.array([np.nan if v is None else v for v in values], np.float32),
            "tensor(bool)": lambda values: np.array(values, bool),
            "tensor(string)": lambda values: np.array(values, object),
        }[tensor.type]
        feeds[tensor.name] = made(values)[:, None]
    labels, probabilities = session.run(None, feeds)
    return [labels, *([row[label] for row in probabilities] for label in (0, 1))]
