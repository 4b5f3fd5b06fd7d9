"""Makes the models of this folder by the exporters of LightGBM, XGBoost and CatBoost.

These libraries are no dependencies of the tests, which compare with ONNX Runtime. In an environment of its own:
`pip install catboost==1.2.10 xgboost-cpu==3.2.0 lightgbm==4.7.0 onnxmltools==1.16.0 scikit-learn pandas`, then
`python make.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

HERE = Path(__file__).parent
TYPES = [("X", FloatTensorType([None, 4]))]
SMALL: dict[str, Any] = {"n_estimators": 4, "max_depth": 3}

rng = np.random.default_rng(7)
ROWS = rng.normal(size=(400, 4)).astype(np.float32).round(2)
ROWS[:, 3] = rng.integers(0, 5, 400)
HOLED = ROWS.copy()
HOLED[:, :3][rng.random((400, 3)) < 0.2] = np.nan
SCORE = ROWS[:, 0] + 0.5 * ROWS[:, 1] ** 2 + (ROWS[:, 3] == 2)
CLASSES = {"binary": (SCORE > 0.6).astype(int), "three": np.digitize(SCORE, [0, 1])}
GROUPS = [40] * 10


def main() -> None:
    for name, model in [*_lightgbm(), *_xgboost()]:
        (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, trees in _catboost():
        trees.save_model(str(HERE / f"{name}.onnx"), format="onnx")


def _lightgbm() -> Iterator[tuple[str, Any]]:
    for name, classes in CLASSES.items():
        for rows, values in (("whole", ROWS), ("holed", HOLED)):
            trees = lightgbm.LGBMClassifier(**SMALL, verbose=-1).fit(values, classes)
            yield f"lightgbm_{name}_{rows}", convert_lightgbm(trees, initial_types=TYPES, zipmap=False)
    ranker = lightgbm.LGBMRanker(**SMALL, verbose=-1).fit(ROWS, CLASSES["three"], group=GROUPS)
    yield "lightgbm_ranking", convert_lightgbm(ranker, initial_types=TYPES)
    forest = lightgbm.LGBMClassifier(**SMALL, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5, verbose=-1)
    yield "lightgbm_forest", convert_lightgbm(forest.fit(ROWS, CLASSES["three"]), initial_types=TYPES, zipmap=False)
    counted = lightgbm.LGBMRegressor(**SMALL, objective="poisson", verbose=-1).fit(ROWS, np.exp(SCORE))
    yield "lightgbm_poisson", convert_lightgbm(counted, initial_types=TYPES)
    few: dict[str, Any] = {"min_data_per_group": 5, "cat_smooth": 1}
    classes = lightgbm.LGBMClassifier(**SMALL, **few, verbose=-1)
    classes.fit(HOLED, CLASSES["binary"], categorical_feature=[3])
    yield "lightgbm_categories_binary", convert_lightgbm(classes, initial_types=TYPES, zipmap=False)
    categories = lightgbm.LGBMRegressor(**SMALL, min_data_per_group=5, cat_smooth=1, verbose=-1)
    categories.fit(ROWS, SCORE, categorical_feature=[3])
    yield "lightgbm_categories", convert_lightgbm(categories, initial_types=TYPES)


def _xgboost() -> Iterator[tuple[str, Any]]:
    for name, classes in CLASSES.items():
        for rows, values in (("whole", ROWS), ("holed", HOLED)):
            trees = xgboost.XGBClassifier(**SMALL).fit(values, classes)
            yield f"xgboost_{name}_{rows}", convert_xgboost(trees, initial_types=TYPES)
    forest = xgboost.XGBRFClassifier(**SMALL).fit(ROWS, CLASSES["three"])
    yield "xgboost_forest", convert_xgboost(forest, initial_types=TYPES)
    counted = xgboost.XGBRegressor(**SMALL, objective="count:poisson").fit(ROWS, np.exp(SCORE))
    yield "xgboost_poisson", convert_xgboost(counted, initial_types=TYPES)
    named = pd.DataFrame(HOLED, columns=["f0", "f1", "f2", "f3"]).astype({"f3": int}).astype({"f3": "category"})
    categories = xgboost.XGBRegressor(**SMALL, enable_categorical=True, max_cat_to_onehot=1).fit(named, SCORE)
    yield "xgboost_categories", convert_xgboost(categories, initial_types=TYPES)
    # onnxmltools 1.16 has no converter for XGBRanker; CatBoost exports no categories.


def _catboost() -> Iterator[tuple[str, Any]]:
    options: dict[str, Any] = {
        "iterations": 4,
        "depth": 3,
        "verbose": 0,
        "random_seed": 0,
        "allow_writing_files": False,
    }
    for name, classes in CLASSES.items():
        yield f"catboost_{name}", catboost.CatBoostClassifier(**options).fit(HOLED, classes)
    yield (
        "catboost_ranking",
        catboost.CatBoostRanker(**options).fit(ROWS, CLASSES["three"], group_id=np.repeat(range(10), 40)),
    )


if __name__ == "__main__":
    main()
