"""Which features are never missing where it matters: rows with a NULL there are refused, once they have landed."""

from onnx_pipeline.base.rules import is_float
from onnx_pipeline.engines.base import Task
from onnx_pipeline.models.null_policy import guarded_columns
from onnx_pipeline.models.onnx_model import OnnxModel

__all__ = ["never_missing"]


def never_missing(model: OnnxModel, task: Task) -> tuple[str, ...]:
    """Columns whose NULL is refused by what landed: an engine that lands may compute anything in such a row."""
    guarded = guarded_columns(task.binding, task.nulls, model.unsafe_nulls, model.labelled(task.outputs))
    formless = [name for name, dtype in task.binding.columns.items() if not is_float(dtype) and name not in task.nulls]
    return tuple(dict.fromkeys([*formless, *guarded]))
