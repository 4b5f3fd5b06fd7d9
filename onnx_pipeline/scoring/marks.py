"""What passes through a pool's engine beside the key, so that the facts of a slice can be counted from what landed.

A row may change between the asset that surveys it and the engine's own statement. Its marks travel with its prediction,
in that one statement: what is judged is what was scored, on any isolation level.
"""

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import is_text
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import changed_text
from onnx_pipeline.scoring.casts import feature_columns, is_misfit, misfitting
from onnx_pipeline.scoring.changed import changed_column, changed_name
from onnx_pipeline.scoring.names import CHANGED, MISFITS, NULLS
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["MarkedFacts", "facts_of", "landing_statement", "marked_facts", "marks_schema"]

_BITS = 31
"""Of an INTEGER, whose sign stays clear of them."""


@dataclass(frozen=True)
class MarkedFacts:
    """What a slice's marks say of it."""

    rows: int
    changed: str | None
    """The greatest `changed`, as the scoring log keeps it."""
    null_counts: dict[str, int]
    """NULLs by staged feature column."""
    key_nulls: dict[str, int]
    misfits: dict[str, int]
    """Values without a form in the model's dtype, by staged feature column, where there are any."""


def marks_schema(plan: ScoringPlan, pool: Pool) -> pa.Schema:
    """The marks of a landing: the key, `changed` where the spec names it, NULLs and misfits of the features."""
    fields = list(plan.key_schema)
    changed = changed_name(plan.spec, plan.source)
    if changed is not None:
        arrow = plan.source.schema.field(changed).type
        fields.append(pa.field(CHANGED, pa.string() if is_text(arrow) else arrow))
    fields += [pa.field(name, pa.int32()) for name, _ in (*_packs(plan), *_misfit_packs(plan, pool))]
    return pa.schema(fields)


def landing_statement(plan: ScoringPlan, pool: Pool, partition_key: str) -> sa.Select[Any]:
    """The SELECT of one slice for an engine of the pool: marks, then features under their staged names."""
    source = plan.source
    columns = [column.label(name) for name, column in zip(plan.key, plan.key_columns(), strict=True)]
    changed = changed_column(plan.spec, source, pool)
    if changed is not None:
        columns.append(changed.label(CHANGED))
    for name, features in _packs(plan):
        columns.append(_bits([_is_missing(plan, pool, staged) for staged in features]).label(name))
    for name, features in _misfit_packs(plan, pool):
        tests = [is_misfit(plan, pool, staged) for staged in features]
        columns.append(_bits([test for test in tests if test is not None]).label(name))
    statement = sa.select(*columns, *feature_columns(plan, pool)).select_from(source.selectable)
    predicate = plan.partitioning.predicate(source, pool, [partition_key])
    return statement if predicate is None else statement.where(predicate)


def _bits(tests: Sequence[sa.ColumnElement[bool]]) -> sa.ColumnElement[Any]:
    bits = [sa.case((test, _integer(1 << place)), else_=_integer(0)) for place, test in enumerate(tests)]
    return functools.reduce(operator.add, bits)


def _is_missing(plan: ScoringPlan, pool: Pool, staged: str) -> sa.ColumnElement[bool]:
    name = plan.features[staged]
    return pool.is_missing(plan.source.column(name), plan.source.schema.field(name).type)


def _packs(plan: ScoringPlan) -> Iterator[tuple[str, Sequence[str]]]:
    """A column of bits, and the features that it tells of, from the lowest bit on."""
    return _packed(NULLS, list(plan.binding.columns))


def _misfit_packs(plan: ScoringPlan, pool: Pool) -> Iterator[tuple[str, Sequence[str]]]:
    return _packed(MISFITS, list(misfitting(plan, pool)))


def _packed(prefix: str, staged: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    for number, start in enumerate(range(0, len(staged), _BITS)):
        yield f"{prefix}{number}", staged[start : start + _BITS]


def marked_facts(plan: ScoringPlan, pool: Pool, rows: sa.FromClause) -> sa.Select[Any]:
    """One row of all that `facts_of` reads, counted over rows with marks."""
    measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
    if plan.spec.source_spec.changed is not None:
        measures.append(sa.func.max(rows.c[CHANGED]).label("changed"))
    for index, name in enumerate(plan.key):
        measures.append(_times(rows.c[name].is_(None)).label(f"key_{index}"))
    for kind, packs in (("feature", _packs(plan)), ("misfit", _misfit_packs(plan, pool))):
        flags = [(name, bit) for name, features in packs for bit in range(len(features))]
        for place, (name, bit) in enumerate(flags):
            is_set = rows.c[name].bitwise_and(_integer(1 << bit)) != _integer(0)
            measures.append(_times(is_set).label(f"{kind}_{place}"))
    return sa.select(*measures).select_from(rows)


def facts_of(plan: ScoringPlan, pool: Pool, found: pa.Table) -> MarkedFacts:
    """The answer to `marked_facts`."""
    # Not read as Python's date, which holds no infinite one.
    changed = found["changed"][0] if "changed" in found.schema.names else None
    (row,) = found.select([name for name in found.schema.names if name != "changed"]).to_pylist()
    return MarkedFacts(
        rows=int(row["rows"]),
        changed=changed_text(changed),
        null_counts={
            name: int(row[f"feature_{index}"] or 0) for index, name in enumerate(plan.binding.columns)
        },
        key_nulls={name: int(row[f"key_{index}"] or 0) for index, name in enumerate(plan.key)},
        misfits={
            name: int(row[f"misfit_{index}"])
            for index, name in enumerate(misfitting(plan, pool)) if row[f"misfit_{index}"]
        },
    )  # fmt: skip


def _times(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    """How many rows a condition is true of; of no rows, NULL."""
    return sa.func.sum(sa.cast(sa.case((condition, _integer(1)), else_=_integer(0)), sa.BigInteger))


def _integer(value: int) -> sa.ColumnElement[Any]:
    return sa.literal_column(str(value), sa.Integer)
