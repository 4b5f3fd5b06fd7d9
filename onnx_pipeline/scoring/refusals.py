"""Slices that were refused: nothing of them goes on, and the run's other slices do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from onnx_pipeline.base.errors import DataError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.staging import Stage, Staging
from onnx_pipeline.scoring.verdicts import Verdict

__all__ = ["Watch", "withdraw"]


def _ignore(verdict: Verdict) -> None:
    """Nobody is watching."""


@dataclass
class Watch:
    """Who is told what was decided about the slices of one step."""

    show: Callable[[Verdict], None] = _ignore
    """Sees each verdict before it is enforced."""
    run_id: str = ""
    refused: dict[str, DataError] = field(default_factory=dict)
    """By partition key, in the order in which they were refused."""

    def refuse(self, partition_key: str, error: DataError) -> None:
        self.refused.setdefault(partition_key, error)

    def end(self) -> None:
        """Raise the first refusal, where there is one; it tells how many others there are."""
        if not self.refused:
            return
        first, *others = self.refused.values()
        if not others:
            raise first
        raise type(first)(f"{first} Refused too: {', '.join(list(self.refused)[1:])}.")


def withdraw(
    staging: Staging, pool: Pool, scoring: str, stage: Stage, partition_key: str, error: DataError, watch: Watch
) -> None:
    """Take a refused slice out of staging, from `stage` on: no asset scores or loads what was staged before."""
    stages: tuple[Stage, ...] = ("features", "predictions") if stage == "features" else ("predictions",)
    for name in stages:
        table = staging.withdraw(scoring, name, partition_key, why=str(error), run_id=watch.run_id)
        if table is not None:
            pool.discard(table)
    watch.refuse(partition_key, error)
