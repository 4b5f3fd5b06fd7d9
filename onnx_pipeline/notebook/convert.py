"""A trained model as ONNX, by the converters that its library has."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pipeline.base.errors import ModelNotFoundError, SignatureError, UnsupportedModelError, first_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FEATURES", "as_onnx", "by_column", "cast"]

FEATURES = "features"
"""The one input of a model that reads a matrix."""

_INSTALL = "pip install 'onnx-pipeline[publish]'"
_TEXTS = ("object", "str", "string", "category")


def as_onnx(model: Any, features: "pd.DataFrame | None") -> bytes:
    """ONNX of a scikit-learn estimator or pipeline, of LightGBM or XGBoost; what is ONNX already, as it is.

    `features` are rows as the model was trained on. Numbers alone become one `[N, F]` float tensor whose columns the
    model names in its metadata (`feature_names`); with texts, or a ColumnTransformer, each column is an input `[N, 1]`.

    Raises SignatureError where `features` are missing or unnamed, UnsupportedModelError where no converter takes it.
    """
    if isinstance(model, bytes | bytearray):
        return bytes(model)
    if isinstance(model, str | Path):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise ModelNotFoundError(f"no model can be read at {model} ({error.strerror})") from error
    if hasattr(model, "SerializeToString"):
        serialized: bytes = model.SerializeToString()
        return serialized
    if features is None:
        raise SignatureError(
            f"publish needs features= to make ONNX of a {_name(model)}: a DataFrame of some rows as it was trained on, "
            "which name its inputs and prove that ONNX answers alike"
        )
    if unnamed := [column for column in features.columns if not isinstance(column, str)]:
        raise SignatureError(
            f"features has a column named {unnamed[0]!r}, which is no text; name all columns as the pool's table does"
        )
    each = by_column(model, features)
    kinds = _kinds(features) if each else _matrix(features)
    with _refusals(model):
        made = _converter(model)(model, kinds)
    if not each:
        import onnx

        onnx.helper.set_model_props(made, {**_props(made), "feature_names": json.dumps(list(features.columns))})
    converted: bytes = made.SerializeToString()
    return converted


def by_column(model: Any, features: "pd.DataFrame") -> bool:
    """Whether each column is an input of its own."""
    if any(str(dtype) in _TEXTS for dtype in features.dtypes):
        return True
    return any(type(part).__name__ == "ColumnTransformer" for part in _parts(model))


def cast(model: Any, features: "pd.DataFrame") -> "pd.DataFrame":
    """The rows as ONNX gets them: numbers of a matrix, and fractions of a column, as float32."""
    if not by_column(model, features):
        return features.astype("float32")
    fractions = [name for name, dtype in features.dtypes.items() if str(dtype).startswith("float")]
    return features.astype(dict.fromkeys(fractions, "float32"))


def _parts(model: Any) -> list[Any]:
    """The model, its parameters, and the estimators in their lists of names and estimators."""
    given = [model, *(model.get_params(deep=True).values() if hasattr(model, "get_params") else ())]
    lists = [part for part in given if isinstance(part, list)]
    return [*given, *(each[1] for part in lists for each in part if isinstance(each, tuple) and len(each) > 1)]


def _matrix(features: "pd.DataFrame") -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType

    return [(FEATURES, FloatTensorType([None, features.shape[1]]))]


def _kinds(features: "pd.DataFrame") -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType

    kinds: Mapping[str, Any] = {"b": BooleanTensorType, "i": Int64TensorType, "u": Int64TensorType}

    def kind(dtype: Any) -> Any:
        return StringTensorType if str(dtype) in _TEXTS else kinds.get(getattr(dtype, "kind", "f"), FloatTensorType)

    return [(str(name), kind(dtype)([None, 1])) for name, dtype in features.dtypes.items()]


def _converter(model: Any) -> Callable[[Any, Sequence[tuple[str, Any]]], Any]:
    library = type(model).__module__.partition(".")[0]
    if type(model).__name__ == "Booster" and library in ("lightgbm", "xgboost"):
        tools = import_module("onnxmltools")
        named = getattr(tools, f"convert_{library}")

        def converted(booster: Any, kinds: Sequence[tuple[str, Any]]) -> Any:
            from onnxmltools.convert.common.data_types import FloatTensorType as Tensor

            return named(booster, initial_types=[(name, Tensor(kind.shape)) for name, kind in kinds], target_opset=15)

        return converted
    if not hasattr(model, "get_params"):
        raise UnsupportedModelError(
            f"publish makes ONNX of scikit-learn, LightGBM and XGBoost, and a {_name(model)} is none; convert it by "
            "its own exporter (torch.onnx.export, tf2onnx) and publish the bytes or the file"
        )
    _register(model)
    from skl2onnx import to_onnx

    def exported(estimator: Any, kinds: Sequence[tuple[str, Any]]) -> Any:
        return to_onnx(estimator, initial_types=list(kinds), target_opset={"": 18, "ai.onnx.ml": 3})

    return exported


def _register(model: Any) -> None:
    """Teach skl2onnx the estimators of boosting libraries that the model is made of."""
    libraries = {type(part).__module__.partition(".")[0] for part in _parts(model)}
    if not libraries & {"lightgbm", "xgboost"}:
        return
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    shapes_of = {
        "Classifier": shapes.calculate_linear_classifier_output_shapes,
        "Regressor": shapes.calculate_linear_regressor_output_shapes,
    }
    for library, prefix, module in (
        ("lightgbm", "LGBM", "onnxmltools.convert.lightgbm.operator_converters.LightGbm"),
        ("xgboost", "XGB", "onnxmltools.convert.xgboost.operator_converters.XGBoost"),
    ):
        if library not in libraries:
            continue
        convert = getattr(import_module(module), "convert_lightgbm" if library == "lightgbm" else "convert_xgboost")
        for kind, shape in shapes_of.items():
            options = {"nocl": [True, False], "zipmap": [True, False, "columns"]} if kind == "Classifier" else None
            estimator = getattr(import_module(library), f"{prefix}{kind}")
            update_registered_converter(estimator, f"{prefix}{kind}", shape, convert, options=options, overwrite=True)


@contextmanager
def _refusals(model: Any) -> Any:
    try:
        yield
    except ImportError as error:
        raise UnsupportedModelError(f"a library that makes ONNX is missing ({error}): {_INSTALL}") from error
    except UnsupportedModelError:
        raise
    except Exception as error:
        # Converters raise of every kind.
        raise UnsupportedModelError(
            f"a {_name(model)} cannot be made ONNX: {first_line(error, most=400)}. skl2onnx lists what it takes: "
            "https://onnx.ai/sklearn-onnx/supported.html"
        ) from error


def _props(made: Any) -> dict[str, str]:
    return {prop.key: prop.value for prop in made.metadata_props}


def _name(model: Any) -> str:
    return f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}"
