"""Labels that flip where two scores are as good as equal: the last bits of a sum decide, and no row beside."""

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.models.batch_dependence.company import Answers

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["tied", "with_scores"]

_CHOICES = frozenset({"ArgMax", "ArgMin", "TopK", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"})
_CLASSIFIERS = frozenset({"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"})


def tied(answers: Answers, rows: int, tolerance: float) -> np.ndarray[Any, Any]:
    """Which rows have two best scores within the tolerance, or one score that close to where labels change."""
    found = np.zeros(rows, bool)
    for values in answers.values():
        if values.dtype.kind != "f" or values.shape[:1] != (rows,):
            continue
        scores = values.reshape(rows, -1).astype(np.float64)
        with np.errstate(invalid="ignore"):
            if scores.shape[1] > 1:
                best = np.sort(scores, axis=1)[:, -2:]
                near = np.abs(best[:, 1] - best[:, 0]) <= tolerance * np.maximum(np.abs(best[:, 1]), 1e-30)
            else:
                near = np.minimum(np.abs(scores[:, 0]), np.abs(scores[:, 0] - 0.5)) <= tolerance
        # A score that is no number decides nothing: which label follows is up to the order of comparisons.
        found |= near | ~np.isfinite(scores).all(axis=1)
    return found


def with_scores(model: "ModelProto") -> "ModelProto":
    """The model with the scores that its labels are chosen by as further outputs."""
    scored = type(model)()
    scored.CopyFrom(model)
    known = {value.name for value in scored.graph.output}
    inner = {name for node in scored.graph.node for name in node.output}
    for node in model.graph.node:
        name = node.input[0] if node.op_type in _CHOICES else ""
        if node.op_type in _CLASSIFIERS and len(node.output) > 1:
            name = node.output[1]
        if name in inner and name not in known:
            scored.graph.output.add().name = name
            known.add(name)
    return scored
