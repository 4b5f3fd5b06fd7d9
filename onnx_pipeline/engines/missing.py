"""Which features are never missing where it matters: rows with a NULL there are refused, once they have landed."""

from onnx_pipeline.base.rules import is_float
from onnx_pipeline.engines.base import Task
from onnx_pipeline.models.onnx_model import OnnxModel

__all__ = ["never_missing"]


def never_missing(model: OnnxModel, task: Task) -> tuple[str, ...]:
    """Columns whose NULL is refused by what landed: an engine that lands may compute anything in such a row."""
    dtypes = task.binding.columns
    asked = model.null_columns(task.binding, task.nulls, task.outputs)
    # Where no form of NULL is, a stand-in may be; what a stand-in would not help is asked for with one, too.
    return tuple(name for name in asked if is_float(dtypes[name]) or name not in task.nulls)
