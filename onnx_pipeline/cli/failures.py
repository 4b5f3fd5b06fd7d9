"""What becomes of a scoring that fails while others are at work."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa

from onnx_pipeline.base.errors import (
    OnnxPipelineError,
    PoolBusyError,
    PoolError,
    PoolPausedError,
    PoolUnavailableError,
)
from onnx_pipeline.pools import Pool

__all__ = ["Failures", "RunError"]


class RunError(OnnxPipelineError):
    """`dagster job execute` ended with another code than 0."""


class Failures:
    """What failed, by scoring. A pool that does not answer is no scoring's fault, and ends the command."""

    def __init__(self, pool: Pool, broken: Mapping[str, OnnxPipelineError] | None = None) -> None:
        """`broken` is what failed before, by scoring."""
        self._pool = pool
        self._found: dict[str, OnnxPipelineError] = dict(broken or {})

    @contextmanager
    def of(self, scoring: str) -> Iterator[None]:
        """Keeps what concerns one scoring; raises at once what every other one would end in too."""
        try:
            yield
        except OnnxPipelineError as error:
            if isinstance(error, PoolError):
                self._end_without_pool(error)
            self._found.setdefault(scoring, error)

    def _end_without_pool(self, error: PoolError) -> None:
        try:
            if isinstance(error, (PoolBusyError, PoolUnavailableError, PoolPausedError)):
                raise error
            self._pool.fetch(sa.select(sa.literal_column("1").label("answer")))
        except PoolError:
            # What was found before is told all the same.
            sys.stderr.writelines(f"{line}\n" for line in self._lines())
            raise

    def __bool__(self) -> bool:
        """Whether anything failed."""
        return bool(self._found)

    def end(self) -> None:
        """Raise what failed, each with its scoring, where anything did."""
        if self._found:
            raise OnnxPipelineError("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        return [
            str(error) if isinstance(error, RunError) else f"{scoring}: {type(error).__name__}: {_bare(error, scoring)}"
            for scoring, error in self._found.items()
        ]


def _bare(error: OnnxPipelineError, scoring: str) -> str:
    """The message without the scoring's name where it begins with that."""
    return str(error).removeprefix(f"{scoring}: ")
