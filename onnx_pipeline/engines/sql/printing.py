"""A compiled statement for people: over lines, with a comment above each column that says what it comes from."""

import copy
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.engines.sql.dialects.base import SqlDialect

__all__ = ["laid_out"]


def laid_out(statement: sa.Select[Any], dialect: SqlDialect, notes: Mapping[str, str]) -> str:
    """The statement in the dialect's SQL, values in it; `notes` are by column name."""
    rendering = copy.copy(dialect.renders_by)
    rendering.statement_compiler = _compiler(rendering.statement_compiler, notes)
    return str(statement.compile(dialect=rendering, compile_kwargs={"literal_binds": True}))


def _compiler(base: type[Any], notes: Mapping[str, str]) -> type[Any]:
    class LaidOut(base):  # type: ignore[misc]  # which compiler it is, the dialect says
        """Renders as the dialect does, with line breaks."""

        _level = 1

        def visit_case(self, clause: Any, **kw: Any) -> str:
            self._level += 1
            indent = "\n" + "    " * self._level
            arms = [
                f"{indent}WHEN {self.process(condition, **kw)} THEN {self.process(value, **kw)}"
                for condition, value in clause.whens
            ]
            last = f"{indent}ELSE {self.process(clause.else_, **kw)}" if clause.else_ is not None else ""
            self._level -= 1
            closing = "\n" + "    " * self._level
            return f"CASE{''.join(arms)}{last}{closing}END"

        def visit_label(self, label: Any, *args: Any, within_columns_clause: bool = False, **kw: Any) -> str:
            text: str = super().visit_label(label, *args, within_columns_clause=within_columns_clause, **kw)
            if not within_columns_clause:
                return text
            note = notes.get(label.name)
            return f"\n    -- {note}\n    {text}" if note else f"\n    {text}"

    return LaidOut
