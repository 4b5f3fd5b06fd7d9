"""What was found about how a model's answers depend on the batch, as data."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Cause", "Form", "Kind", "Verdict"]

Kind = Literal["mixes", "may mix", "random", "quantises"]
Form = Literal["as it is", "one row at a time", "a spare row"]


@dataclass(frozen=True)
class Cause:
    """A node that makes the answer for a row depend on more than the row."""

    kind: Kind
    """`mixes`: it surely works over the batch axis. `may mix`: where the batch axis lies is not known there.

    `random`: it draws random numbers. `quantises`: its scale is that of all rows together."""
    node: str
    """Its name, or that of its first output where it has none."""
    operator: str
    axis: int | None
    """The axis of its input that holds the batch; None where that is not known or does not matter."""

    def __str__(self) -> str:
        where = "" if self.axis is None else f" over axis {self.axis}"
        return f"node {self.node!r} ({self.operator}{where})"


@dataclass(frozen=True)
class Verdict:
    """How a model runs so that each row has one answer."""

    form: Form
    causes: tuple[Cause, ...] = ()
    remarks: tuple[str, ...] = ()
    """What was done and why, as sentences."""
