"""From expressions to one SELECT: steps as derived tables, each over the one below."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql.algebra import is_value
from onnx_pipeline.engines.sql.dialects.base import Sql, SqlDialect
from onnx_pipeline.engines.sql.dialects.literals import Once
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.passes.size import operands_of
from onnx_pipeline.engines.sql.passes.steps import Program, in_steps

__all__ = ["Part", "Template", "program_of", "select"]

Part: TypeAlias = Callable[[sa.FromClause], sa.Select[Any]]
"""A statement, once it is known what it reads."""


def select(
    outputs: Mapping[str, Expression], source: sa.FromClause, dialect: SqlDialect, *, keep: Sequence[str] = ()
) -> sa.Select[Any]:
    """A SELECT of the columns `keep` of `source` and of the outputs, whose columns are those of `source`.

    Raises NotCompilableError where an expression is larger than the database takes.
    """
    return Template(outputs, source, dialect, keep=keep, in_one=True).over(source)


class Template:
    """The same SELECT over any number of sources of one name and the same columns, whose expressions are written once.

    A forest's text takes seconds, and a slice differs from the next one by its WHERE alone.
    """

    def __init__(
        self,
        outputs: Mapping[str, Expression],
        source: sa.FromClause,
        dialect: SqlDialect,
        *,
        keep: Sequence[str] = (),
        in_one: bool = False,
    ) -> None:
        self.program = program = program_of(outputs, source, dialect, in_one=in_one)
        self._keep = tuple(keep)
        self._columns = tuple(_names(source))
        self._steps: list[tuple[list[str], dict[str, Sql]]] = []
        for number, step in enumerate(program.steps):
            passed = list(dict.fromkeys([*keep, *_needed_above(program, number, source)]))
            writer = _Writer(dialect, source, program.names)
            made: dict[str, Sql] = {name: Once(writer.value(each)) for name, each in step.items()}
            stored = number in program.stored
            limits = dialect.limits
            _refuse_wider(len(passed) + len(made), limits.stored_columns if stored else limits.columns, stored=stored)
            self._steps.append((passed, made))
            source = _step(source, passed, made).subquery(_named(number))
        writer = _Writer(dialect, source, program.names)
        self._results: dict[str, Sql] = {
            name: Once(writer.value(each)) for name, each in zip(outputs, program.outputs, strict=True)
        }

    def over(self, source: sa.FromClause) -> sa.Select[Any]:
        """The SELECT over a source that is named as the first one was; for a template of one statement."""
        (only,) = self.parts
        return only(source)

    @property
    def parts(self) -> Sequence[Part]:
        """Statements, the first one over the source, each next one over a table of what the one before gave."""
        ends = [*(number + 1 for number in self.program.stored), len(self._steps)]
        starts = [0, *ends[:-1]]
        return [partial(self._part, start, end) for start, end in zip(starts, ends, strict=True)]

    def _part(self, start: int, end: int, source: sa.FromClause) -> sa.Select[Any]:
        if start == 0:
            assert tuple(_names(source)) == self._columns
        else:
            source = source.alias(_named(start - 1))
        for number in range(start, end):
            selected = _step(source, *self._steps[number])
            if number == end - 1 and number in self.program.stored:
                return selected
            source = selected.subquery(_named(number))
        kept = (source.c[name] for name in self._keep)
        results = (made.label(name) for name, made in self._results.items())
        return sa.select(*kept, *results).select_from(source)


def _named(number: int) -> str:
    return f"step_{number + 1}"


def _step(source: sa.FromClause, passed: Sequence[str], made: Mapping[str, Sql]) -> sa.Select[Any]:
    columns = [*(source.c[name] for name in passed), *(each.label(name) for name, each in made.items())]
    return sa.select(*columns).select_from(source)


def program_of(
    outputs: Mapping[str, Expression], source: sa.FromClause, dialect: SqlDialect, *, in_one: bool = False
) -> Program:
    """The steps in which the outputs are computed, with the dialect's guards.

    What may be too large for a server, once it has put steps into each other, is cut into several statements; with
    `in_one` nothing is. Raises NotCompilableError then for an expression that is too large as it stands.
    """
    guarded = dialect.guarded(outputs)
    limits = replace(dialect.limits, operands=None) if in_one else dialect.limits
    program = in_steps([guarded.get(each, each) for each in outputs.values()], limits, prefix=_prefix(source))
    if in_one and dialect.limits.operands is not None:
        _refuse_larger(program, dialect.limits.operands)
    return program


def _refuse_larger(program: Program, most: int) -> None:
    for each in [*(each for step in program.steps for each in step.values()), *program.outputs]:
        size = operands_of(each, program.names)
        if size > most:
            raise NotCompilableError(
                f"an expression of the model has {size:,} columns and constants, and this database takes {most:,}. "
                "The engine `sql` cuts it into several statements; a single one, or a view, cannot be cut"
            )


def _refuse_wider(columns: int, most: int | None, *, stored: bool = False) -> None:
    if most is not None and columns > most:
        what = "a table between two statements" if stored else "a SELECT"
        raise NotCompilableError(
            f"{what} of the model would have {columns:,} columns, and this database takes {most:,}: a row needs so "
            "many values at once. Score by the engine `onnxruntime`, or make the model's layers narrower"
        )


def _names(source: sa.FromClause) -> list[str]:
    return [column.key for column in source.c]


def _prefix(source: sa.FromClause) -> str:
    """A name that begins no column of the source."""
    prefix = "v"
    while any(name.casefold().startswith(prefix) for name in _names(source)):
        prefix += "v"
    return prefix


def _needed_above(program: Program, number: int, source: sa.FromClause) -> list[str]:
    """Columns of `source` that a later step or an output reads."""
    wanted = set()
    for step in program.steps[number + 1 :]:
        for each in step.values():
            wanted |= {name for arg in each.args for name in _read_by(arg, program.names)}
    for each in program.outputs:
        wanted |= set(_read_by(each, program.names))
    return [name for name in _names(source) if name in wanted]


def _read_by(root: Expression, names: Mapping[Expression, str]) -> Iterator[str]:
    """The columns that an expression reads, where what has a name is a column."""
    for each in in_order([root], ends_at=names.__contains__):
        if each in names:
            yield names[each]
        elif each.op == "column":
            yield str(each.value)


class _Writer:
    """Writes the expressions of one step over the columns that the steps below it gave."""

    def __init__(self, dialect: SqlDialect, source: sa.FromClause, names: Mapping[Expression, str]) -> None:
        self._dialect = dialect
        self._source = source
        self._names = names
        self._written: dict[Expression, Sql] = {}

    def value(self, root: Expression) -> Sql:
        """An expression as a column may hold it."""
        written = self._write(root)
        return (
            self._dialect.value_of(root, written)
            if root.kind is Kind.BOOLEAN and not self._is_stored(root)
            else written
        )

    def _write(self, root: Expression) -> Sql:
        for each in in_order([root], ends_at=self._is_stored):
            if each not in self._written:
                self._written[each] = self._one(each)
        return self._written[root]

    def _is_stored(self, each: Expression) -> bool:
        name = self._names.get(each)
        return each.op == "column" or (name is not None and name in self._source.c)

    def _one(self, each: Expression) -> Sql:
        name = str(each.value) if each.op == "column" else self._names.get(each)
        if name is not None and name in self._source.c:
            return self._source.c[name]
        args = [self._argument(each, place, arg) for place, arg in enumerate(each.args)]
        return self._dialect.write(each, args)

    def _argument(self, each: Expression, place: int, arg: Expression) -> Sql:
        written = self._written[arg]
        if arg.kind is not Kind.BOOLEAN:
            return written
        is_condition = each.op in ("all_of", "any_of", "negation") or (each.op == "case" and not is_value(each, place))
        if is_condition:
            return self._dialect.condition(arg, written) if self._is_stored(arg) else written
        return written if self._is_stored(arg) else self._dialect.value_of(arg, written)
