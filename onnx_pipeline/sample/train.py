"""Fit the sample's two models and export them to ONNX.

    python -m onnx_pipeline.sample.train [--out DIR]

needs scikit-learn, skl2onnx and pandas, which the package itself does not. The training rows are the 60 days
before 2026, so every generated row from 2026 on is new to the models. The same versions write the same bytes.
"""

import argparse
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onnx_pipeline.sample import MODELS, truth
from onnx_pipeline.sample.encounters import CATEGORIES, FLAGS, NUMBERS, TREE_FEATURES, generate, schema
from onnx_pipeline.sample.export import export_length_of_stay, export_readmission

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = [
    "Metrics",
    "encounters",
    "fit_length_of_stay",
    "fit_readmission",
    "measure",
    "readmission_frame",
    "train",
    "tree_matrix",
]

TREE_DEPTH = 8
"""255 thresholds at most: a file of some 13 KB, and an expression that a database still compiles."""


@dataclass(frozen=True)
class Metrics:
    """How good both models are on 10 days that they were not trained on."""

    mean_absolute_error: float
    """Of the length of stay, in days."""
    r2: float
    """Share of the variance of the length of stay that is explained; a constant has 0."""
    auc: float
    """Of the readmission: how often a readmitted patient gets the higher probability; a constant has 0.5."""


def encounters(start: date, days: int, rows_per_day: int = 1_000) -> pa.Table:
    """Sample rows as one table of `encounters.schema`."""
    return pa.Table.from_batches(generate(days, rows_per_day, start=start), schema)


def tree_matrix(rows: pa.Table) -> npt.NDArray[np.float32]:
    """The length-of-stay model's tensor, float32 of shape [rows, 27]: flags as 0 and 1, NULL as NaN."""
    columns = [rows[name].cast(pa.float32()).to_numpy() for name in TREE_FEATURES]
    return np.column_stack(columns)


def readmission_frame(rows: pa.Table) -> "pd.DataFrame":
    """The readmission model's columns: numbers at float32 precision, NULL as NaN; flags; categories."""
    import pandas as pd

    columns = {name: rows[name].cast(pa.float32()).to_numpy().astype(np.float64) for name in NUMBERS}
    flags = {name: rows[name].to_numpy() for name in FLAGS}
    categories = {name: np.asarray(rows[name].to_pylist(), dtype=object) for name in CATEGORIES}
    return pd.DataFrame({**columns, **flags, **categories})


def fit_length_of_stay(rows: pa.Table) -> "Pipeline":
    """A decision tree behind a median imputer.

    scikit-learn's trees accept NaN and learn where to send it, but skl2onnx does not export that: without the
    imputer the .onnx file would silently answer differently wherever a lab value is NULL.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=TREE_DEPTH, min_samples_leaf=20, random_state=0)
    pipeline = make_pipeline(SimpleImputer(strategy="median"), tree)
    return pipeline.fit(tree_matrix(rows), truth.length_of_stay(rows))


def fit_readmission(rows: pa.Table) -> "Pipeline":
    """A logistic regression behind imputing and scaling of numbers and one-hot encoding of categories."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    preprocessing = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(NUMBERS)),
            ("flags", "passthrough", list(FLAGS)),
            ("categories", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES)),
        ]
    )
    # Newton's method ends at the optimum itself, so other versions and processors end there too.
    regression = LogisticRegression(solver="newton-cholesky", tol=1e-10)
    return make_pipeline(preprocessing, regression).fit(readmission_frame(rows), truth.readmitted(rows))


def train(out: Path) -> Metrics:
    """Fit both models, write `length_of_stay.onnx` and `readmission.onnx` into `out`, and measure them."""
    rows = encounters(date(2025, 11, 2), days=60)
    stay, readmission = fit_length_of_stay(rows), fit_readmission(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "length_of_stay.onnx").write_bytes(export_length_of_stay(stay))
    (out / "readmission.onnx").write_bytes(export_readmission(readmission))
    return measure(stay, readmission, encounters(date(2025, 10, 23), days=10))


def measure(stay: "Pipeline", readmission: "Pipeline", rows: pa.Table) -> Metrics:
    """Compare what both models say about `rows`, which they must not have been trained on, with the truth."""
    from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

    # Chance of its own: with the training's seeds, row n would deviate as row n of the training rows did.
    days, back = truth.length_of_stay(rows, seed=17), truth.readmitted(rows, seed=19)
    predicted = stay.predict(tree_matrix(rows))
    return Metrics(
        mean_absolute_error=float(mean_absolute_error(days, predicted)),
        r2=float(r2_score(days, predicted)),
        auc=float(roc_auc_score(back, readmission.predict_proba(readmission_frame(rows))[:, 1])),
    )


def main() -> None:
    """Train from the command line, and print what was written and how good it is."""
    parser = argparse.ArgumentParser(description="Train the sample's two models and export them to ONNX.")
    parser.add_argument("--out", type=Path, default=MODELS, help="where to write (default: the package)")
    out = parser.parse_args().out
    metrics = train(out)
    for path in (out / "length_of_stay.onnx", out / "readmission.onnx"):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"length of stay: mean absolute error {metrics.mean_absolute_error:.2f} days, R² {metrics.r2:.3f}")
    print(f"readmission: AUC {metrics.auc:.3f}")


if __name__ == "__main__":
    main()
