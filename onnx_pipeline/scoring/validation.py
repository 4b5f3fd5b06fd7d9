"""Everything that can be known of a scoring without scoring: all that is wrong with it, not only what comes first.

Nothing is made, kept or altered, in the pool or elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import sqlalchemy as sa

from onnx_pipeline.base.errors import (
    OnnxPipelineError,
    PoolBusyError,
    PoolPausedError,
    PoolUnavailableError,
    SpecError,
)
from onnx_pipeline.engines import open_engine
from onnx_pipeline.models.binding import bind, unavailable
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.changed import changed_name
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.places import about_target, refuse_unfit
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.readiness import objections
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Finding", "Level", "validate"]

T = TypeVar("T")


class Level(str, Enum):
    """What a finding means for the scoring."""

    OK = "ok"
    WARNING = "warning"
    """It runs, and leaves something out."""
    FAILED = "failed"
    """It cannot run, or would fail while it does."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """`model`, `engine`, `source`, `columns`, `nulls`, `partitions`, `target` or `schedule`."""
    level: Level
    text: str


@dataclass
class _Findings:
    """Collects what is found; what one look raises stops no other one."""

    found: list[Finding] = field(default_factory=list)

    def add(self, about: str, level: Level, text: str) -> None:
        self.found.append(Finding(about, level, text))

    def failed(self, about: str, error: OnnxPipelineError) -> None:
        self.add(about, Level.FAILED, f"{type(error).__name__}: {error}")

    @contextmanager
    def keeping(self, about: str) -> Iterator[None]:
        try:
            yield
        except (PoolBusyError, PoolUnavailableError, PoolPausedError):
            raise  # of no scoring in particular: every other look would end so
        except OnnxPipelineError as error:
            self.failed(about, error)

    def asked(self, about: str, ask: Callable[[], T], told: Callable[[T], str]) -> T | None:
        """What `ask` gives, reported by `told`; None where it raises, which is reported as a failure."""
        answer: T | None = None
        with self.keeping(about):
            answer = ask()
            self.add(about, Level.OK, told(answer))
        return answer

    @property
    def failures(self) -> int:
        return sum(finding.level is Level.FAILED for finding in self.found)


def validate(spec: ScoringSpec, pool: Pool, others: Sequence[ScoringSpec] = ()) -> list[Finding]:
    """What was found of a scoring, in the order in which it would fail; `others` are the project's scorings.

    Raises PoolBusyError, PoolUnavailableError or PoolPausedError where the pool does not answer.
    """
    found = _Findings()
    model = found.asked("model", lambda: model_origin(spec).load(RuntimeOptions()), _described)
    source = found.asked(
        "source",
        lambda: pool.source(spec),
        lambda source: f"{source.description}: {_times(len(source.schema), 'column')}",
    )
    plan = _plan(found, spec, model, source)
    if plan is not None:
        _engine(found, plan, pool)
        _nulls(found, plan, pool)
        with found.keeping("target"):
            stands = pool.check_target(plan.target)
            state = "stands, with columns that fit" if stands else "does not stand; the first run makes it"
            found.add("target", Level.OK, f"{spec.target_table} {state}")
    _place(found, spec, pool, others, source)
    if source is not None:
        _partitions(found, spec, pool, source)
    for name, cron in (("schedule", spec.schedule), ("fresh_by", spec.fresh_by)):
        if cron is not None:
            zone = spec.partition_spec.timezone if spec.partition_spec is not None else "UTC"
            found.add("schedule", Level.OK, f"{name}: {cron!r} in {zone}")
    return found.found


def _described(model: PlannedModel) -> str:
    signature = model.signature
    return f"{model.sha256[:12]}, {_times(len(signature.inputs), 'input')}, {_times(len(signature.outputs), 'output')}"


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _plan(found: _Findings, spec: ScoringSpec, model: PlannedModel | None, source: Source | None) -> ScoringPlan | None:
    """The plan, whatever does not fit in it; None where there is not enough of a fit to make one."""
    before = found.failures
    if source is not None:
        for name in spec.key:
            with found.keeping("columns"):
                source.name(name, role="key")
        with found.keeping("columns"):
            changed_name(spec, source)
    if model is not None:
        with found.keeping("columns"):
            _bound(found, spec, model, source)
        with found.keeping("target"):
            output_columns(model.signature, spec.outputs)
    if model is None or source is None or found.failures > before:
        return None
    plan: ScoringPlan | None = None
    with found.keeping("columns"):
        plan = ScoringPlan(spec, model, source, check=False)
        for error in plan.misfits():
            found.failed("columns", error)
        if found.failures == before:
            fed = f"{_times(len(plan.binding.inputs), 'input')} from {_times(len(plan.features), 'column')}"
            found.add("columns", Level.OK, f"{fed}; key {', '.join(plan.key)}")
    return plan


def _bound(found: _Findings, spec: ScoringSpec, model: PlannedModel, source: Source | None) -> None:
    """Every column that an input reads and the source lacks."""
    names = model.feature_names
    if source is None:
        bind(model.signature, spec.features, feature_names=names)
        return
    available = source.schema.names
    for error in unavailable(model.signature, spec.features, feature_names=names, available=available, fold_case=True):
        found.failed("columns", error)


def _engine(found: _Findings, plan: ScoringPlan, pool: Pool) -> None:
    """Whether the engine runs the model, and whatever scores is there."""
    options = plan.spec.engine
    before = found.failures
    with found.keeping("engine"):
        for reason in objections(plan, pool):
            found.add(
                "engine", Level.FAILED, f"`{options.kind}` cannot run this model, since {reason.why}: {reason.remedy}"
            )
        with closing(open_engine(options, plan.task, RuntimeOptions())) as engine:
            answer = engine.look()
        if found.failures == before:
            found.add("engine", Level.OK, f"{options.kind}: {answer}" if answer else options.kind)


def _nulls(found: _Findings, plan: ScoringPlan, pool: Pool) -> None:
    """The rules for NULL against the source's own NULLs, counted by one query."""
    source = plan.source
    before = found.failures
    with found.keeping("nulls"):
        # Whether the stand-ins are values of their columns' types.
        plan.model.check_nulls(plan.binding, {}, plan.nulls)
        rows, nulls = _counted(plan, pool)
        for name in plan.key:
            if nulls[name]:
                found.add("nulls", Level.FAILED, f"key {name} is NULL in {nulls[name]:,} of {rows:,} rows; none may be")
        present = {staged: nulls[name] for staged, name in plan.features.items() if nulls[name]}
        for staged, count in present.items():
            with found.keeping("nulls"):
                plan.model.check_nulls(plan.binding, {staged: count}, plan.nulls)
        if found.failures == before:
            text = ", ".join(f"{plan.features[staged]} {count:,}" for staged, count in present.items())
            told = f"NULLs that have a form: {text}" if text else "no NULLs"
            found.add("nulls", Level.OK, f"{told} in {rows:,} rows of {source.description}")


