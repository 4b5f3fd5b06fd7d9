"""The scorings that a command was asked for."""

from collections.abc import Sequence

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.project import FoundScorings, current_project, found_scorings

__all__ = ["chosen"]


def chosen(names: Sequence[str]) -> FoundScorings:
    """The scorings of those names, all of them where none is given; those apart that cannot be.

    Raises SpecError for a name that there is not.
    """
    found = found_scorings()
    known = sorted([*(spec.scoring for spec in found.whole), *found.broken])
    for name in names:
        if name not in known:
            raise SpecError(f"there is no scoring {name!r}; {closest(name, known)}")
    if not known:
        makes_one = "`dg scaffold defs onnx_pipeline.OnnxScoring <name>` makes one."
        console = terminal(errors=True, soft_wrap=True)
        console.print(f"There is no scoring in {current_project().root}; {makes_one}")
    return found.only(names) if names else found
