"""Constants in a statement. Bound values end at 2,098 in T-SQL, and a forest has ten thousands."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

__all__ = ["Items", "Number", "Text"]


class Number(ColumnElement[Any]):
    """A finite number as it is; an exponent keeps a float from being read as a decimal, which overflows."""

    inherit_cache = False

    def __init__(self, value: float, type_: "sa.types.TypeEngine[Any]") -> None:
        self.value = value
        self.type = type_


@compiles(Number)
def _number(element: Number, _: Any, **__: Any) -> str:
    if isinstance(element.value, int):
        return str(element.value)
    text = repr(element.value)
    return text if "e" in text else f"{text}e0"


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
