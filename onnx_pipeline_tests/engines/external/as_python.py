"""`@language = N'Python'` of an imitated SQL Server: scripts run in processes of their own, on data frames.

What the documentation says of types is kept, and what it does not say is refused, so that nothing relies on it:
https://learn.microsoft.com/sql/machine-learning/python/python-libraries-and-data-types
Processes are pooled, as the server's Launchpad pools them; what a query left in its globals no other one sees.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from onnx_pipeline_tests.pools.external_scripts import Answered, Call, ScriptError, Task

PYTHON = os.environ.get("ONNX_PIPELINE_TEST_SERVERS_PYTHON") or sys.executable
"""Another one may stand in for it: Python 3.7 with numpy, pandas and onnxruntime, for instance."""
KINDS = {
    pa.bool_(): "bool", pa.uint8(): "int32", pa.int16(): "int32", pa.int32(): "int32", pa.int64(): "float64",
    pa.float32(): "float64", pa.float64(): "float64", pa.string(): "str", pa.binary(): "bytes",
}  # fmt: skip
"""How a server's columns arrive; what is not here is refused, `datetime2`, `time` and `decimal` among them."""
UNSAID_OF_NULL = ("bool", "int32")
"""Kinds of columns of which nobody says what becomes of NULL."""


class Satellite:
    """One process."""

    def __init__(self) -> None:
        # Isolated: the server's Python knows nothing of this package.
        command = [PYTHON, "-I", str(Path(__file__).with_name("satellite.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ScriptError(39019, f"An external script error occurred:\n{answer['error']}")
        return answer

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class ServersPython:
    """The server's Python, with its pool of processes."""

    def __init__(self) -> None:
        self._idle: list[Satellite] = []
        self.chunks: list[tuple[int, int]] = []
        """Task and rows of each chunk."""
        self.forgets = False
        """Whether globals go with each chunk."""

    @contextmanager
    def task(self, call: Call, schema: pa.Schema, number: int, tasks: int) -> Iterator[Task]:
        columns = [(field.name, _kind(field, place)) for place, field in enumerate(schema, 1)]
        given = {
            name: {"bytes": value.hex()} if isinstance(value, bytes) else value
            for name, value in call.parameters.items()
        }
        satellite = self._idle.pop() if self._idle else Satellite()

        def execute(chunk: pa.Table) -> Sequence[Answered]:
            self.chunks.append((number, chunk.num_rows))
            values = [
                (name, kind, _values(name, kind, column))
                for (name, kind), column in zip(columns, chunk.columns, strict=True)
            ]
            found = satellite.ask(columns=values)["columns"]
            return [Answered(column["kind"], _read(column)) for column in found]

        try:
            satellite.ask(begin={"script": call.script, "parameters": given, "forgets": self.forgets})
            yield execute
        finally:
            self._idle.append(satellite)

    def end(self) -> None:
        for satellite in self._idle:
            satellite.end()


def _kind(field: pa.Field, place: int) -> str:
    if field.type not in KINDS:
        raise ScriptError(
            39017,
            f"Input data query returns column #{place} of type '{field.type}' which is not supported by the runtime for "
            "'Python' script.",
        )
    return KINDS[field.type]


def _values(name: str, kind: str, column: pa.ChunkedArray) -> list[Any]:
    assert not (kind in UNSAID_OF_NULL and column.null_count), f"nobody says what becomes of a NULL of {kind} in {name}"
    if kind == "float64":
        values: list[Any] = column.cast(pa.float64(), safe=False).to_pylist()  # as the server does it to a BIGINT
        assert all(value is None or value == value for value in values), "SQL Server has no NaN"
        return values
    return [value.hex() if isinstance(value, bytes) else value for value in column.to_pylist()]


def _read(column: dict[str, Any]) -> list[Any]:
    if column["kind"] != "VARBINARY":
        return list(column["values"])
    return [None if value is None else bytes.fromhex(value) for value in column["values"]]
