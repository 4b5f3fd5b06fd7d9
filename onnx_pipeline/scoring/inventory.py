"""What a source holds, per partition, by one grouped query however many partitions there are."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import mask, to_numpy
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Fingerprint, Source, changed_text
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Inventory", "take_inventory"]


@dataclass
class Inventory:
    """What the source holds, per partition; empty partitions are absent."""

    slices: dict[str, Fingerprint] = field(default_factory=dict)
    unplaced: int = 0
    """Rows that belong to no partition and never will: the partition column is NULL, or none of `values`."""
    early: int = 0
    """Rows before the first partition."""
    late: int = 0
    """Rows after the last partition that can be scored now."""


def take_inventory(
    spec: ScoringSpec, pool: Pool, partitioning: Partitioning, source: Source | None = None
) -> Inventory:
    """What the source holds now; `source` where it was looked up already."""
    source = source or pool.source(spec)
    group = partitioning.group(source, pool)
    measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
    changed = spec.source_spec.changed
    if changed is not None:
        measures.append(sa.func.max(source.column(changed, role="source.changed")).label("changed"))
    statement = sa.select(*measures).select_from(source.selectable)
    if group is not None:
        statement = statement.add_columns(group.label("marker")).group_by(group)
    table = pool.fetch(statement).combine_chunks()
    return _roll_up(table, partitioning)


def _roll_up(table: pa.Table, partitioning: Partitioning) -> Inventory:
    keys = list(partitioning.keys())
    rows = to_numpy(table["rows"].combine_chunks()).astype(np.int64)
    changed = table["changed"].to_pylist() if "changed" in table.column_names else [None] * len(rows)
    inventory = Inventory()
    if not len(rows):
        return inventory
    if "marker" in table.column_names:
        markers = table["marker"].combine_chunks()
        # Without any partition yet, every row is late, except those that will never have one.
        codes = partitioning.place(markers, keys) if keys else np.where(mask(markers), -2, 0)
    else:
        codes = np.zeros(len(rows), dtype=np.int64)
    latest: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for code, count, value in zip(codes.tolist(), rows.tolist(), changed, strict=True):
        if code == -2 or (code == -1 and not partitioning.ordered):
            inventory.unplaced += count
        elif code == -1:
            inventory.early += count
        elif code >= len(keys):
            inventory.late += count
        elif count:
            key = keys[code]
            counts[key] = counts.get(key, 0) + count
            known = latest.get(key)
            latest[key] = value if known is None or (value is not None and value > known) else known
    inventory.slices = {key: Fingerprint(counts[key], changed_text(latest[key])) for key in keys if key in counts}
    return inventory
