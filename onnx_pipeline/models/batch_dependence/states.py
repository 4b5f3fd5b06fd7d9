"""What is known of a tensor: whether it depends on rows, along which axis they lie, and what made it mix them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from onnx_pipeline.models.batch_dependence.shapes import Shapes
from onnx_pipeline.models.batch_dependence.verdict import Cause, Kind

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["CONSTANT", "LOST", "ONE_ROW", "Rows", "Site", "Taint", "joined", "unsure"]


@dataclass(frozen=True)
class Rows:
    """A tensor that depends on rows; the rules of operators turn one into another."""

    axis: int | None
    """Where the batch lies, from the front; None where that was lost, or there is no such axis."""
    fold: int | None = 1
    """How many positions on that axis belong to one row, one after the other; None where that is not known."""
    certain: bool = True
    """Whether the axis surely is the batch."""
    alone: bool = False
    """Inside a body that sees one row at a time: nothing in it can mix rows."""


CONSTANT: Rows | None = None
"""The state of what depends on no row: weights, and sizes such as the number of rows."""
LOST = Rows(None, None, certain=False)
ONE_ROW = Rows(None, 1, alone=True)

Taint = dict[Cause, bool]
"""The causes that a tensor depends on, and whether by value (True) or as a size or a position only."""


def joined(taints: Iterable[Taint], *, weakly: bool = False) -> Taint:
    """All causes of several tensors."""
    found: Taint = {}
    for taint in taints:
        for cause, strong in taint.items():
            found[cause] = found.get(cause, False) or (strong and not weakly)
    return found


@dataclass
class Site:
    """A node, with what is known where it stands; collects the causes that its rule finds in it."""

    node: "NodeProto"
    attributes: dict[str, Any]
    opset: int
    shapes: Shapes
    inputs: list[Rows | None]
    found: list[Cause] = field(default_factory=list)

    @property
    def first(self) -> Rows | None:
        return self.inputs[0] if self.inputs else CONSTANT

    def rank(self, index: int = 0) -> int | None:
        return self.shapes.rank(self.node.input[index]) if index < len(self.node.input) else None

    def constant(self, index: int) -> list[int] | None:
        """The integers of an input; None where it is missing or no small constant."""
        return self.shapes.constant(self.node.input[index]) if self.has(index) else None

    def has(self, index: int) -> bool:
        """Whether the optional input is there."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def listed(self, name: str, index: int) -> list[int] | None:
        """A list that older opsets keep as an attribute and newer ones as an input; None where it is not known."""
        values = self.attributes.get(name)
        return [int(value) for value in values] if values is not None else self.constant(index)

    def axis(self, default: int, index: int = 0) -> int:
        """The attribute `axis`, from the front where the input's rank is known."""
        return self.from_front(int(self.attributes.get("axis", default)), self.rank(index))

    @staticmethod
    def from_front(axis: int, rank: int | None) -> int:
        return axis + rank if axis < 0 and rank is not None else axis

    def may_be_among(self, axes: Sequence[int] | None, axis: int) -> bool:
        """Whether one of the axes of the first input is, or may be, that one; None stands for axes that are unknown."""
        rank = self.rank()
        return axes is None or any(self.from_front(each, rank) == axis or (each < 0 and rank is None) for each in axes)

    def report(self, kind: Kind, axis: int | None = None) -> None:
        """Notes that this node makes answers depend on more than the row."""
        name = self.node.name or (self.node.output[0] if self.node.output else "")
        self.found.append(Cause(kind, name, self.node.op_type, axis))

    def mixes(self, rows: Rows, *, surely: bool = True) -> Rows:
        """Notes that the node works over the batch: what comes out has no batch axis that could be told."""
        self.report("mixes" if surely and rows.certain and rows.axis is not None else "may mix", rows.axis)
        return LOST


def unsure(rows: Rows | None) -> Rows | None:
    """The same axis, but only probably the batch."""
    return rows if rows is None or rows.alone else replace(rows, certain=False)
