"""What is said of a model whose rows have no answer of their own."""

from collections.abc import Sequence

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.models.batch_dependence.verdict import Cause

__all__ = ["mixing", "named", "quantised", "refuse_certain"]

_NAMED = 3

_FIXES = {
    "BatchNormalization": "export the model in inference mode: model.eval(), training=TrainingMode.EVAL",
    "Dropout": "export the model in inference mode: model.eval(), training=TrainingMode.EVAL",
    "Softmax": "give it the axis of the classes, which is 1 (before opset 13 it works over its axis and all after it)",
}
_FIXES |= dict.fromkeys(("LogSoftmax", "Hardmax"), _FIXES["Softmax"])
_RANDOM = "export the model without random numbers: no sampling, no noise, no training mode"
_ROW_BY_ROW = "export the model with operators that work row by row, over axis 1 instead of the batch"


def named(causes: Sequence[Cause]) -> str:
    """The nodes, as a list of at most three."""
    shown = ", ".join(str(cause) for cause in causes[:_NAMED])
    return shown if len(causes) <= _NAMED else f"{shown} and {len(causes) - _NAMED} more"


def refuse_certain(causes: Sequence[Cause], batch: int | None, *, source: str) -> None:
    """Raises UnsupportedModelError for what the graph alone shows; one row at a time mixes none."""
    random = [cause for cause in causes if cause.kind == "random"]
    if random:
        raise UnsupportedModelError(
            f"{source} draws random numbers: {named(random)} gives another answer at every call, so no row has one "
            f"answer; {_FIXES.get(random[0].operator, _RANDOM)}"
        )
    mixing = [cause for cause in causes if cause.kind == "mixes"]
    if batch == 1:
        # With one row in a batch a mean is a number like any other, but this one would be of no trained model.
        mixing = [cause for cause in mixing if cause.operator == "BatchNormalization"]
    if mixing:
        raise UnsupportedModelError(
            f"in {source} {named(mixing)} works over the rows of the batch: its answer for a row depends on the rows "
            f"beside it, so no row has one answer; {_FIXES.get(mixing[0].operator, _ROW_BY_ROW)}"
        )


def quantised(source: str, causes: Sequence[Cause]) -> UnsupportedModelError:
    """For a model that would have to run one row at a time, and cannot be made to."""
    return UnsupportedModelError(
        f"in {source} {named(causes)} takes its scale from all rows of a call, so its answer for a row depends on the "
        "rows beside it, and it cannot be run one row at a time: that wants opset 9 or later and outputs that hold one "
        "row per input row. Export it to a newer opset with the shapes of its outputs declared, or quantise it "
        "statically (quantize_static)"
    )


def mixing(source: str, causes: Sequence[Cause], wrong: int, rows: int, way: str) -> UnsupportedModelError:
    """For what made-up rows showed; `causes` may be the reason, or nothing is known of one."""
    reason = (
        f"{named(causes)} may work over the rows of the batch"
        if causes
        else "no operator is known to work over the batch, so look for computed shapes and positions"
    )
    return UnsupportedModelError(
        f"{source} answers {wrong} of {rows} made-up rows otherwise when they stand {way}: its answer for a row "
        f"depends on the rows beside it, so no row has one answer ({reason}); {_ROW_BY_ROW}"
    )
