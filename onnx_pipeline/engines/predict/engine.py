"""The engine `predict`: the pool runs the model, in a form that its PREDICT takes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from onnx_pipeline.base.errors import FeatureValueError, PoolError, SpecError, UnsupportedModelError
from onnx_pipeline.engines.artifacts import NO_ARTIFACT, artifact_of
from onnx_pipeline.engines.base import Host, PoolEngine, Reason, Task
from onnx_pipeline.engines.predict.probe import refused
from onnx_pipeline.engines.sql.engine import SqlEngine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel, signed
from onnx_pipeline.models.scalar_form import CARRIERS
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.spec.engines.predict import PredictOptions

if TYPE_CHECKING:  # what a model's page, which asks every engine, does without
    from onnx_pipeline.engines.predict.fitted import Fitted

__all__ = ["PredictEngine"]


class PredictEngine(PoolEngine[PredictOptions]):
    """Registers the model's form once, and has each slice scored by two statements."""

    proviso = "where the pool answers PREDICT"
    settled_by = frozenset({"pool"})

    def __init__(self, options: PredictOptions, task: Task, host: Host) -> None:
        super().__init__(options, task, host)
        self._model = artifact_of(options, task)
        self._fitted: Fitted | None = None
        self._expression = ""

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(model, OnnxModel):
            return (NO_ARTIFACT,)
        instead = _instead(model, pool)
        if model.fixed_batch not in (None, 1):
            return (Reason(f"it takes {model.fixed_batch} rows a call, and PREDICT gives it one", instead),)
        for tensor in model.signature.inputs:
            if tensor.dtype not in CARRIERS:
                return (Reason(f"its input {tensor.name!r} is {tensor.dtype}, which no column of PREDICT is", instead),)
        return _refused_by(pool, instead)

    @classmethod
    def unfit(cls, task: Task, pool: Pool | None) -> Sequence[Reason]:
        reasons = cls.unsupported(task.model, pool)
        if reasons or not isinstance(task.model, OnnxModel):
            return reasons
        from onnx_pipeline.engines.predict.fitted import fitted

        try:
            fitted(task, task.model)
        except UnsupportedModelError as error:
            return (Reason(str(error), _instead(task.model, pool)),)
        return ()

    def land(self, landing: Landing) -> None:
        if landing.pool != "synapse":
            raise SpecError(
                f"a pool of the kind {landing.pool} runs no PREDICT: score it with {_instead(self._model, None)}"
            )
        from onnx_pipeline.engines.predict.fitted import MOST_COLUMNS, fitted, too_many
        from onnx_pipeline.engines.predict.statements import UNFIT_TEXT, features_of, predictions_of
        from onnx_pipeline.pools.synapse.predict import registered

        task = self._fitted or fitted(self.task, self._model)
        features = landing.features.subquery("features")
        first = features_of(task, features, landing.marks)
        if len(first.selected_columns) > MOST_COLUMNS:
            raise SpecError(f"{too_many(len(first.selected_columns))}: score it with {_instead(self._model, None)}")
        if self._fitted is None:
            number = landing.register(self._model.sha256, task.form.data, signed(self._model), task.name)
            self._expression = registered(number, self._model.sha256, task.name)
            self._fitted = task
        second = predictions_of(task.form, self._expression, landing.marks, landing.outputs)
        try:
            landing.insert(first, second)
        except PoolError as error:
            if error.transient:
                raise
            if UNFIT_TEXT in str(error):
                self._tell_texts(landing, features)
            raise self._told(error) from error

    def facts(self) -> Mapping[str, Any]:
        if self._fitted is None:
            return {}
        return {
            "model_runs": f"as one scalar per column, which answered {self._fitted.proven} made-up rows as the model "
            "does; no NULL reaches it",
            "model_form": self._fitted.name,
        }

    def _tell_texts(self, landing: Landing, features: sa.FromClause) -> None:
        """Raises FeatureValueError where it was a text that ended the statement."""
        from onnx_pipeline.engines.predict.statements import is_unfit_text

        assert self._fitted is not None
        for column in self._fitted.form.columns:
            if column.dtype != "string":
                continue
            text = features.c[column.column]
            counted: list[sa.ColumnElement[Any]] = [sa.func.count().label("n"), sa.func.max(text).label("example")]
            unfit = sa.select(*counted).select_from(features).where(is_unfit_text(text))
            (found,) = landing.fetch(unfit).to_pylist()
            if found["n"]:
                raise FeatureValueError(
                    column.column,
                    0,
                    f"holds {found['n']:,} texts such as {found['example'][:40]!r}, and PREDICT gets a VARCHAR, of "
                    "which only up to 8,000 letters of ASCII are certain to mean the same to the model: score it with "
                    f"{_instead(self._model, None)}",
                )

    def _told(self, error: PoolError) -> PoolError:
        text = str(error)
        if "corrupt or invalid" in text:
            opset = self._model.opset.get("", 0)
            return PoolError(
                f"{text}. The pool's ONNX Runtime may be older than the model, whose operator set is {opset}; export "
                f"it with an older one, or score it with {_instead(self._model, None)}"
            )
        if "PREDICT" in text or "Incorrect syntax" in text:
            return PoolError(f"{text}. The pool refuses PREDICT; score it with {_instead(self._model, None)}")
        return error


def _refused_by(pool: Pool | None, instead: str) -> Sequence[Reason]:
    why = None if pool is None else refused(pool)
    return () if why is None else (Reason(why, f"score it with {instead}"),)


def _instead(model: PlannedModel, pool: Pool | None) -> str:
    """The engine to use where PREDICT is not there."""
    if not SqlEngine.unsupported(model, pool):
        return "`engine: {kind: sql}`, which scores in the pool, too, or `engine: {kind: onnxruntime}`"
    return "`engine: {kind: onnxruntime}`, which runs every ONNX model"
