"""What computes predictions from features, and what the rest of the package asks of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import pyarrow as pa

from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["Engine", "Host", "PoolEngine", "Reason", "StreamEngine", "Task"]

OptionsT = TypeVar("OptionsT", bound=EngineOptions)


@dataclass(frozen=True)
class Task:
    """What an engine is to compute: a model over columns. It knows neither a scoring nor where rows come from."""

    model: PlannedModel
    binding: Binding
    """Model inputs to feature columns."""
    outputs: Sequence[OutputColumn]
    """The predictions that are wanted, in the order in which they are given back."""
    nulls: Mapping[str, StandIn] = field(default_factory=dict)
    """What stands in for NULL, by feature column."""


@dataclass(frozen=True)
class Host:
    """What an engine gets from the process that opens it."""

    runtime: RuntimeOptions
    """How ONNX Runtime runs here, for engines that run it."""
    say: Callable[[str], None]
    """Hears of what delays the engine."""


class Reason(NamedTuple):
    """Why an engine cannot run a model, and what would make it run."""

    why: str
    remedy: str


class Engine(ABC, Generic[OptionsT]):
    """One way to compute predictions. Made for one task, and closed after it."""

    proviso: ClassVar[str] = ""
    """Under which condition it runs what `unsupported` has nothing against: `where a service has it`."""
    settled_by: ClassVar[frozenset[Literal["pool", "task"]]] = frozenset()
    """What settles that condition: `unsupported` asked with a pool, or `unfit`, which has a task."""

    def __init__(self, options: OptionsT, task: Task, host: Host) -> None:
        """Raises SpecError where the environment lacks what the engine takes, or the model is not one for it."""
        self.options = options
        self.task = task
        self.host = host

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        """Why this engine cannot run the model, on that pool where one is given; nothing where it can."""
        return ()

    @classmethod
    def unfit(cls, task: Task, pool: Pool | None) -> Sequence[Reason]:
        """Why this engine cannot compute a task, as far as that shows without a row.

        Asked of a scoring's own engine; it may cost more than `unsupported`, which every engine is asked.
        """
        return cls.unsupported(task.model, pool)

    @classmethod
    def lacking(cls, options: OptionsT, pool: Pool) -> Sequence[Reason]:
        """What a pool lacks that an engine with these options needs, as far as the pool itself tells.

        Asked of a scoring's own engine, beside `unfit`, before a row moves.
        """
        return ()

    @classmethod
    def described_model(cls, options: OptionsT) -> PlannedModel:
        """What is known of a model that has no artifact here; for options that say `needs_artifact = False`."""
        raise NotImplementedError

    def look(self) -> str:
        """What asking whatever scores came to, in a few words, without scoring; empty where there is nothing to ask.

        Raises what would keep it from scoring: ServiceError for a service that does not answer, for instance.
        """
        return ""

    def facts(self) -> Mapping[str, Any]:
        """What the materialization of the slice scored last shows of the engine: names, and texts or numbers."""
        return {}

    def cancel(self) -> None:
        """Give up what is under way; called from another thread while the engine works. Nothing is scored after it."""

    def close(self) -> None:
        """Give back what the engine holds, connections for instance; called once, when nothing is under way."""


class StreamEngine(Engine[OptionsT]):
    """Scores batches of features that pass through this process."""

    @abstractmethod
    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        """Each batch with its predictions: one array of `batch.num_rows` values per output of the task, in its order.

        Batches come back in order; an engine may keep several in flight, and may cut a batch into smaller ones.
        """


class PoolEngine(Engine[OptionsT]):
    """Scores rows where they lie: nothing but counts passes through this process."""

    @abstractmethod
    def land(self, landing: Landing) -> None:
        """Put key, marks and predictions of one slice into `landing`, whose `features` is the SELECT of its rows.

        All of it by one statement, so that rows and what is counted of them are of one snapshot.
        """
