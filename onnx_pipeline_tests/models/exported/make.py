"""Makes the models of this folder by other libraries' exporters, and `answers.json`: what the libraries answer.

These libraries are no dependencies of the tests. In an environment of its own:
`pip install catboost==1.2.10 xgboost-cpu==3.2.0 lightgbm==4.7.0 onnxmltools==1.16.0 scikit-learn`, then
`python make.py`.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

HERE = Path(__file__).parent
TYPES = [("X", FloatTensorType([None, 4]))]
ROWS = 60

rng = np.random.default_rng(7)
WHOLE = rng.normal(size=(400, 4)).astype(np.float32).round(2)
WHOLE[rng.random(WHOLE.shape) < 0.1] = 0
HOLED = WHOLE.copy()
HOLED[:, :3][rng.random((400, 3)) < 0.2] = np.nan
TARGET = WHOLE @ [4, 3, 2, 1] + np.abs(WHOLE[:, 3])
TRAINED_ON = {"whole": WHOLE, "holed": HOLED}


def main() -> None:
    answers: dict[str, list[float]] = {}

    def keep(name: str, model: bytes, predict: Callable[[Any], Any]) -> None:
        (HERE / f"{name}.onnx").write_bytes(model)
        answers[name] = np.ravel(predict(HOLED[:ROWS])).astype(float).round(6).tolist()

    for mode, rows in (("Min", "whole"), ("Min", "holed"), ("Max", "holed"), ("Forbidden", "whole")):
        trees = catboost.CatBoostRegressor(
            iterations=4, depth=3, nan_mode=mode, verbose=0, random_seed=0, allow_writing_files=False
        ).fit(TRAINED_ON[rows], TARGET)
        path = HERE / "catboost.tmp"
        trees.save_model(str(path), format="onnx")
        keep(f"catboost_{mode.lower()}_{rows}", path.read_bytes(), trees.predict)
        path.unlink()
    for rows, values in TRAINED_ON.items():
        boosted = xgboost.XGBRegressor(n_estimators=4, max_depth=3, random_state=0).fit(values, TARGET)
        model = convert_xgboost(boosted, initial_types=TYPES)
        keep(f"xgboost_{rows}", model.SerializeToString(), boosted.predict)
        light = lightgbm.LGBMRegressor(n_estimators=4, max_depth=3, verbose=-1, random_state=0).fit(values, TARGET)
        model = convert_lightgbm(light, initial_types=TYPES)
        keep(f"lightgbm_{rows}", model.SerializeToString(), light.predict)
    # All tests at negative thresholds, so that no missing value, which counts as 0, goes the way of "true".
    low = np.where(np.isnan(HOLED), -3, -np.abs(HOLED) - 1)
    light = lightgbm.LGBMRegressor(n_estimators=4, max_depth=3, verbose=-1).fit(low, TARGET)
    keep("lightgbm_untracked", convert_lightgbm(light, initial_types=TYPES).SerializeToString(), light.predict)
    light = lightgbm.LGBMRegressor(n_estimators=4, max_depth=3, verbose=-1, zero_as_missing=True).fit(HOLED, TARGET)
    keep("lightgbm_zero_as_missing", convert_lightgbm(light, initial_types=TYPES).SerializeToString(), light.predict)
    rows = [[None if math.isnan(cell) else round(float(cell), 2) for cell in row] for row in HOLED[:ROWS]]
    (HERE / "answers.json").write_text(json.dumps({"rows": rows, "answers": answers}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
