"""What every engine says of one model: whether it can run it, why not, and what would make it run."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from onnx_pipeline.base.errors import OnnxPipelineError, SignatureError, first_line
from onnx_pipeline.engines import installed_engine
from onnx_pipeline.engines.base import Engine, Reason, Task
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.spec.engines.registry import engine_kinds, options_of

__all__ = ["Opinion", "Verdict", "opinions", "own_task"]


class Verdict(str, Enum):
    """Whether an engine can run a model here."""

    YES = "yes"
    NO = "no"
    NOT_INSTALLED = "not installed"
    NOT_KNOWN = "not known"
    """It could not be asked."""


@dataclass(frozen=True)
class Opinion:
    """One engine's answer."""

    engine: str
    """Its kind."""
    runs: str
    """Where rows meet the model: `here`, `pool` or `cluster`; empty where that is not known."""
    verdict: Verdict
    proviso: str = ""
    """Under which condition a yes holds."""
    reasons: Sequence[Reason] = ()
    """Of anything but a yes."""

    @property
    def why(self) -> str:
        """The condition of a yes, or all reasons."""
        return self.proviso or "; ".join(reason.why for reason in self.reasons)

    @property
    def remedy(self) -> str:
        """What would make it run."""
        return "; ".join(dict.fromkeys(reason.remedy for reason in self.reasons if reason.remedy))


def opinions(model: PlannedModel, pool: Pool | None, task: Task | None = None) -> list[Opinion]:
    """Every engine's, ours first, on that pool where one is given.

    With a `task` an engine whose `unfit` looks longer is asked for that, too. A condition that nothing settles stays.
    """
    return [_opinion(kind, model, pool, task) for kind in engine_kinds()]


def own_task(model: OnnxModel) -> Task | None:
    """All outputs of a model, over columns by its own names, or by made-up ones where it brings none.

    None where the model does not say how many columns it takes.
    """
    features = None
    if model.feature_names is None:
        matrices = {tensor.name: tensor.width for tensor in model.signature.inputs if tensor.is_matrix}
        features = {name: [f"{name}_{place}" for place in range(width or 0)] for name, width in matrices.items()}
    try:
        return Task(model, model.bind(features), output_columns(model.signature))
    except SignatureError:
        return None


def _opinion(kind: str, model: PlannedModel, pool: Pool | None, task: Task | None) -> Opinion:
    runs = ""
    try:
        options = options_of(kind)
        runs = options.runs
        engine = installed_engine(options)
        if engine is None:
            missing = Reason(f"it needs {' and '.join(options.packages)}", f"pip install '{options.extra}'")
            return Opinion(kind, runs, Verdict.NOT_INSTALLED, reasons=(missing,))
        return _asked(kind, runs, engine, model, pool, task)
    except Exception as error:  # noqa: BLE001 - an engine of somebody else's raises what it likes: told in its own row
        redacted = pool.redacted if pool is not None else str
        why = f"asking it ended in {type(error).__name__}: {first_line(error, redacted=redacted)}"
        remedy = "" if isinstance(error, OnnxPipelineError) else "repair or remove the package that brings it"
        return Opinion(kind, runs, Verdict.NOT_KNOWN, reasons=(Reason(why, remedy),))


def _asked(
    kind: str, runs: str, engine: type[Engine[Any]], model: PlannedModel, pool: Pool | None, task: Task | None
) -> Opinion:
    reasons = engine.unsupported(model, pool)
    if not reasons and task is not None and _looks_longer(engine):
        reasons = engine.unfit(task, pool)
    if reasons:
        return Opinion(kind, runs, Verdict.NO, reasons=tuple(reasons))
    asked = {name for name, given in (("pool", pool), ("task", task)) if given is not None}
    return Opinion(kind, runs, Verdict.YES, proviso="" if asked & engine.settled_by else engine.proviso)


def _looks_longer(engine: type[Engine[Any]]) -> bool:
    """Whether its `unfit` is its own."""
    return getattr(engine.unfit, "__func__", None) is not getattr(Engine.unfit, "__func__", None)
