"""The models that are compiled to SQL, fitted with fixed seeds, so that every process has the same ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["COLUMNS", "LEVELS", "TEXTS", "estimators"]

COLUMNS = [f"c{place}" for place in range(12)]
TEXTS = ["k0", "k1"]
LEVELS = [f"level {place}" for place in range(8)]
_TRAINED_ON = 6000


def estimators(only: Sequence[str] = ()) -> dict[str, tuple[Any, list[str]]]:
    """By name: the fitted estimator and the columns it reads; `only` those names, or all."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    random = np.random.default_rng(0)
    matrix = random.normal(size=(_TRAINED_ON, len(COLUMNS))).astype(np.float32)
    score = (matrix[:, 0] > 0) * matrix[:, 1] + matrix[:, 2] + random.normal(size=_TRAINED_ON) * 0.3
    two, three = (score > 0).astype(np.int64), np.digitize(score, [-0.7, 0.7])
    numeric = {
        "tree of depth 8": (DecisionTreeRegressor(max_depth=8, random_state=0), score),
        "tree of depth 8, two classes": (DecisionTreeClassifier(max_depth=8, random_state=0), two),
        "tree of depth 8, three classes": (DecisionTreeClassifier(max_depth=8, random_state=0), three),
        "logistic regression": (LogisticRegression(), two),
        "100 boosted trees": (GradientBoostingRegressor(n_estimators=100, random_state=0), score),
        "100 boosted trees, two classes": (GradientBoostingClassifier(n_estimators=100, random_state=0), two),
        "forest of 100 trees of depth 8": (RandomForestClassifier(100, max_depth=8, random_state=0), two),
    }
    found = {
        name: (estimator.fit(matrix, target), COLUMNS)
        for name, (estimator, target) in numeric.items()
        if not only or name in only
    }
    if not only or "one-hot pipeline" in only:
        # Named columns without pandas, which orbital's environment lacks: by place.
        texts = random.choice(LEVELS, size=(_TRAINED_ON, len(TEXTS)))
        encoded = ColumnTransformer(
            [
                ("numbers", StandardScaler(), list(range(len(COLUMNS)))),
                ("texts", OneHotEncoder(handle_unknown="ignore"), list(range(len(COLUMNS), len(COLUMNS) + len(TEXTS)))),
            ]
        )
        rows = np.column_stack([matrix.astype(object), texts.astype(object)])
        pipeline = Pipeline([("prepared", encoded), ("model", LogisticRegression())])
        found["one-hot pipeline"] = pipeline.fit(rows, two), [*COLUMNS, *TEXTS]
    return found
