"""What was found out at the first look about the columns that move a model's outputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["BOUND", "ColumnsRead", "Holding"]

BOUND = 2.0**64
"""No 64-bit integer is larger, and no decimal of 19 digits before the point."""


class Holding(str, Enum):
    """What is known of the values of a source's column."""

    ANYTHING = "anything"
    """It may be infinite, say."""
    NUMBERS = "numbers"
    """Numbers up to `BOUND`, and missing values."""
    KNOWN_NUMBERS = "known numbers"
    """The same, and no value is missing."""


@dataclass(frozen=True)
class ColumnsRead:
    """By output, by what a column holds, by input: the indices of the columns that may move it; None: all of them."""

    moving: Mapping[str, Mapping[Holding, Mapping[str, frozenset[int] | None]]]

    @classmethod
    def from_facts(cls, facts: Mapping[str, Mapping[str, Mapping[str, Iterable[int] | None]]]) -> "ColumnsRead":
        """From what `read_columns` found, as JSON keeps it."""
        return cls({
            output: {
                Holding(holding): {
                    name: None if columns is None else frozenset(columns) for name, columns in inputs.items()
                }
                for holding, inputs in holdings.items()
            }
            for output, holdings in facts.items()
        })  # fmt: skip

    def to_facts(self) -> dict[str, Any]:
        """What `from_facts` takes."""
        return {
            output: {
                holding.value: {name: None if columns is None else sorted(columns) for name, columns in inputs.items()}
                for holding, inputs in holdings.items()
            }
            for output, holdings in self.moving.items()
        }

    def moves(self, outputs: Iterable[str], tensor: str, index: int, holding: Holding) -> bool:
        """Whether a column of an input, of which that is known, may move one of the outputs."""
        for output in outputs:
            columns = self.moving[output][holding].get(tensor)
            if columns is None or index in columns:
                return True
        return False
