"""The part of SQL Server that runs external scripts, for the imitation: `INSERT … EXEC` of `sp_execute_external_script`.

A language is played by whoever is registered under its name: the built extension, or a process that runs Python. As the
server does it, the input query is run first, its rows are given to one task or to two, in chunks of `@r_rowsPerRead` rows,
and what comes back is held against WITH RESULT SETS: another number of columns is error 11537, a type that does not become
the declared one 11538. The tasks take turns from the last to the first, so that the order of rows is lost.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
from sqlglot.dialects import TSQL
from sqlglot.tokens import Token, TokenType

TASKS = 2

FAMILIES: Mapping[str, pa.DataType] = {
    "BIT": pa.bool_(), "TINYINT": pa.uint8(), "SMALLINT": pa.int16(), "INT": pa.int32(), "BIGINT": pa.int64(),
    "REAL": pa.float32(), "FLOAT": pa.float64(), "NVARCHAR": pa.string(), "VARCHAR": pa.string(),
    "VARBINARY": pa.binary(), "DATETIME2": pa.timestamp("us"), "DATE": pa.date32(),
}  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """A column of WITH RESULT SETS."""

    name: str
    kind: str
    length: int | None

    @property
    def arrow(self) -> pa.DataType:
        return FAMILIES[self.kind]


@dataclass(frozen=True)
class Answered:
    """A column that a script gave back for one chunk, by its T-SQL type."""

    kind: str
    values: Sequence[Any]


@dataclass(frozen=True)
class Call:
    """What reaches a language of `sp_execute_external_script`."""

    script: str
    parameters: Mapping[str, Any]
    """By names without `@`, without `r_rowsPerRead`."""
    rows_per_read: int | None
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    """The session that all tasks of a query are of."""


Task = Callable[[pa.Table], Sequence[Answered]]
"""Takes a chunk of the input query's rows."""


class Language(Protocol):
    """Whoever runs scripts."""

    def task(self, call: Call, schema: pa.Schema, number: int, tasks: int) -> AbstractContextManager[Task]:
        """A process of its own for one share of the rows."""


class ScriptError(Exception):
    """What the server answers: number and text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


@dataclass(frozen=True)
class InsertExec:
    """`INSERT INTO table (columns) EXEC sp_executesql batch, declarations, values`."""

    table: str
    columns: Sequence[str]
    batch: str
    values: Mapping[str, Any]


def is_insert_exec(statement: str) -> bool:
    return re.match(r"INSERT INTO \S+ \([^\n]*\)\nEXEC sp_executesql N'", statement) is not None


def insert_exec(statement: str) -> InsertExec:
    tokens = _tokens(statement)
    start = next(place for place, token in enumerate(tokens) if token.text == "(")
    end = next(place for place, token in enumerate(tokens) if token.text == ")")
    names = [token.text for token in tokens[start:end] if token.token_type is TokenType.IDENTIFIER]
    table = [token.text for token in tokens[:start] if token.token_type is TokenType.IDENTIFIER][-1]
    place = next(place for place, token in enumerate(tokens) if token.text == "sp_executesql")
    batch, declared, *given = _arguments(tokens[place + 1 :])
    assert batch.name is None and declared.name is None
    kinds = dict(re.findall(r"@(\w+) (BIGINT|NVARCHAR\(MAX\))", declared.value))
    assert set(kinds) == {argument.name for argument in given}, "sp_executesql declares what it is given"
    for argument in given:
        assert isinstance(argument.value, int) == (kinds[argument.name] == "BIGINT")
    return InsertExec(table, names, batch.value, {str(argument.name): argument.value for argument in given})


def answer(
    batch: str, values: Mapping[str, Any], select: Callable[[str], pa.Table], languages: Mapping[str, Language]
) -> pa.Table:
    """The rows that a batch answers with; `select` runs a query of the server's."""
    known = dict(values)
    declared = re.search(r"^DECLARE @(\w+) VARBINARY\(MAX\) = \((.*)\)$", batch, re.MULTILINE)
    if declared is not None:
        query = re.sub(r"@(\w+)", lambda found: str(known[found[1]]), declared[2])
        (row,) = select(query).to_pylist() or [{"model": None}]
        known[declared[1]] = row["model"]
    guard = re.search(r"^IF @(\w+) IS NULL\nBEGIN\n\s+RAISERROR \(N'(.*)', 16, 1, @(\w+)\)$", batch, re.MULTILINE)
    if guard is not None and known[guard[1]] is None:
        raise ScriptError(50000, guard[2].replace("%I64d", str(known[guard[3]])))
    _, _, call = batch.partition("EXEC sp_execute_external_script\n")
    arguments, _, sets = call.rpartition("WITH RESULT SETS ((")
    given = {str(argument.name): argument.of(known) for argument in _arguments(_tokens(arguments))}
    declared_names = re.findall(r"@(\w+)", str(given.pop("params", "")))
    language = str(given.pop("language"))
    if language.upper() not in languages:
        raise ScriptError(39096, f"Execution failed because the external language '{language}' is not registered.")
    parameters = {name: given.pop(name) for name in declared_names}
    rows = select(str(given.pop("input_data_1")))
    tasks = TASKS if given.pop("parallel", 0) else 1
    made = Call(str(given.pop("script")), parameters, parameters.pop("r_rowsPerRead", None))
    assert not given, f"sp_execute_external_script takes no {', '.join(given)}"
    return _run(languages[language.upper()], made, rows, tasks, _declared(sets))


