"""A host that loads the extension and drives it as SQL Server's exthost does, only less forgiving.

Names come without a NUL at their end. Column buffers are as large as their content. What the host lends for a call it
overwrites and frees after that call. Under a NULL lies garbage. Results are copied before the next `Execute`; NaN and
infinity in them are refused, as the server refuses them.
"""

import ctypes
import math
import os
import random
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from typing_extensions import Self

from onnx_pipeline_tests.extension.abi import BY_CODE, FLOAT, FUNCTIONS, NULL_DATA, REAL, Guid, Kind

__all__ = ["Column", "Extension", "ExtensionError", "Lent", "Parameter", "ResultColumn", "Session"]

_LIBC = ctypes.CDLL(None)
_LIBC.malloc.restype, _LIBC.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_LIBC.free.restype, _LIBC.free.argtypes = None, [ctypes.c_void_p]


class ExtensionError(Exception):
    """A function returned something else than 0; the message is what it wrote, which SQL Server shows to the user."""

    def __init__(self, function: str, code: int, message: str) -> None:
        super().__init__(f"{function} returned {code}: {message}")
        self.function, self.code, self.message = function, code, message


class Lent:
    """Memory that the host lends for one call."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for address, size in self._blocks:
            ctypes.memset(address, 0xDB, size)
            _LIBC.free(address)

    def put(self, content: bytes) -> int:
        """The address of a copy of `content`, with nothing of ours behind it."""
        address = _LIBC.malloc(len(content))
        ctypes.memmove(address, content, len(content))
        self._blocks.append((address, len(content)))
        return int(address)

    def text(self, content: bytes | None) -> tuple[int | None, int]:
        """Address and length of a name or script: no NUL ends it."""
        return (None, 0) if content is None else (self.put(content), len(content))

    def pointers(self, addresses: Sequence[int | None]) -> int:
        """The address of an array of pointers."""
        return self.put(b"".join((address or 0).to_bytes(8, "little") for address in addresses))


@dataclass(frozen=True)
class Column:
    """A column of the input, as `InitColumn` describes it."""

    name: str
    kind: Kind
    size: int = 0
    digits: int = 0
    nullable: bool = True

    @property
    def declared_size(self) -> int:
        return self.size or self.kind.size or 100


@dataclass(frozen=True)
class Parameter:
    """A parameter of the script; `name` includes the `@`. None is NULL."""

    name: str
    kind: Kind
    value: Any


@dataclass
class ResultColumn:
    """A column of the output: its type as `GetResultColumn` says, and its values; None is NULL."""

    kind: Kind
    size: int
    digits: int
    nullable: bool
    values: list[Any] = field(default_factory=list)

    @property
    def form(self) -> tuple[Any, ...]:
        return (self.kind, self.size, self.digits, self.nullable)


class Extension:
    """The loaded library. `quiet` leaves stderr alone, for threads: messages are then not part of errors."""

    def __init__(self, library: Path, *, quiet: bool = False) -> None:
        self._library = ctypes.CDLL(str(library))
        self._quiet = quiet
        for name, arguments in FUNCTIONS.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_uint16 if name == "GetInterfaceVersion" else ctypes.c_int16

    def raw(self, function: str) -> Callable[..., int]:
        """A function without anything around it."""
        found: Callable[..., int] = getattr(self._library, function)
        return found

    def call(self, function: str, *arguments: Any) -> None:
        """Calls a function; ExtensionError where it fails."""
        if self._quiet:
            code, message = self.raw(function)(*arguments), ""
        else:
            code, message = _heard(self.raw(function), arguments)
        if code != 0:
            raise ExtensionError(function, code, message)

    def init(self, path: str | None = None) -> None:
        """`Init`, by default with nothing but NULLs."""
        with Lent() as lent:
            self.call("Init", None, 0, *lent.text(path.encode() if path is not None else None), None, 0, None, 0)

    def cleanup(self) -> None:
        self.call("Cleanup")

    def session(self, columns: Sequence[Column], model: bytes | None, script: str = "", **more: Any) -> "Session":
        """A session with the model as its parameter `@model`."""
        from onnx_pipeline_tests.extension.abi import BINARY

        parameters = [] if model is None else [Parameter("@model", BINARY, model)]
        return Session(self, columns, script, [*parameters, *more.pop("parameters", ())], **more)


def _heard(function: Callable[..., int], arguments: Sequence[Any]) -> tuple[int, str]:
    """What a function returns, and what it writes meanwhile; to a descriptor and not `sys.stderr`, since C++ does."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            code = function(*arguments)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        return code, file.read().decode(errors="replace").strip()


