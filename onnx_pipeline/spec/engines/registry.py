"""Which engines there are: the one place that maps a kind to its options, which name their engine.

A package of somebody else's adds an engine by an entry point: its name is the kind, its value `module:Options`.

    [project.entry-points."onnx_pipeline.engines"]
    mine = "my_package.options:MyOptions"
"""

from importlib.metadata import EntryPoint, entry_points

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.base.imports import imported
from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["BUILT_IN", "ENTRY_POINTS", "engine_kinds", "options_of"]

ENTRY_POINTS = "onnx_pipeline.engines"

_OPTIONS = {
    "onnxruntime": "onnx_pipeline.spec.engines.onnxruntime:OnnxRuntimeOptions",
    "remote": "onnx_pipeline.spec.engines.remote:RemoteOptions",
    "sql": "onnx_pipeline.spec.engines.sql:SqlOptions",
    "predict": "onnx_pipeline.spec.engines.predict:PredictOptions",
    "external_language": "onnx_pipeline.spec.engines.external_language:ExternalLanguageOptions",
    "external_python": "onnx_pipeline.spec.engines.external_python:ExternalPythonOptions",
    "spark": "onnx_pipeline.spec.engines.spark:SparkOptions",
}

BUILT_IN = tuple(_OPTIONS)
"""The kinds that this package brings."""


def engine_kinds() -> list[str]:
    """The kinds of all engines, ours first."""
    return [*_OPTIONS, *sorted(set(_added()) - set(_OPTIONS))]


def options_of(kind: str) -> type[EngineOptions]:
    """The options of an engine. Raises SpecError for a kind that there is not, and for a package that is broken."""
    place = _OPTIONS.get(kind)
    if place is None:
        added = _added().get(kind)
        if added is None:
            raise SpecError(f"there is no engine {kind!r}; {closest(kind, engine_kinds())}")
        place = added.value
    found = imported(place)
    if not (isinstance(found, type) and issubclass(found, EngineOptions)):
        raise SpecError(f"the engine {kind!r} is registered as {place}, which is no EngineOptions")
    return found


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
