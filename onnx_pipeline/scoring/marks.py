"""What passes through a pool's engine beside the key, so that the facts of a slice can be counted from what landed.

A row may change between the asset that surveys it and the engine's own statement. Its marks travel with its prediction,
in that one statement: what is judged is what was scored, on any isolation level.
"""

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import is_text
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import changed_text
from onnx_pipeline.scoring.casts import feature_columns, is_misfit
from onnx_pipeline.scoring.changed import changed_column, changed_name, later
from onnx_pipeline.scoring.names import CHANGED, MISFITS, NULLS, PLACE
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["MarkedFacts", "Marks"]

_BITS = 31
"""Of an INTEGER, whose sign stays clear of them."""


@dataclass(frozen=True)
class MarkedFacts:
    """What a slice's marks say of it."""

    rows: int
    changed: pa.Scalar | None
    """The greatest `changed`."""
    null_counts: dict[str, int]
    """NULLs by staged feature column."""
    key_nulls: dict[str, int]
    misfits: dict[str, int]
    """Values without a form in the model's dtype, by staged feature column, where there are any."""

    @property
    def changed_text(self) -> str | None:
        """The greatest `changed`, as the scoring log keeps it."""
        return changed_text(self.changed)

    def __add__(self, other: "MarkedFacts") -> "MarkedFacts":
        return MarkedFacts(
            self.rows + other.rows,
            self.changed if other.changed is None else later(other.changed, self.changed),
            _sums(self.null_counts, other.null_counts),
            _sums(self.key_nulls, other.key_nulls),
            _sums(self.misfits, other.misfits),
        )


