"""How rows and predictions travel: one module per shape. Each answer has the shape of its request.

A format is a function from a request's body to an `Answer`. It runs in a scoring thread, and raises Refusal for what
it cannot read.
"""

from onnx_pipeline.serving.formats import v2
from onnx_pipeline.serving.formats.asked import Answer, Asked, Format
from onnx_pipeline.serving.formats.choice import JSON_TYPE, check_v2, format_of

__all__ = ["JSON_TYPE", "Answer", "Asked", "Format", "check_v2", "format_of", "v2"]
