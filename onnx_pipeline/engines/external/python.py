"""The engine `external_python`: ONNX Runtime in SQL Server's own Python, by the script `python_script.py`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from onnx_pipeline.engines.artifacts import NO_ARTIFACT
from onnx_pipeline.engines.base import Reason, Task
from onnx_pipeline.engines.external.base import ExternalScriptEngine
from onnx_pipeline.engines.external.input_query import InputQuery, Passed
from onnx_pipeline.engines.external.offers import lacks
from onnx_pipeline.models.binding import InputBinding
from onnx_pipeline.models.calls import rows_of_a_call
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.spec.engines.external_python import LANGUAGE, ExternalPythonOptions

__all__ = ["ExternalPythonEngine"]

_REGISTERS = (
    "registers a Python of that name by CREATE EXTERNAL LANGUAGE; without `language`, the server's own is taken"
)
_WHERE = "docs/external-python.md says what to do, under When it does not work"
_TEXT = "NVARCHAR(MAX)"
_AS_TEXT = frozenset({"string", "int64", "uint64"})
"""Outputs that a double does not hold."""
_FORMS = {"FLOAT": "number", "VARBINARY(8000)": "bytes"}


class ExternalPythonEngine(ExternalScriptEngine[ExternalPythonOptions]):
    """Gives the script a layout: which columns of the query are what, and in which form predictions are wanted."""

    passes_as_text: ClassVar[bool] = True
    remedies: ClassVar[Mapping[str, str]] = {
        r"No module named '?onnxruntime": "An administrator installs onnxruntime into the server's Python: "
        "docs/external-python.md says how",
        r"\(39012\)|communicate with the runtime": f"The server's Python ended early: {_WHERE}",
        r"\(39021\)|[Uu]nable to launch (?:the )?runtime": f"The server's Python does not start: {_WHERE}",
        r"external language .*(?:not registered|not exist|not be found|not found)": "The server has no such language: "
        f"{_WHERE}",
        r"\(1153[78]\)|WITH RESULT SETS clause specified": "The server's Python gave back other columns than the "
        f"script does: {_WHERE}",
    }
    proviso = "where Machine Learning Services are installed, with onnxruntime in their Python"

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(model, OnnxModel):
            return (NO_ARTIFACT,)
        return lacks(pool, LANGUAGE, registers=_REGISTERS) if pool is not None else ()

    @classmethod
    def unfit(cls, task: Task, pool: Pool | None) -> Sequence[Reason]:
        return cls.unsupported(task.model, None)

    @classmethod
    def lacking(cls, options: ExternalPythonOptions, pool: Pool) -> Sequence[Reason]:
        return lacks(pool, options.language, registers=_REGISTERS)

    @property
    def language(self) -> str:
        return self.options.language

    def script(self, query: InputQuery) -> str:
        return _script()

    def parameters(self, query: InputQuery) -> Mapping[str, str]:
        model = self._model
        rows = rows_of_a_call(self.host.runtime, row_bytes=model.row_bytes, fixed_batch=model.fixed_batch)
        bound = zip(self.task.binding.inputs, query.inputs, strict=True)
        layout = {
            "keys": [_key(column) for column in query.passed],
            "inputs": [_input(each, columns) for each, columns in bound],
            "outputs": [
                {"output": output.output, "index": output.index, "form": _form(self._kind(output))}
                for output in self.task.outputs
            ],
            "batch_rows": rows,
            "fixed_batch": model.fixed_batch,
            "threads": self.options.threads,
        }
        return {"layout": json.dumps(layout, ensure_ascii=False)}

    def prediction_types(self) -> Sequence[str]:
        return [self._kind(output) for output in self.task.outputs]

    def _kind(self, column: OutputColumn) -> str:
        return _TEXT if self.dtypes[column.output] in _AS_TEXT else "FLOAT"


def _script() -> str:
    return Path(__file__).with_name("python_script.py").read_text(encoding="utf-8")


def _form(kind: str) -> str:
    return _FORMS.get(kind, "text")


def _key(column: Passed) -> Mapping[str, str]:
    return {"column": column.name, "called": column.source, "form": _form(column.kind)}


def _input(bound: InputBinding, columns: Sequence[str]) -> Mapping[str, Any]:
    return {
        "name": bound.tensor.name,
        "dtype": bound.tensor.dtype,
        "rank": len(bound.tensor.shape),
        # What moves no prediction is not in the query.
        "columns": [None if place in bound.unread else column for place, column in enumerate(columns)],
        "called": list(bound.columns),
    }