class Marks:
    """The marks of a plan's rows in one pool. What is the same for every slice is put together once."""

    def __init__(self, plan: ScoringPlan, pool: Pool) -> None:
        self.plan = plan
        self.pool = pool

    @cached_property
    def schema(self) -> pa.Schema:
        """The marks of a landing: the key, `changed` where the spec names it, NULLs and misfits of the features."""
        plan = self.plan
        fields = list(plan.key_schema)
        changed = changed_name(plan.spec, plan.source)
        if changed is not None:
            arrow = plan.source.schema.field(changed).type
            fields.append(pa.field(CHANGED, pa.string() if is_text(arrow) else arrow))
        fields += [pa.field(name, pa.int32()) for name, _ in (*self._null_packs, *self._misfit_packs)]
        return pa.schema(fields)

    def features(self, partition_key: str) -> sa.Select[Any]:
        """The SELECT of one slice for an engine of the pool: marks, then features under their staged names."""
        return self._within(sa.select(*self._marks, *self._features), [partition_key])

    def facts_in_source(self, keys: Sequence[str]) -> list[MarkedFacts]:
        """What the source holds now of each of `keys`, which one statement can read (see `Partitioning.chunks`).

        Raises DataError for rows that the pool gives and that lie in none of them.
        """
        plan, pool = self.plan, self.pool
        group = plan.partitioning.group(plan.source, pool) if len(keys) > 1 else None
        columns = self._marks if group is None else [*self._marks, group.label(PLACE)]
        found = pool.fetch(self.counted(self._within(sa.select(*columns), keys).subquery("features")))
        facts = self.read(found)
        if group is None:
            return facts
        totals = [self._nothing] * len(keys)
        codes = plan.placed(found[PLACE].combine_chunks(), keys) if facts else ()
        for code, each in zip(codes, facts, strict=True):
            totals[code] += each
        return totals

    def counted(self, rows: sa.FromClause) -> sa.Select[Any]:
        """All that `read` takes, counted over rows with marks: one row, or one for each place where rows have one."""
        measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
        if self.plan.spec.source_spec.changed is not None:
            measures.append(sa.func.max(rows.c[CHANGED]).label("changed"))
        for index, name in enumerate(self.plan.key):
            measures.append(self.pool.times(rows.c[name].is_(None)).label(f"key_{index}"))
        for kind, packs in (("feature", self._null_packs), ("misfit", self._misfit_packs)):
            flags = [(name, bit) for name, features in packs for bit in range(len(features))]
            for place, (name, bit) in enumerate(flags):
                is_set = rows.c[name].bitwise_and(_integer(1 << bit)) != _integer(0)
                measures.append(self.pool.times(is_set).label(f"{kind}_{place}"))
        statement = sa.select(*measures).select_from(rows)
        if PLACE not in rows.c:
            return statement
        return statement.add_columns(rows.c[PLACE]).group_by(rows.c[PLACE])

    def read(self, found: pa.Table) -> list[MarkedFacts]:
        """The answer to `counted`, row by row."""
        # Neither is read as Python's date, which holds no infinite one.
        apart = [name for name in ("changed", PLACE) if name in found.schema.names]
        return [
            MarkedFacts(
                rows=int(row["rows"]),
                changed=found["changed"][number] if "changed" in apart else None,
                null_counts={
                    name: int(row[f"feature_{index}"] or 0) for index, name in enumerate(self.plan.binding.columns)
                },
                key_nulls={name: int(row[f"key_{index}"] or 0) for index, name in enumerate(self.plan.key)},
                misfits={
                    name: int(row[f"misfit_{index}"])
                    for index, name in enumerate(self._misfits) if row[f"misfit_{index}"]
                },
            )
            for number, row in enumerate(found.drop_columns(apart).to_pylist())
        ]  # fmt: skip

    @property
    def _nothing(self) -> MarkedFacts:
        return MarkedFacts(0, None, dict.fromkeys(self.plan.binding.columns, 0), dict.fromkeys(self.plan.key, 0), {})

    def _within(self, statement: sa.Select[Any], keys: Sequence[str]) -> sa.Select[Any]:
        statement = statement.select_from(self.plan.source.selectable)
        predicate = self.plan.partitioning.predicate(self.plan.source, self.pool, keys)
        return statement if predicate is None else statement.where(predicate)

    @cached_property
    def _marks(self) -> list[sa.ColumnElement[Any]]:
        plan, source = self.plan, self.plan.source
        columns: list[sa.ColumnElement[Any]] = [
            column.label(name) for name, column in zip(plan.key, plan.key_columns(), strict=True)
        ]
        changed = changed_column(plan.spec, source, self.pool)
        if changed is not None:
            columns.append(changed.label(CHANGED))
        for name, features in self._null_packs:
            columns.append(_bits([self._is_missing(staged) for staged in features]).label(name))
        for name, features in self._misfit_packs:
            columns.append(_bits([self._misfits[staged] for staged in features]).label(name))
        return columns

    @cached_property
    def _features(self) -> list[sa.ColumnElement[Any]]:
        return feature_columns(self.plan, self.pool)

    @cached_property
    def _misfits(self) -> dict[str, sa.ColumnElement[bool]]:
        """Whether a value has no form in the model's dtype, by the staged features of which that may be so."""
        tests = {staged: is_misfit(self.plan, self.pool, staged) for staged in self.plan.binding.columns}
        return {staged: test for staged, test in tests.items() if test is not None}

    def _is_missing(self, staged: str) -> sa.ColumnElement[bool]:
        source, name = self.plan.source, self.plan.features[staged]
        return self.pool.is_missing(source.column(name), source.schema.field(name).type)

    @cached_property
    def _null_packs(self) -> list[tuple[str, Sequence[str]]]:
        """A column of bits, and the features that it tells of, from the lowest bit on."""
        return list(_packed(NULLS, list(self.plan.binding.columns)))

    @cached_property
    def _misfit_packs(self) -> list[tuple[str, Sequence[str]]]:
        return list(_packed(MISFITS, list(self._misfits)))


def _bits(tests: Sequence[sa.ColumnElement[bool]]) -> sa.ColumnElement[Any]:
    bits = [sa.case((test, _integer(1 << place)), else_=_integer(0)) for place, test in enumerate(tests)]
    return functools.reduce(operator.add, bits)


def _packed(prefix: str, staged: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    for number, start in enumerate(range(0, len(staged), _BITS)):
        yield f"{prefix}{number}", staged[start : start + _BITS]


def _sums(some: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + others.get(name, 0) for name in {**some, **others}}


def _integer(value: int) -> sa.ColumnElement[Any]:
    return sa.literal_column(str(value), sa.Integer)
