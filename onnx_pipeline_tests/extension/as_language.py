"""The built extension as an external language of the imitated server: chunks of Arrow rows through the exthost's double."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from onnx_pipeline_tests.extension import abi
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, Parameter, Session
from onnx_pipeline_tests.pools.external_scripts import Answered, Call, ScriptError, Task

KINDS = {
    pa.bool_(): abi.BIT, pa.uint8(): abi.TINYINT, pa.int8(): abi.SMALLINT, pa.int16(): abi.SMALLINT,
    pa.int32(): abi.INT, pa.int64(): abi.BIGINT, pa.float32(): abi.REAL, pa.float64(): abi.FLOAT,
    pa.string(): abi.WCHAR, pa.binary(): abi.BINARY, pa.date32(): abi.DATE, pa.timestamp("us"): abi.TIMESTAMP,
}  # fmt: skip
"""As a server's columns reach a language; DuckDB's TINYINT is none of T-SQL's."""
PARAMETERS = {bytes: abi.BINARY, int: abi.INT, str: abi.WCHAR}


class BuiltExtension:
    """`CREATE EXTERNAL LANGUAGE ONNX`, played by the library that `make extension` built."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self.chunks: list[tuple[int, int]] = []
        """Task and rows of each chunk."""

    @contextmanager
    def task(self, call: Call, schema: pa.Schema, number: int, tasks: int) -> Iterator[Task]:
        given: dict[str, Any] = {**call.parameters, "r_rowsPerRead": call.rows_per_read}
        parameters = [
            Parameter(f"@{name}", PARAMETERS[type(value)], value) for name, value in given.items() if value is not None
        ]
        with _told():
            session = Session(
                self._extension, [_column(field) for field in schema], call.script, parameters, guid=call.id,
                task=number, tasks=tasks,
            )  # fmt: skip

        def execute(chunk: pa.Table) -> Sequence[Answered]:
            self.chunks.append((number, chunk.num_rows))
            with _told():
                found = session.execute([_values(column) for column in chunk.columns], chunk.num_rows)
            return [Answered(column.kind.name.upper(), column.values) for column in found]

        with session:
            yield execute


@contextmanager
def _told() -> Iterator[None]:
    """What the language writes as SQL Server tells it."""
    try:
        yield
    except ExtensionError as error:
        raise ScriptError(39019, f"An external script error occurred:\n{error.message}") from error


def _column(field: pa.Field) -> Column:
    if pa.types.is_decimal(field.type):
        return Column(field.name, abi.NUMERIC, field.type.precision, field.type.scale)
    kind = KINDS[field.type]
    return Column(field.name, kind, size=4000 if kind.size is None else 0)


def _values(column: pa.ChunkedArray) -> list[Any]:
    values = column.to_pylist()
    assert all(value == value for value in values), "SQL Server has no NaN"
    return values