class Session:
    """One task of one query, from `InitSession` to `CleanupSession`."""

    def __init__(
        self, extension: Extension, columns: Sequence[Column], script: str | None = "",
        parameters: Sequence[Parameter] = (), *, guid: uuid.UUID | None = None, task: int = 0, tasks: int = 1,
        parameters_first: bool = False, seed: int = 0, bits: str = "number",
        announced: int | None = None,
    ) -> None:  # fmt: skip
        self.extension, self.columns = extension, list(columns)
        self.id = (Guid.from_buffer_copy((guid or uuid.uuid4()).bytes_le), task)
        self._random = random.Random(seed)
        self._bits = bits
        self._form: list[tuple[Any, ...]] | None = None
        with Lent() as lent:
            extension.call(
                "InitSession", *self.id, tasks, *lent.text(None if script is None else script.encode()),
                announced or len(columns), len(parameters), *lent.text(b"InputDataSet"), *lent.text(b"OutputDataSet"),
            )  # fmt: skip
        try:
            steps = [lambda: self._init_columns(columns), lambda: self._init_parameters(parameters)]
            for step in reversed(steps) if parameters_first else steps:
                step()
        except ExtensionError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.extension.call("CleanupSession", *self.id)

    def _init_columns(self, columns: Sequence[Column]) -> None:
        for number, column in enumerate(columns):
            self.init_column(number, column)

    def init_column(self, number: int, column: Column) -> None:
        with Lent() as lent:
            self.extension.call(
                "InitColumn", *self.id, number, *lent.text(column.name.encode()), column.kind.code,
                column.declared_size, column.digits, int(column.nullable), -1, -1,
            )  # fmt: skip

    def _init_parameters(self, parameters: Sequence[Parameter]) -> None:
        for number, parameter in enumerate(parameters):
            self.init_parameter(number, parameter)

    def init_parameter(self, number: int, parameter: Parameter) -> None:
        kind = parameter.kind
        with Lent() as lent:
            data = None if parameter.value is None else kind.pack(parameter.value)
            address = None if data is None else lent.put(data)
            # The length of a fixed type is its own; the host says 0.
            length = NULL_DATA if data is None else len(data) if kind.size is None else 0
            size = kind.size or len(data or b"")
            self.extension.call(
                "InitParam", *self.id, number, *lent.text(parameter.name.encode()), kind.code, size, 0, address,
                length, 1,
            )  # fmt: skip

    def execute(self, values: Sequence[Sequence[Any]], rows: int | None = None) -> list[ResultColumn]:
        """Scores one chunk: a list of values per column. The output's columns may not change from chunk to chunk."""
        rows = len(values[0]) if rows is None else rows
        produced = ctypes.c_uint16()
        with Lent() as lent:
            addresses = [self._column(lent, column, data) for column, data in zip(self.columns, values, strict=True)]
            columns, indicators = zip(*addresses, strict=True) if addresses else ((), ())
            self.extension.call(
                "Execute", *self.id, rows, lent.pointers(columns), lent.pointers(indicators), ctypes.byref(produced)
            )
        return self.results(produced.value)

    def _column(self, lent: Lent, column: Column, values: Sequence[Any]) -> tuple[int | None, int | None]:
        """A column's buffer and its lengths."""
        kind = column.kind
        if kind.size is None:
            if all(value is None for value in values):
                return None, None
            pieces = [None if value is None else kind.pack(value) for value in values]
            data = b"".join(piece for piece in pieces if piece is not None)
            lengths = [NULL_DATA if piece is None else len(piece) for piece in pieces]
            return lent.put(data), lent.put(np.array(lengths, np.int32).tobytes())
        pack = (lambda value: b"1" if value else b"0") if kind.name == "bit" and self._bits == "digit" else kind.pack
        data = b"".join(self._random.randbytes(kind.size) if value is None else pack(value) for value in values)
        if not column.nullable:
            assert None not in values
            return lent.put(data), None
        # What is not -1 says nothing: hosts give 0 or the size.
        some = self._random.choice((0, kind.size))
        lengths = [NULL_DATA if value is None else some for value in values]
        return lent.put(data), lent.put(np.array(lengths, np.int32).tobytes())

    def execute_arrays(self, rows: int, columns: Any, indicators: Any) -> int:
        """`Execute` on buffers that the caller keeps, for measuring; the number of result columns."""
        produced = ctypes.c_uint16()
        self.extension.call("Execute", *self.id, rows, columns, indicators, ctypes.byref(produced))
        return produced.value

    def results(self, columns: int) -> list[ResultColumn]:
        """What the last `Execute` left, copied."""
        found = [self.result_column(number) for number in range(columns)]
        form = [column.form for column in found]
        assert self._form in (None, form), f"the output's columns changed from {self._form} to {form}"
        self._form = form
        rows, data, lengths = ctypes.c_uint64(), ctypes.c_void_p(), ctypes.c_void_p()
        self.extension.call("GetResults", *self.id, ctypes.byref(rows), ctypes.byref(data), ctypes.byref(lengths))
        if rows.value == 0:
            return found
        for number, column in enumerate(found):
            address, indicator = (_pointer_at(table.value, number) for table in (data, lengths))
            column.values = list(_read(column, rows.value, address, indicator))
        return found

    def raw_result(self, number: int) -> tuple[int | None, int | None]:
        """Where the values of a column of the last `Execute` lie, and their lengths: until the next call."""
        rows, data, lengths = ctypes.c_uint64(), ctypes.c_void_p(), ctypes.c_void_p()
        self.extension.call("GetResults", *self.id, ctypes.byref(rows), ctypes.byref(data), ctypes.byref(lengths))
        return _pointer_at(data.value, number), _pointer_at(lengths.value, number)

    def result_column(self, number: int) -> ResultColumn:
        kind, size, digits, nullable = ctypes.c_int16(), ctypes.c_uint64(), ctypes.c_int16(), ctypes.c_int16()
        places = [ctypes.byref(place) for place in (kind, size, digits, nullable)]
        self.extension.call("GetResultColumn", *self.id, number, *places)
        return ResultColumn(BY_CODE[kind.value], size.value, digits.value, bool(nullable.value))


