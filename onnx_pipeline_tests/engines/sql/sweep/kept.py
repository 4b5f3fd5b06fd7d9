"""Models of exporters that are no dependencies of the tests: files, made by the `make.py` beside each."""

from pathlib import Path
from typing import Any

from onnx_pipeline_tests.engines.sql.sweep.cases import Case

__all__ = ["TABLE"]

_TESTS = Path(__file__).parents[3]
_BOOSTED = _TESTS / "engines" / "sql" / "exported"
_REGRESSORS = _TESTS / "models" / "exported"
_NETWORKS = _TESTS / "engines" / "sql" / "networks"


def _boosted(name: str, file: str, *, folder: Path = _BOOSTED, **attributes: Any) -> Case:
    exporter = "CatBoost" if file.startswith("catboost") else "onnxmltools"
    fed = "features" if exporter == "CatBoost" else "X"
    return Case(name, "Boosting libraries", file=folder / f"{file}.onnx", exporter=exporter, input=fed, **attributes)


def _not_exported(name: str, exporter: str, why: str) -> Case:
    return Case(name, "Boosting libraries", exporter=exporter, not_exported=why)


def _network(name: str, file: str) -> list[Case]:
    by: dict[str, Any] = {"exporter": "torch.onnx", "input": "x", "takes_nan": True}
    return [
        Case(f"{name}{how}", "PyTorch", file=_NETWORKS / f"{file}_{made}.onnx", **by)
        for made, how in (("traced", ", traced"), ("exported", ", by torch.export"))
    ]


def _gaps(name: str, file: str, **attributes: Any) -> Case:
    return _boosted(f"{name}, missing values", file, takes_nan=True, **attributes)


TABLE: list[Case] = [
    _boosted("LGBMClassifier", "lightgbm_three_whole", quick=True),
    _gaps("LGBMClassifier", "lightgbm_three_holed"),
    _boosted("LGBMClassifier, two classes", "lightgbm_binary_whole"),
    _gaps("LGBMClassifier, two classes", "lightgbm_binary_holed"),
    _gaps("LGBMClassifier, two classes, categories", "lightgbm_categories_binary"),
    _boosted("LGBMClassifier, random forest", "lightgbm_forest"),
    _boosted("LGBMRegressor", "lightgbm_whole", folder=_REGRESSORS),
    _gaps("LGBMRegressor", "lightgbm_holed", folder=_REGRESSORS),
    _boosted(
        "LGBMRegressor, zeros and gaps as missing values",
        "lightgbm_zero_as_missing",
        takes_nan=True,
        folder=_REGRESSORS,
    ),
    _boosted("LGBMRegressor, categories", "lightgbm_categories"),
    _boosted("LGBMRegressor, poisson", "lightgbm_poisson"),
    _boosted("LGBMRanker", "lightgbm_ranking"),
    _boosted("XGBClassifier", "xgboost_three_whole", quick=True),
    _gaps("XGBClassifier", "xgboost_three_holed"),
    _boosted("XGBClassifier, two classes", "xgboost_binary_whole"),
    _gaps("XGBClassifier, two classes", "xgboost_binary_holed"),
    _boosted("XGBRFClassifier", "xgboost_forest"),
    _boosted("XGBRegressor", "xgboost_whole", folder=_REGRESSORS),
    _gaps("XGBRegressor", "xgboost_holed", folder=_REGRESSORS),
    _gaps("XGBRegressor, categories", "xgboost_categories"),
    _boosted("XGBRegressor, poisson", "xgboost_poisson"),
    _not_exported("XGBRanker", "onnxmltools", "there is no converter"),
    _boosted("CatBoostClassifier", "catboost_three", takes_nan=True, quick=True),
    _boosted("CatBoostClassifier, two classes", "catboost_binary", takes_nan=True),
    _boosted("CatBoostRegressor", "catboost_forbidden_whole", folder=_REGRESSORS),
    _gaps("CatBoostRegressor, nan_mode Min", "catboost_min_holed", folder=_REGRESSORS),
    _gaps("CatBoostRegressor, nan_mode Max", "catboost_max_holed", folder=_REGRESSORS),
    _boosted("CatBoostRanker", "catboost_ranking"),
    _not_exported(
        "CatBoost with categories", "CatBoost", "ONNX-ML format export does yet not support categorical features"
    ),
    *_network("Linear, BatchNorm1d, ReLU, Dropout, Softmax", "classifier"),
    *_network("chunk, sigmoid, where, clamp, log_softmax", "gated"),
    *_network("LayerNorm, GELU, SiLU, ELU", "smooth"),
    *_network("Tanh, Hardswish, LeakyReLU, Flatten", "bounded"),
    *_network("PReLU, Softplus, SELU, Hardtanh", "sloped"),
]
