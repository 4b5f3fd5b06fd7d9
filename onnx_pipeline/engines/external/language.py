"""The engine `external_language`: SQL Server's external language `ONNX`, the C++ library of `extension/`."""

from collections.abc import Iterator, Sequence

from onnx_pipeline.engines.artifacts import NEAREST, NO_ARTIFACT
from onnx_pipeline.engines.base import Reason, Task
from onnx_pipeline.engines.external.base import ExternalScriptEngine
from onnx_pipeline.engines.external.input_query import InputQuery
from onnx_pipeline.engines.external.offers import lacks
from onnx_pipeline.extension import LANGUAGE
from onnx_pipeline.extension.procedure import SQL_TYPES, option_name
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.spec.engines.external_language import ExternalLanguageOptions

__all__ = ["ExternalLanguageEngine"]

_DEPLOYS = "runs `onnx-pipeline extension deploy` on it"
_INPUTS = frozenset(
    {"float", "double", "float16", "bool", "string", "int64", "int32", "int16", "int8", "uint32", "uint16", "uint8"}
)


class ExternalLanguageEngine(ExternalScriptEngine[ExternalLanguageOptions]):
    """Writes the language's options, which say which columns are keys, features and predictions."""

    proviso = "where the language is registered"
    settled_by = frozenset({"pool"})

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(model, OnnxModel):
            return (NO_ARTIFACT,)
        found = (*_of_inputs(model), *_of_outputs(model, [output.name for output in model.signature.outputs]))
        return found or (lacks(pool, LANGUAGE, registers=_DEPLOYS) if pool is not None else ())

    @classmethod
    def unfit(cls, task: Task, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(task.model, OnnxModel):
            return cls.unsupported(task.model, pool)
        wanted = dict.fromkeys(output.output for output in task.outputs)
        return (*_of_inputs(task.model), *_of_outputs(task.model, list(wanted)))

    @classmethod
    def lacking(cls, options: ExternalLanguageOptions, pool: Pool) -> Sequence[Reason]:
        return lacks(pool, options.language, registers=_DEPLOYS)

    @property
    def language(self) -> str:
        return self.options.language

    def script(self, query: InputQuery) -> str:
        listed = {
            "keys": [option_name(column.name) for column in query.passed],
            "features": [option_name(name) for name in self._features(query)],
            "outputs": [self._chosen(output) for output in self.task.outputs],
        }
        lines = [f"{option} = {', '.join(names)}" for option, names in listed.items() if names]
        return "\n".join([*lines, f"threads = {self.options.threads}"])

    def _features(self, query: InputQuery) -> Iterator[str]:
        """The columns of the one wide input; where there is none, one column per input, in the model's order."""
        inputs = list(zip(self.task.binding.inputs, query.inputs, strict=True))
        wide = [columns for bound, columns in inputs if bound.tensor.is_matrix]
        for columns in wide or [columns for _, columns in inputs]:
            yield from columns

    def _chosen(self, column: OutputColumn) -> str:
        (output,) = (output for output in self.task.model.signature.outputs if output.name == column.output)
        place = "" if output.width == 1 else f"[{column.index}]"
        return f"{option_name(column.output)}{place}"


def _of_inputs(model: OnnxModel) -> Iterator[Reason]:
    inputs = model.signature.inputs
    wide = [tensor.name for tensor in inputs if tensor.is_matrix]
    if len(wide) > 1:
        yield Reason(
            f"it has {len(wide)} inputs of several columns ({', '.join(wide)}), and the language fills one",
            f"export it with one, or {NEAREST}",
        )
    for tensor in inputs:
        if tensor.dtype not in _INPUTS:
            yield Reason(f"its input {tensor.name!r} is {tensor.dtype}, which the language cannot fill", NEAREST)


def _of_outputs(model: OnnxModel, wanted: Sequence[str]) -> Iterator[Reason]:
    for output in model.signature.outputs:
        if output.name in wanted and output.dtype not in SQL_TYPES:
            yield Reason(
                f"its output {output.name!r} is {output.dtype}, which the language cannot return",
                f"leave it out of `outputs`, or {NEAREST}",
            )
