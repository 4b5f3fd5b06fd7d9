"""SELECT ... INTO: a table of what a SELECT gives, in the types that it gives.

https://learn.microsoft.com/sql/t-sql/queries/select-into-clause-transact-sql
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

__all__ = ["SelectInto"]


class SelectInto(Executable, sa.ClauseElement):
    """Makes a table and fills it."""

    inherit_cache = False

    def __init__(self, select: sa.Select[Any], into: sa.TableClause) -> None:
        self.select = select
        self.into = into


@compiles(SelectInto)
def _select_into(element: SelectInto, compiler: SQLCompiler, **options: Any) -> str:
    named = compiler.preparer.format_table(element.into)
    selected = compiler.process(element.select.subquery("selected"), asfrom=True, **options)
    return f"SELECT * INTO {named} FROM {selected}"  # noqa: S608 - both rendered by the dialect
