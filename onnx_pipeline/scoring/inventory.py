"""What a source holds, per partition, by one grouped query however many partitions there are."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import from_numpy, mask, to_numpy
from onnx_pipeline.base.instants import is_instant, ticks
from onnx_pipeline.partitions.base import Codes, Partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Fingerprint, Source, changed_texts
from onnx_pipeline.scoring.changed import changed_column, later
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Inventory", "take_inventory"]


@dataclass
class Inventory:
    """What the source holds, per partition; empty partitions are absent."""

    slices: dict[str, Fingerprint] = field(default_factory=dict)
    null: int = 0
    """Rows whose partition column is NULL."""
    unlisted: int = 0
    """Rows whose value is none of `values`."""
    early: int = 0
    """Rows before the first partition."""
    ended: int = 0
    """Rows on or after `until`."""
    late: int = 0
    """Rows after the last partition that can be scored now, which will have one."""

    @property
    def unplaced(self) -> int:
        """Rows whose value has no place among the partitions: NULL, or not listed."""
        return self.null + self.unlisted

    @property
    def outside(self) -> int:
        """Rows that belong to no partition and never will, as the partitions are."""
        return self.unplaced + self.early + self.ended

    def why_outside(self) -> str:
        """How many rows belong to no partition, and why: for people to read."""
        reasons = [
            (self.null, "with NULL in the partition column"),
            (self.unlisted, "with a value that `values` does not list"),
            (self.early, "before the first partition"),
            (self.ended, "on or after `until`"),
        ]
        parts = [f"{count:,} {reason}" for count, reason in reasons if count]
        return (
            f"{self.outside:,} {'row has' if self.outside == 1 else 'rows have'} no partition, and "
            f"{'is' if self.outside == 1 else 'are'} never scored: {', '.join(parts)}"
        )


def take_inventory(
    spec: ScoringSpec, pool: Pool, partitioning: Partitioning, source: Source | None = None
) -> Inventory:
    """What the source holds now; `source` where it was looked up already."""
    source = source or pool.source(spec)
    group = partitioning.group(source, pool)
    measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
    changed = changed_column(spec, source, pool)
    if changed is not None:
        measures.append(sa.func.max(changed).label("changed"))
    statement = sa.select(*measures).select_from(source.selectable)
    if group is not None:
        statement = statement.add_columns(group.label("marker")).group_by(group)
    table = pool.fetch(statement).combine_chunks()
    return _roll_up(table, partitioning)


def _roll_up(table: pa.Table, partitioning: Partitioning) -> Inventory:
    keys = list(partitioning.keys())
    rows = to_numpy(table["rows"].combine_chunks()).astype(np.int64)
    changed = table["changed"].combine_chunks() if "changed" in table.column_names else None
    inventory = Inventory()
    if not len(rows):
        return inventory
    if "marker" in table.column_names:
        codes = partitioning.place(table["marker"].combine_chunks(), keys)
    else:
        codes = np.zeros(len(rows), dtype=np.int64)

    def outside(code: int) -> int:
        return int(rows[codes == code].sum())

    inventory.null, inventory.late, inventory.ended = outside(-2), outside(len(keys)), outside(len(keys) + 1)
    if partitioning.ordered:
        inventory.early = outside(-1)
    else:
        inventory.unlisted = outside(-1)
    within = (codes >= 0) & (codes < len(keys)) & (rows > 0)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, codes[within], rows[within])
    texts: dict[int, str | None] = {}
    if changed is not None:
        latest = _latest(codes, np.flatnonzero(within), changed)
        texts = dict(
            zip(latest, changed_texts(changed.take(from_numpy(np.array([*latest.values()], np.int64)))), strict=True)
        )
    inventory.slices = {
        keys[code]: Fingerprint(count, texts.get(code)) for code, count in enumerate(counts.tolist()) if count
    }
    return inventory


def _latest(codes: Codes, within: Codes, changed: pa.Array) -> dict[int, int]:
    """Of each code, which of the groups at the indexes `within` has the greatest `changed`; none where all are NULL."""
    if is_instant(changed.type) and len(within):
        # One by one, thousands of hours would take longer than the query.
        within = within[~mask(changed)[within]]
        values = ticks(changed)
        within = within[np.lexsort((values[within], codes[within]))]
        lasts = within[np.flatnonzero(np.diff(codes[within], append=-1))]
        return dict(zip(codes[lasts].tolist(), lasts.tolist(), strict=True))
    latest: dict[int, int] = {}
    for index, code in zip(within.tolist(), codes[within].tolist(), strict=True):
        value, known = changed[index], latest.get(code)
        if value.is_valid and (known is None or later(value, changed[known]) is value):
            latest[code] = index
    return latest
