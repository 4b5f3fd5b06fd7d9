"""Constants in a statement, choices among them, and what is written once.

Bound values end at 2,098 in T-SQL, and a forest has ten thousands.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

__all__ = ["Choice", "Items", "Number", "Once", "Quoted", "Text"]


class Number(ColumnElement[Any]):
    """A finite number as it is; an exponent keeps a float from being read as a decimal, which overflows.

    With `is_cast` its type is said. It is written here, and not by a `sa.cast` around it, which SQLAlchemy would build
    and walk apart: a forest has ten thousands of them.
    """

    inherit_cache = False

    def __init__(self, value: float, type_: "sa.types.TypeEngine[Any]", *, is_cast: bool = False) -> None:
        self.value = value
        self.type = type_
        self.is_cast = is_cast


@compiles(Number)
def _number(element: Number, compiler: Any, **_: Any) -> str:
    text = repr(element.value)
    if not isinstance(element.value, int) and "e" not in text:
        text += "e0"
    if not element.is_cast:
        return text
    return f"CAST({text} AS {compiler.dialect.type_compiler_instance.process(element.type)})"


class Quoted(ColumnElement[Any]):
    """A number as a text, of which DuckDB makes one of the type that it stands beside."""

    inherit_cache = False

    def __init__(self, value: float, type_: "sa.types.TypeEngine[Any]") -> None:
        self.value = value
        self.type = type_


@compiles(Quoted)
def _quoted(element: Quoted, _: Any, **__: Any) -> str:
    return f"'{element.value!r}'"


class Items(ColumnElement[Any]):
    """A list of constants in DuckDB, each already written."""

    inherit_cache = False

    def __init__(self, items: Sequence[ColumnElement[Any]], type_: "sa.types.TypeEngine[Any]") -> None:
        self.items = items
        self.type = sa.ARRAY(type_)


@compiles(Items)
def _items(element: Items, compiler: Any, **options: Any) -> str:
    return f"[{', '.join(compiler.process(item, **options) for item in element.items)}]"


class Text(ColumnElement[Any]):
    """A text, quoted by the dialect."""

    inherit_cache = False

    def __init__(self, value: str) -> None:
        self.value = value
        self.type = sa.Unicode()


@compiles(Text)
def _text(element: Text, compiler: Any, **_: Any) -> str:
    return str(compiler.render_literal_value(element.value, element.type))


class Choice(ColumnElement[Any]):
    """CASE, without the parentheses that SQLAlchemy writes around each condition: databases take time to read them."""

    inherit_cache = False

    def __init__(
        self,
        whens: Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]],
        otherwise: ColumnElement[Any],
        type_: "sa.types.TypeEngine[Any]",
    ) -> None:
        self.whens = whens
        self.otherwise = otherwise
        self.type = type_


@compiles(Choice)
def _choice(element: Choice, compiler: Any, **options: Any) -> str:
    def written(part: ColumnElement[Any]) -> str:
        return str(compiler.process(part, **options))

    arms = "".join(f"WHEN {written(condition)} THEN {written(value)} " for condition, value in element.whens)
    return f"CASE {arms}ELSE {written(element.otherwise)} END"


class Once(ColumnElement[Any]):
    """An expression without bound values, whose text is made once and for all statements that it stands in."""

    inherit_cache = False

    def __init__(self, inner: ColumnElement[Any]) -> None:
        self.inner = inner
        self.type = inner.type
        self.texts: dict[type[Any], str] = {}
        """By the compiler that rendered it."""


@compiles(Once)
def _once(element: Once, compiler: Any, **options: Any) -> str:
    renderer = type(compiler)
    if renderer not in element.texts:
        element.texts[renderer] = str(compiler.process(element.inner, **options))
    return element.texts[renderer]