def _pointer_at(table: int | None, number: int) -> int | None:
    return None if table is None else ctypes.c_void_p.from_address(table + 8 * number).value


def _read(column: ResultColumn, rows: int, address: int | None, indicator: int | None) -> Iterator[Any]:
    kind = column.kind
    if indicator is None:
        assert kind.size is not None and not column.nullable, "lengths may be left out for fixed, non-null columns only"
        lengths: list[int] = [kind.size] * rows
    else:
        lengths = np.frombuffer(ctypes.string_at(indicator, 4 * rows), np.int32).tolist()
    taken = kind.size * rows if kind.size is not None else sum(length for length in lengths if length > 0)
    data = ctypes.string_at(address, taken) if address is not None else b""
    assert len(data) == taken
    place = 0
    for length in lengths:
        step = kind.size if kind.size is not None else max(length, 0)
        if length == NULL_DATA:
            assert column.nullable, "NULL in a column that was declared not to hold any"
            yield None
        else:
            assert length >= 0
            assert kind.size is not None or length <= column.size, f"{length} bytes in a column of {column.size}"
            value = kind.unpack(data[place : place + step])
            assert kind not in (REAL, FLOAT) or math.isfinite(value), f"the server refuses {value}"
            yield value
        place += step


def values_of(results: Sequence[Sequence[ResultColumn]]) -> list[list[Any]]:
    """The values of each column over all chunks."""
    return [[value for column in columns for value in column.values] for columns in zip(*results, strict=True)]


def parameters_of(values: Mapping[str, tuple[Kind, Any]]) -> list[Parameter]:
    return [Parameter(name, kind, value) for name, (kind, value) in values.items()]
