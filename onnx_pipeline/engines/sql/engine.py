"""The engine `sql`: the model becomes one SELECT over the slice's features, and the pool runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import sqlalchemy as sa

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.artifacts import NEAREST, NO_ARTIFACT, artifact_of
from onnx_pipeline.engines.base import Host, PoolEngine, Reason, Task
from onnx_pipeline.engines.missing import never_missing
from onnx_pipeline.engines.sql.dialects import DIALECTS, dialect_of
from onnx_pipeline.engines.sql.operators import OPERATORS
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.spec.engines.sql import SqlOptions

if TYPE_CHECKING:  # it imports ONNX, which a model's page, say, does without
    from onnx_pipeline.engines.sql.compiler import CompiledModel
    from onnx_pipeline.engines.sql.rendering import Template

__all__ = ["SqlEngine"]

_KEPT = 4
"""Compiled models: those that a run's steps ask for one after the other."""


class SqlEngine(PoolEngine[SqlOptions]):
    """Compiles the model once per task, and writes its SQL once for all slices."""

    proviso = "where each of its nodes has a form in SQL, which `onnx-pipeline validate` finds out"
    settled_by = frozenset({"task"})

    def __init__(self, options: SqlOptions, task: Task, host: Host) -> None:
        super().__init__(options, task, host)
        artifact_of(options, task)
        self._templates: dict[tuple[str, Sequence[str]], Template] = {}

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(model, OnnxModel):
            return (NO_ARTIFACT,)
        if pool is not None and pool.kind not in DIALECTS:
            return (Reason(f"it writes no SQL for pools of the kind {pool.kind}", NEAREST),)
        missing = [name for name in model.operators if _named(name) not in OPERATORS]
        return (Reason(f"{' and '.join(missing)} has no form in SQL", NEAREST),) if missing else ()

    @classmethod
    def unfit(cls, task: Task, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(task.model, OnnxModel) or (pool is not None and pool.kind not in DIALECTS):
            return cls.unsupported(task.model, pool)
        try:
            _compiled(task, pool.kind if pool is not None else "duckdb")
        except NotCompilableError as error:
            return (Reason(str(error), NEAREST),)
        return ()

    def land(self, landing: Landing) -> None:
        features = landing.features.subquery("features")
        first, *more = self._template(landing, features).parts
        landing.insert(first(features), *more)

    def _template(self, landing: Landing, features: sa.FromClause) -> "Template":
        from onnx_pipeline.engines.sql.rendering import Template

        known = landing.pool, tuple(features.c.keys())
        if known not in self._templates:
            compiled = _compiled(self.task, landing.pool)
            self._templates[known] = Template(
                compiled.outputs, features, dialect_of(landing.pool), keep=tuple(landing.marks)
            )
        return self._templates[known]


def _named(operator: str) -> tuple[str, str]:
    domain, _, name = operator.rpartition(".")
    return domain, name


@dataclass(frozen=True)
class _Compilation:
    """All that decides what a model becomes."""

    sha256: str
    binding: Binding
    outputs: Sequence[OutputColumn]
    nulls: Sequence[tuple[str, StandIn]]
    never_missing: Sequence[str]
    stores_nan: bool
    normalised: bytes = field(compare=False, repr=False)


def _compiled(task: Task, pool: str) -> "CompiledModel":
    """The task's model for a kind of pool. Raises NotCompilableError."""
    model = task.model
    assert isinstance(model, OnnxModel)
    return _compile(
        _Compilation(
            model.sha256,
            task.binding,
            tuple(task.outputs),
            tuple(sorted(task.nulls.items())),
            never_missing(model, task),
            dialect_of(pool).stores_nan,
            model.normalised,
        )
    )


@lru_cache(maxsize=_KEPT)
def _compile(asked: _Compilation) -> "CompiledModel":
    from onnx_pipeline.engines.sql.compiler import compile_model

    return compile_model(
        asked.normalised,
        asked.binding,
        asked.outputs,
        nulls=dict(asked.nulls),
        never_missing=asked.never_missing,
        stores_nan=asked.stores_nan,
    )
