"""Scoring batches of any size, one after the other or several under way."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from onnx_pipeline.models.features import Packer
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["Scorer", "in_parts", "streamed"]

Scorer = Callable[[pa.RecordBatch], list[pa.Array]]


def in_parts(
    part: Scorer,
    packer: Packer,
    wanted: Sequence[OutputColumn],
    *,
    rows: int,
    check: Callable[[pa.RecordBatch], None],
) -> Scorer:
    """Scores a batch by parts of at most `rows` rows; `check` raises for one that must not be scored."""

    def score(batch: pa.RecordBatch) -> list[pa.Array]:
        if batch.num_rows == 0:
            packer(batch)  # an empty slice whose columns do not fit is still an error
            return [pa.array([], type=column.arrow) for column in wanted]
        check(batch)
        if batch.num_rows <= rows:
            return part(batch)
        parts = [part(batch.slice(start, rows)) for start in range(0, batch.num_rows, rows)]
        return [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)]

    return score


def streamed(score: Scorer, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
    """Each batch with its predictions, in order: by the scorer's own `stream`, where it has several under way."""
    under_way: Callable[[Iterable[pa.RecordBatch]], Iterator[tuple[pa.RecordBatch, list[pa.Array]]]] | None
    under_way = getattr(score, "stream", None)
    return ((batch, score(batch)) for batch in batches) if under_way is None else under_way(batches)
