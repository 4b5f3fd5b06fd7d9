"""What runs of a model took lately, by their number of rows: it decides whether one is scored on the event loop.

A thread's round trip costs some 0.1 ms, more than most models take for a few rows. But whatever runs on the event loop
holds up every other request. So a run is only made there where runs of about as many rows were seen to be brief, and
where nothing but their number decides how long they take.
"""

from collections.abc import Iterable

from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["BRIEF_SECONDS", "Pace"]

BRIEF_SECONDS = 0.0005
"""A run that is longer loses little by a thread's round trip."""
_KEPT = 0.8
"""Of what a run took, where the next one takes less: a longer one counts at once, and is outlived by some dozen."""
_BY_VALUE = frozenset(
    {"If", "Loop", "Scan", "SequenceMap"}
    | {"AffineGrid", "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape", "DFT", "Expand", "EyeLike"}
    | {"HammingWindow", "HannWindow", "ImageDecoder", "MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "Range"}
    | {"Resize", "STFT", "Tile", "Upsample"}
)
"""Operators whose work a value may decide: a size that is computed, or which other graph runs and how often."""
_ML = "ai.onnx.ml."


class Pace:
    """Of one model. Used from several threads: each number is replaced as a whole."""

    def __init__(self, operators: Iterable[str], options: RuntimeOptions) -> None:
        """`operators` are those of the graph, as `OnnxModel.operators` names them.

        A run on an accelerator may wait for those of others there, and one with threads of its own takes more of the
        processor than its caller sees: neither counts as brief.
        """
        alone = options.intra_op_threads == 1 and not options.accelerators
        self._told_by_rows = alone and all(map(_is_told_by_rows, operators))
        self._seconds: dict[int, float] = {}
        self.any_brief = False
        """Whether runs of some number of rows are brief."""

    def took(self, rows: int, seconds: float) -> None:
        """A thread's run of so many rows took that long of its time on the processor."""
        size = rows.bit_length()
        self._seconds[size] = max(seconds, _KEPT * self._seconds.get(size, 0.0))
        self._judge()

    def held_up(self, rows: int, seconds: float) -> None:
        """A run of so many rows held up the event loop for so long; if that is too long, a thread has the next one.

        It may have waited for a processor, so what it took is found out there.
        """
        if seconds > BRIEF_SECONDS:
            self._seconds.pop(rows.bit_length(), None)
            self._judge()

    def _judge(self) -> None:
        self.any_brief = self._told_by_rows and min(list(self._seconds.values()), default=1.0) <= BRIEF_SECONDS

    def is_brief(self, rows: int) -> bool:
        """Whether a run of so many rows is: runs of at least half and less than twice as many were, lately."""
        return self._told_by_rows and self._seconds.get(rows.bit_length(), BRIEF_SECONDS * 2) <= BRIEF_SECONDS


def _is_told_by_rows(operator: str) -> bool:
    """Functions of the model, and operators of domains that ONNX does not describe, may do anything."""
    return operator not in _BY_VALUE and "." not in operator.removeprefix(_ML)
