"""From the pool into staging: the features of one or many partitions, by one statement per chunk of partitions."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onnx_pipeline.base.arrow import from_numpy, to_numpy
from onnx_pipeline.base.errors import DataError, FeatureValueError, KeyColumnError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import changed_text
from onnx_pipeline.scoring.changed import greatest, later
from onnx_pipeline.scoring.fitted import fitted
from onnx_pipeline.scoring.names import CHANGED, MARKER
from onnx_pipeline.scoring.offending import value_refused
from onnx_pipeline.scoring.plan import ScoringPlan, schema_facts
from onnx_pipeline.scoring.progress import Progress, overlapped
from onnx_pipeline.scoring.refusals import Watch, withdraw
from onnx_pipeline.scoring.staging import Staging, StagingWriter
from onnx_pipeline.scoring.verdicts import null_rate

__all__ = ["ExtractedSlice", "extract"]


@dataclass(frozen=True)
class ExtractedSlice:
    """What one partition's features came to."""

    partition_key: str
    rows: int
    bytes: int
    seconds: float
    null_counts: dict[str, int]
    """NULLs and NaNs by staged feature column."""


def extract(
    plan: ScoringPlan,
    pool: Pool,
    staging: Staging,
    keys: Sequence[str],
    *,
    say: Callable[[str], None],
    watch: Watch | None = None,
) -> Iterator[ExtractedSlice]:
    """Select the rows of `keys` and stage them, slice by slice; yields each slice once it is staged.

    Rows stream: memory does not grow with them. Whatever fails leaves staging as it was for the slices not yielded.
    A slice that a blocking check refuses is not staged, and what staging held of it is withdrawn; the others go on.
    Without a `watch`, the first refusal is raised at the end.
    """
    progress = Progress(f"{plan.spec.scoring}: reading", say)
    watching = watch or Watch()
    for chunk in plan.partitioning.chunks(keys):
        yield from _extract_chunk(plan, pool, staging, chunk, progress, watching)
    if watch is None:
        watching.end()


def _extract_chunk(
    plan: ScoringPlan, pool: Pool, staging: Staging, keys: list[str], progress: Progress, watch: Watch
) -> Iterator[ExtractedSlice]:
    started = time.monotonic()
    scoring, schema = plan.spec.scoring, plan.features_schema
    statement = plan.statement(pool, keys, marked=len(keys) > 1)
    with ExitStack() as stack:
        writers = [stack.enter_context(staging.writer(scoring, "features", key, schema)) for key in keys]
        slices = [_Slice(plan, writer, key) for writer, key in zip(writers, keys, strict=True)]
        with pool.read(statement) as reader:
            for batch in overlapped(reader):
                if batch.num_rows:
                    for index, part in _split(plan, batch, keys):
                        slices[index].add(part)
                    progress.add(batch.num_rows)
        elapsed = time.monotonic() - started
        total = sum(piece.rows for piece in slices)
        for key, writer, piece in zip(keys, writers, slices, strict=True):
            if piece.refused is not None:
                withdraw(staging, pool, scoring, "features", key, piece.refused, watch)
                continue
            seconds = elapsed * (piece.rows / total if total else 1 / len(keys))
            verdict = null_rate(plan.spec, key, piece.rows, piece.null_counts)
            watch.show(verdict)
            try:
                verdict.enforce()
            except DataError as error:
                withdraw(staging, pool, scoring, "features", key, error, watch)
                continue
            staged = writer.commit({**piece.facts(), "seconds": seconds})
            yield ExtractedSlice(key, piece.rows, staged.facts["bytes"], seconds, piece.null_counts)


def _split(plan: ScoringPlan, batch: pa.RecordBatch, keys: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch's rows by partition, each part with the index of its key."""
    if MARKER not in batch.schema.names:
        yield 0, batch
        return
    codes = plan.placed(batch.column(MARKER), keys)
    batch = batch.drop_columns([MARKER])
    low = int(codes.min())
    if low == int(codes.max()):
        yield low, batch
        return
    if np.any(np.diff(codes) < 0):
        order = np.argsort(codes, kind="stable")
        codes, batch = codes[order], batch.take(from_numpy(order))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield int(codes[start]), batch.slice(start, end - start)


class _Slice:
    """One partition's features while they are written."""

    def __init__(self, plan: ScoringPlan, writer: StagingWriter, partition_key: str) -> None:
        self._plan = plan
        self._partition_key = partition_key
        self.refused: DataError | None = None
        """What keeps it from being staged: its rows are passed over, and those of the other slices go on."""
        self._origin = plan.origin
        self._writer = writer
        self._ascending = _Ascending(plan.key)
        self._changed: pa.Scalar | None = None
        self.rows = 0
        self.null_counts = dict.fromkeys(plan.binding.columns, 0)
        self._key_nulls = dict.fromkeys(plan.key, 0)

    def add(self, batch: pa.RecordBatch) -> None:
        if self.refused is None:
            try:
                self._add(batch)
            except FeatureValueError as error:
                self.refused = value_refused(self._plan, self._partition_key, batch, error)
            except KeyColumnError as error:
                self.refused = KeyColumnError(f"{self._plan.spec.scoring}, partition {self._partition_key!r}: {error}")

    def _add(self, batch: pa.RecordBatch) -> None:
        if CHANGED in batch.schema.names:
            self._changed = later(greatest(batch.column(CHANGED)), self._changed)
            batch = batch.drop_columns([CHANGED])
        batch = fitted(self._plan, batch)
        for name in self.null_counts:
            self.null_counts[name] += batch.column(name).null_count
        for name in self._key_nulls:
            self._key_nulls[name] += batch.column(name).null_count
        self._ascending.add(batch)
        self.rows += batch.num_rows
        self._writer.write(batch)

    def facts(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "changed": changed_text(self._changed),
            "null_counts": self.null_counts,
            "key_nulls": self._key_nulls,
            "keys_ascend": self._ascending.holds,
            "schema": schema_facts(self._plan.features_schema),
            **self._origin,
        }


class _Ascending:
    """Whether an integer key only ever grew: then it is unique, and the pool need not be asked."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self._name = key[0]
        self.holds = len(key) == 1
        self._last: int | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        column = batch.column(self._name)
        if not self.holds or not len(column):
            return
        if column.null_count or not pa.types.is_integer(column.type):
            self.holds = False
            return
        values: npt.NDArray[Any] = to_numpy(column)
        if (self._last is not None and values[0] <= self._last) or not bool(np.all(values[1:] > values[:-1])):
            self.holds = False
        self._last = int(values[-1])
