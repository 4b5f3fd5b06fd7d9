"""A scoring's own query within a statement of ours: it reaches the pool as it was written, to the byte.

SQLAlchemy takes a text for a template: a colon names a value to bind, a percent sign may be doubled, `%(x)s` replaced. So
what it compiles holds a mark in the text's place, and the text is put in afterwards.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import Compiled

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["UserQuery", "query_text", "source_text", "with_queries"]

_FOUND = "onnx_pipeline_queries"
"""Where a compiler keeps the queries whose marks it wrote."""


class UserQuery(sa.TextClause):
    """A SELECT of somebody else's. It binds nothing."""

    def __init__(self, text: str) -> None:
        # Not TextClause's own, which looks for names to bind.
        self._bindparams = {}
        self.text = text


@compiles(UserQuery)
def _mark(query: UserQuery, compiler: Any, **_: Any) -> str:
    found: list[UserQuery] = compiler.__dict__.setdefault(_FOUND, [])
    for index, known in enumerate(found):
        if known is query:
            return _mark_of(index)
    found.append(query)
    return _mark_of(len(found) - 1)


def _mark_of(index: int) -> str:
    # Characters of a private use area: nothing that is compiled writes them.
    return f"\ue0b5{index}\ue0b6"


def with_queries(made: Compiled, put_in: Callable[[str, str, str], str] | None = None) -> Compiled:
    """The compiled statement with the queries' texts where their marks are.

    `put_in(statement, mark, query)` gives the statement with one query in it, for a dialect that takes none as it is.
    """
    text = str(made)
    for index, query in enumerate(made.__dict__.get(_FOUND, ())):
        mark = _mark_of(index)
        # On lines of its own: a comment at its end ends with the line.
        text = put_in(text, mark, query.text) if put_in is not None else text.replace(mark, f"{query.text}\n")
    made.string = text
    return made


def query_text(spec: ScoringSpec) -> str:
    """What the source's `query` says, or the `file` that holds it; SpecError where there is none."""
    source = spec.source_spec
    if source.query is not None:
        text = source.query
    else:
        assert source.file is not None
        file = spec.base / source.file
        try:
            # Editors on Windows begin a file with a mark of its encoding, which no server reads.
            text = file.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise SpecError(f"source.file: there is no {file}") from error
        except UnicodeDecodeError as error:
            raise SpecError(f"source.file: {file} is not UTF-8 ({error}); save it as UTF-8") from error
    if not text.strip():
        raise SpecError(f"source: the query of {spec.scoring} is empty; write one SELECT")
    return text


def source_text(spec: ScoringSpec) -> str:
    """What the rows are selected by: the table as it is written, or the SELECT of `query` or `file`."""
    table = spec.source_spec.table
    return table if table is not None else query_text(spec).strip()