def _run(language: Language, call: Call, rows: pa.Table, tasks: int, declared: Sequence[Declared]) -> pa.Table:
    size = call.rows_per_read or max(rows.num_rows, 1)
    chunks = [rows.slice(start, size) for start in range(0, max(rows.num_rows, 1), size)]
    found = []
    with ExitStack() as stack:
        running = [stack.enter_context(language.task(call, rows.schema, number, tasks)) for number in range(tasks)]
        for number in reversed(range(tasks)):
            # A task without rows is called, too.
            for chunk in chunks[number::tasks] or [rows.slice(0, 0)]:
                found.append(_held_against(running[number](chunk), declared))
    return pa.concat_tables(found)


def _held_against(columns: Sequence[Answered], declared: Sequence[Declared]) -> pa.Table:
    if len(columns) != len(declared):
        raise ScriptError(
            11537,
            f"EXECUTE statement failed because its WITH RESULT SETS clause specified {len(declared)} column(s) for result "
            f"set number 1, but the statement sent {len(columns)} column(s) at run time.",
        )
    arrays = []
    for place, (column, wanted) in enumerate(zip(columns, declared, strict=True), 1):
        if not _becomes(column.kind, wanted.kind):
            raise ScriptError(
                11538,
                f"EXECUTE statement failed because its WITH RESULT SETS clause specified type '{wanted.kind.lower()}' for "
                f"column #{place} in result set #1, and the corresponding type sent at run time was "
                f"'{column.kind.lower()}'; there is no conversion between the two types.",
            )
        if wanted.kind == "NVARCHAR" and wanted.length is not None:
            assert all(value is None or len(value) <= wanted.length for value in column.values)
        arrays.append(pa.array(column.values, FAMILIES[column.kind]).cast(wanted.arrow))
    return pa.table(arrays, names=[f"c{place}" for place in range(len(arrays))])


def _becomes(kind: str, wanted: str) -> bool:
    """Whether a type becomes another one without a cast: of those that scripts give back."""
    return (FAMILIES[kind] == pa.binary()) == (FAMILIES[wanted] == pa.binary())


def _declared(text: str) -> list[Declared]:
    found = re.findall(r"\[((?:[^\]]|\]\])*)\] ([A-Z0-9]+)(?:\((\d+)\))? NULL", text)
    assert len(found) == len(re.findall(r" NULL", text))
    return [Declared(name.replace("]]", "]"), kind, int(length) if length else None) for name, kind, length in found]


@dataclass(frozen=True)
class _Argument:
    name: str | None
    value: Any
    variable: str | None = None

    def of(self, known: Mapping[str, Any]) -> Any:
        return self.value if self.variable is None else known[self.variable]


def _tokens(text: str) -> list[Token]:
    return list(TSQL().tokenize(text))


def _arguments(tokens: Sequence[Token]) -> list[_Argument]:
    """`N'text'`, `@name = value` or `@name = @variable`, parted by commas."""
    found, part = [], list[Token]()
    for token in tokens:
        if token.token_type is TokenType.COMMA:
            found.append(_argument(part))
            part = []
        else:
            part.append(token)
    return [*found, _argument(part)]


def _argument(tokens: Sequence[Token]) -> _Argument:
    texts = [token.text for token in tokens]
    name = None
    if texts[0] == "@" and texts[2] == "=":
        name, tokens, texts = texts[1], tokens[3:], texts[3:]
    if texts[0] == "@":
        assert len(texts) == 2
        return _Argument(name, None, texts[1])
    (token,) = tokens
    if token.token_type is TokenType.NUMBER:
        return _Argument(name, int(token.text))
    assert token.token_type is TokenType.NATIONAL_STRING, f"{token.text} is no N'...', which these procedures want"
    return _Argument(name, token.text)
