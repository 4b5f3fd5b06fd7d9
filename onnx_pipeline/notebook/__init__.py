"""What a notebook on Spark does with a model: publish it, score a DataFrame by it, load the predictions into a pool.

`publish` makes ONNX of what was trained and stores it, `score` is a DataFrame in and a DataFrame out, and `load` brings
what `score` gave into the pool as every run does: in one transaction with its row of the scoring log.
"""

from typing import TYPE_CHECKING

from onnx_pipeline.base.imports import on_first_use

if TYPE_CHECKING:
    from onnx_pipeline.notebook.frames import score
    from onnx_pipeline.notebook.loading import load
    from onnx_pipeline.notebook.publishing import publish

__all__ = ["load", "publish", "score"]

_MODULES = {
    "load": "onnx_pipeline.notebook.loading",
    "publish": "onnx_pipeline.notebook.publishing",
    "score": "onnx_pipeline.notebook.frames",
}

# Late: who publishes needs no Spark, and who scores no pool.
__getattr__ = on_first_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
