"""A request's body, in the parts that it was made in: what lies in memory already is sent from there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Body", "Part"]

Part: TypeAlias = Any
"""Bytes, or what gives out its memory as bytes, such as an Arrow buffer."""

_SMALL = 64 * 1024
"""Bytes up to which parts are joined: a call of the system for each would cost more than the copy."""


@dataclass(frozen=True)
class Body:
    """Parts, to be sent one behind the other, as often as it takes."""

    parts: Sequence[bytes | memoryview]
    size: int
    """Bytes of all of them."""

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "Body":
        """The parts, small ones joined. Large ones are not copied, so what they lie in must not change."""
        joined: list[bytes | memoryview] = []
        small = bytearray()
        for part in parts:
            view = memoryview(part).cast("B")
            if len(view) <= _SMALL:
                small += view
            if small and (len(view) > _SMALL or len(small) > _SMALL):
                joined.append(bytes(small))
                small.clear()
            if len(view) > _SMALL:
                joined.append(view)
        if small:
            joined.append(bytes(small))
        return cls(joined, sum(map(len, joined)))

    def whole(self) -> bytes:
        """All of it in one piece."""
        return b"".join(self.parts)