def _counted(plan: ScoringPlan, pool: Pool) -> tuple[int, Mapping[str, int]]:
    """Rows of the source, and NULLs by source column that is bound."""
    source = plan.source
    names = list(dict.fromkeys((*plan.key, *plan.features.values())))
    measures: list[sa.ColumnElement[Any]] = [_count(None).label("n")]
    measures += [_count(source.column(name)).label(f"c{index}") for index, name in enumerate(names)]
    (row,) = pool.fetch(sa.select(*measures).select_from(source.selectable)).to_pylist()
    rows = int(row["n"])
    return rows, {name: rows - int(row[f"c{index}"]) for index, name in enumerate(names)}


def _count(column: sa.ColumnElement[Any] | None) -> sa.ColumnElement[Any]:
    return sa.func.count() if column is None else sa.func.count(column)


def _place(
    found: _Findings, spec: ScoringSpec, pool: Pool, others: Sequence[ScoringSpec], source: Source | None
) -> None:
    """Whose the target is, and how the rows in it were cut."""
    with found.keeping("target"):
        scored = pool.scored(spec.scoring, spec.target_table)
        for text in about_target(scored):
            found.add("target", Level.WARNING, text)
        for other in others:
            if other.scoring != spec.scoring and pool.standing(other.target_table).name == scored.target.name:
                shared = f"{other.scoring} has the same target, {scored.target.name}"
                why = f"{shared}, and the two would delete each other's rows. Give each a target of its own"
                found.failed("target", SpecError(why))
        partitions = partitioning(spec)
        if source is not None:
            refuse_unfit(spec, scored, partitions, partitions.way(source))


def _partitions(found: _Findings, spec: ScoringSpec, pool: Pool, source: Source) -> None:
    """How the source falls into partitions, and which of its rows fall into none."""
    with found.keeping("partitions"):
        partitions = partitioning(spec)
        partitions.check_source(source)
        inventory = take_inventory(spec, pool, partitions, source)
        keys = list(partitions.keys())
        rows = sum(piece.rows for piece in inventory.slices.values())
        held = f"{rows:,} rows in {len(inventory.slices):,} of {len(keys):,} partitions"
        found.add("partitions", Level.OK, f"{held}, {keys[0]} to {keys[-1]}" if len(keys) > 1 else held)
        for note in partitions.notes:
            found.add("partitions", Level.WARNING, note)
        if inventory.outside:
            found.add("partitions", Level.WARNING, inventory.why_outside())
        if inventory.late:
            found.add(
                "partitions", Level.WARNING, f"{inventory.late:,} rows after the last partition are not scored yet"
            )
