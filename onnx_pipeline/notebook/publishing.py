"""A trained model as ONNX at a URI, once it is proven to answer as the model does."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnx_pipeline.base.errors import InvalidModelError
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.stores import open_store
from onnx_pipeline.notebook.convert import as_onnx, cast

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["publish"]

_ROWS = 10_000
"""Of `features`, most that are compared."""


def publish(model: Any, uri: str, *, features: "pd.DataFrame | None" = None, tolerance: float = 1e-4) -> OnnxModel:
    """Store a model as ONNX at a path, `az://container/path.onnx` or `abfss://`, in place of what lies there.

    `model` is a scikit-learn estimator or pipeline, LightGBM's or XGBoost's (estimator or booster), or ONNX: bytes, a
    file, a ModelProto. `features` are rows as it was trained on. ONNX has to give their predictions within `tolerance`,
    relative to the larger of 1 and the prediction, and the very labels; both sides get the rows as float32.

    Returns what was stored. Nothing is stored where something is raised: SignatureError, UnsupportedModelError (no
    converter takes it), InvalidModelError (it answers otherwise, or ONNX Runtime does not take it), or what the store
    says.
    """
    data = as_onnx(model, features)
    loaded = OnnxModel.from_bytes(data, source=f"the model for {uri}")
    if features is not None and hasattr(model, "predict"):
        _prove(model, loaded, features.head(_ROWS), tolerance)
    open_store(uri).write(uri, data)
    return loaded


def _prove(model: Any, loaded: OnnxModel, features: "pd.DataFrame", tolerance: float) -> None:
    rows = cast(model, features)
    scored = loaded.score(rows)
    expected = _answers(model, rows)
    found = [scored.iloc[:, index].to_numpy() for index in range(scored.shape[1])]
    # Of boosters that give probabilities alone, ONNX gives the label, too.
    found = found[len(found) - len(expected) :] if len(found) > len(expected) and not _is_estimator(model) else found
    for number, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        differs = _differs(wanted, got, tolerance)
        if differs.any():
            row = int(np.flatnonzero(differs)[0])
            raise InvalidModelError(
                f"ONNX answers otherwise than the model in {int(differs.sum()):,} of {len(rows):,} rows: in row {row} "
                f"the model gives {wanted[row]!r}, and ONNX {got[row]!r} in {scored.columns[number]}. Nothing was "
                "stored. A value at a split, or a sum of float64, may differ in float32: train on float32, or allow "
                "more by tolerance="
            )


def _is_estimator(model: Any) -> bool:
    return hasattr(model, "get_params")


def _answers(model: Any, rows: "pd.DataFrame") -> list[npt.NDArray[Any]]:
    """`[N]` each: labels and the probability of each class, or predictions; in the order of ONNX's outputs."""
    if not _is_estimator(model):
        given: Any = rows
        if type(model).__module__.startswith("xgboost"):
            import xgboost

            given = xgboost.DMatrix(rows)
        return _columns(model.predict(given))
    answers = _columns(model.predict(rows))
    # Not of every estimator that has them ONNX gives probabilities: those of an outlier's detector are none.
    if getattr(model, "_estimator_type", None) == "classifier" or hasattr(model, "predict_proba"):
        probabilities = getattr(model, "predict_proba", None)
        if probabilities is not None and len(answers) == 1:
            answers += _columns(probabilities(rows))
    return answers


def _columns(answers: Any) -> list[npt.NDArray[Any]]:
    matrix = np.asarray(answers)
    return [matrix] if matrix.ndim == 1 else [matrix[:, index] for index in range(matrix.shape[1])]


def _differs(wanted: npt.NDArray[Any], got: npt.NDArray[Any], tolerance: float) -> npt.NDArray[np.bool_]:
    if wanted.dtype.kind not in "fc":
        return np.asarray([str(a) != str(b) for a, b in zip(wanted.tolist(), got.tolist(), strict=True)], np.bool_)
    known, scored = wanted.astype(np.float64), got.astype(np.float64)
    close = np.abs(known - scored) <= tolerance * np.maximum(1.0, np.abs(known))
    return np.asarray(~(close | (np.isnan(known) & np.isnan(scored))))
