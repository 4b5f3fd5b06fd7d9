"""What the engines share that SQL Server runs by `sp_execute_external_script`: one call per slice, whose rows land.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-execute-external-script-transact-sql
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from string import Template
from typing import ClassVar, TypeVar

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.engines.artifacts import artifact_of
from onnx_pipeline.engines.base import Host, PoolEngine, Task
from onnx_pipeline.engines.external.failures import explained
from onnx_pipeline.engines.external.input_query import InputQuery, input_query
from onnx_pipeline.extension.procedure import SQL_TYPES
from onnx_pipeline.models.planned import signed
from onnx_pipeline.pools.landing import Landing, ServerScript
from onnx_pipeline.pools.records import NORMALISED
from onnx_pipeline.pools.scripts import script
from onnx_pipeline.spec.engines.external_script import ExternalScriptOptions

__all__ = ["ExternalScriptEngine"]

OptionsT = TypeVar("OptionsT", bound=ExternalScriptOptions)


class ExternalScriptEngine(PoolEngine[OptionsT]):
    """Has the server give a slice to a script, and the script's answer land."""

    passes_as_text: ClassVar[bool] = False
    """Whether the query gives no column but texts, doubles and bytes, for a script that would change others."""
    remedies: ClassVar[Mapping[str, str]] = {}
    """What to do about errors of this engine, by expressions that their messages match."""

    def __init__(self, options: OptionsT, task: Task, host: Host) -> None:
        super().__init__(options, task, host)
        self._model = artifact_of(options, task)
        self._registered: int | None = None

    @property
    @abstractmethod
    def language(self) -> str:
        """What `@language` says."""

    @abstractmethod
    def script(self, query: InputQuery) -> str:
        """What `@script` says of a query; it answers with what passes through, and then the task's outputs."""

    def parameters(self, query: InputQuery) -> Mapping[str, str]:
        """More texts that the script is given, by names without `@`."""
        return {}

    def prediction_types(self) -> Sequence[str]:
        """The T-SQL types in which the script gives back the task's outputs; the landing's columns take them."""
        return [SQL_TYPES[self.dtypes[output.output]] for output in self.task.outputs]

    @cached_property
    def dtypes(self) -> Mapping[str, str]:
        """The dtypes of the model's outputs, by their names."""
        return {output.name: output.dtype for output in self._model.signature.outputs}

    def land(self, landing: Landing) -> None:
        if self._registered is None:
            # The form that runs, whatever the original needs; the sha256 stays the original's.
            model = self._model
            self._registered = landing.register(model.sha256, model.normalised, signed(model), NORMALISED)
        query = input_query(self.task, landing, as_text=self.passes_as_text)
        texts = self.parameters(query)
        given: dict[str, int | str] = {"script": self.script(query), "model_id": self._registered, **texts}
        try:
            landing.execute(ServerScript(self._batch(query, list(texts)), query.select, given))
        except PoolError as error:
            raise explained(error, self.remedies) from error

    def _batch(self, query: InputQuery, texts: Sequence[str]) -> str:
        from onnx_pipeline.pools.tsql.dialect import national, quoted

        declared = ["@model VARBINARY(MAX)", "@r_rowsPerRead INT", *(f"@{name} NVARCHAR(MAX)" for name in texts)]
        given = [
            "@model = @model",
            f"@r_rowsPerRead = {self.options.rows_per_read}",
            *(f"@{name} = @{name}" for name in texts),
        ]
        columns = [(column.name, column.kind) for column in query.passed]
        columns += [(f"p{place}", kind) for place, kind in enumerate(self.prediction_types())]
        return Template(script("sqlserver", "templates/external_script").rstrip()).substitute(
            language=national(self.language),
            parallel=int(self.options.parallel),
            declared=national(", ".join(declared)),
            given=",\n    ".join(given),
            columns=",\n    ".join(f"{quoted(name)} {kind} NULL" for name, kind in columns),
        )
