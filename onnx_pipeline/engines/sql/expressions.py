"""Scalar expressions of a compiled graph: what one value of one row is computed from.

An expression says what is meant in ONNX's terms; a dialect says how its database writes it. Equal expressions are one
object, so that a value which several others use is seen to be shared. A missing value (NaN in ONNX) is NULL.
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

__all__ = ["Expression", "Kind", "Scalar", "expression", "in_order", "is_finite", "with_args"]

Scalar: TypeAlias = "float | int | str | bool | None"


class Kind(Enum):
    """What a database stores a value as."""

    FLOAT = "float32"
    DOUBLE = "float64"
    INTEGER = "int64"
    BOOLEAN = "bool"
    TEXT = "string"

    @property
    def is_float(self) -> bool:
        """Whether a missing value has a form: NaN in ONNX, NULL here."""
        return self in (Kind.FLOAT, Kind.DOUBLE)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Expression:
    """One operation on other expressions. To be made by `algebra`, which keeps equal ones one object."""

    op: str
    """The name of the operation, by which a dialect finds how to write it."""
    kind: Kind
    args: tuple["Expression", ...] = ()
    value: Scalar = None
    """Of a constant its value, of a column its name."""
    missing: bool = False
    """Whether it may be NULL."""
    infinite: bool = False
    """Whether it may be infinite, where the database has a form for that."""
    nan: bool = False
    """Whether arithmetic of the database may have made a NaN of it, which compares otherwise than NULL."""
    depth: int = field(default=0)
    """Operations on the longest way down."""

    @property
    def is_constant(self) -> bool:
        """Whether it is the same for every row."""
        return self.op == "constant"

    def __repr__(self) -> str:
        inner = repr(self.value) if not self.args else ", ".join(map(repr, self.args))
        return f"{self.op}({inner})"


_known: WeakValueDictionary[tuple[Any, ...], Expression] = WeakValueDictionary()


def expression(
    op: str,
    kind: Kind,
    args: Sequence[Expression] = (),
    *,
    value: Scalar = None,
    missing: bool = False,
    infinite: bool = False,
    nan: bool = False,
) -> Expression:
    """The one expression of that operation on these arguments."""
    # The bits of a float, since 0.0 equals -0.0, and 1 equals 1.0 and True.
    identity = struct.pack("<d", value) if isinstance(value, float) else (type(value), value)
    key = (op, kind, tuple(map(id, args)), identity, missing, infinite, nan)
    found = _known.get(key)
    if found is None:
        depth = 1 + max((arg.depth for arg in args), default=-1)
        found = Expression(op, kind, tuple(args), value, missing, infinite, nan, depth)
        _known[key] = found
    return found


def with_args(each: Expression, args: Sequence[Expression]) -> Expression:
    """The same operation on other arguments of the same nature."""
    return expression(
        each.op, each.kind, args, value=each.value, missing=each.missing, infinite=each.infinite, nan=each.nan
    )


def in_order(
    outputs: Sequence[Expression], *, ends_at: Callable[[Expression], bool] = lambda _: False
) -> Iterator[Expression]:
    """Every expression below `outputs` and themselves, each once, what it is computed from first.

    Below an expression that `ends_at` holds for, nothing is looked at.
    """
    seen: set[Expression] = set()
    # Not by recursion: an expression may be deeper than Python's stack.
    stack = [(each, False) for each in reversed(outputs)]
    while stack:
        current, expanded = stack.pop()
        if current in seen:
            continue
        if expanded:
            seen.add(current)
            yield current
            continue
        stack.append((current, True))
        if ends_at(current):
            continue
        stack.extend((arg, False) for arg in reversed(current.args) if arg not in seen)


def is_finite(value: Scalar) -> bool:
    """Whether a constant is neither infinite nor NaN."""
    return not isinstance(value, float) or math.isfinite(value)
