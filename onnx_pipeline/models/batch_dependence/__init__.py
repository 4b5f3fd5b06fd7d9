"""Whether the answer for a row depends on the rows beside it, and how such a model runs all the same."""

from onnx_pipeline.models.batch_dependence.examine import Examined, examine
from onnx_pipeline.models.batch_dependence.refusals import refuse_certain
from onnx_pipeline.models.batch_dependence.tracking import structural_causes
from onnx_pipeline.models.batch_dependence.verdict import Cause, Verdict

__all__ = ["Cause", "Examined", "Verdict", "examine", "refuse_certain", "structural_causes"]
