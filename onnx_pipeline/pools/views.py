"""Views that score a table with a compiled model, for reports that want predictions of the rows as they stand."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.tables import split_name

__all__ = ["MARK", "DefineView", "View", "commented", "somebody_elses"]

MARK = "model sha256 "
"""Before the sha256 in a view's text or comment: by it a view is known as one of ours."""


@dataclass(frozen=True)
class View:
    """A view, and the model that it scores with."""

    name: str
    """`name` or `schema.name`."""
    select: str
    """In the pool's SQL."""
    model_sha256: str


class DefineView(sa.schema.ExecutableDDLElement):
    """`CREATE OR ALTER VIEW ... AS SELECT`, with the model's sha256 as a comment above the SELECT."""

    inherit_cache = False

    def __init__(self, view: View, verb: str) -> None:
        """`verb` as the database has it: CREATE, ALTER, CREATE OR ALTER, CREATE OR REPLACE."""
        self.view = view
        self.verb = verb


@compiles(DefineView)
def _define(element: DefineView, compiler: DDLCompiler, **_: object) -> str:
    schema, name = split_name(element.view.name)
    named = compiler.preparer.format_table(sa.table(name, schema=schema))
    return f"{element.verb} VIEW {named} AS\n-- {MARK}{element.view.model_sha256}\n{element.view.select}"


def somebody_elses(name: str, pool: str) -> PoolError:
    """The error for a name that something else bears already."""
    return PoolError(
        f"{name} stands in {pool} and is no view that `sql compile` made, so it is left as it is; "
        "name another --view, or drop it first"
    )


def commented(view: View) -> sa.schema.ExecutableDDLElement:
    """Keeps the model's sha256 with a view, where the database has COMMENT ON."""
    return _CommentOn(view)


class _CommentOn(sa.schema.ExecutableDDLElement):
    inherit_cache = False

    def __init__(self, view: View) -> None:
        self.view = view


@compiles(_CommentOn)
def _comment(element: _CommentOn, compiler: DDLCompiler, **_: object) -> str:
    schema, name = split_name(element.view.name)
    named = compiler.preparer.format_table(sa.table(name, schema=schema))
    text = compiler.sql_compiler.render_literal_value(f"{MARK}{element.view.model_sha256}", sa.String())
    return f"COMMENT ON VIEW {named} IS {text}"
