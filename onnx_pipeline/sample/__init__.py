"""What the tutorial, the tests and the benchmarks score: hospital encounters, and two models of them.

- `encounters`: the columns and rows of the table `encounters`, for any number of days and rows.
- `patients`: the statistics behind the rows.
- `truth`: what really happened to those patients, which only training knows.
- `train`, `export`: fit both models and write them as ONNX (`python -m onnx_pipeline.sample.train`);
  only these need scikit-learn, skl2onnx and pandas.
- `models/length_of_stay.onnx`: days in hospital, a decision tree over one [N, F] tensor.
- `models/readmission.onnx`: probability of readmission, a preprocessing pipeline with one input per column.

The rows are made up; no patient stands behind them.
"""

from pathlib import Path

__all__ = ["MODELS"]

MODELS = Path(__file__).parent / "models"
"""The folder of the two .onnx files that ship with the package."""
