"""What is decided about a slice before it is staged or committed anywhere.

A verdict is a value that whoever asked for the slice may show. Nobody has to look at it for the slice to be protected:
the functions of `scoring` enforce it themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx_pipeline.base.errors import PredictionError
from onnx_pipeline.base.rules import MISSING
from onnx_pipeline.scoring.inventory import Inventory
from onnx_pipeline.scoring.statistics import ColumnStatistics, Summary, population_stability_index
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = [
    "DISTRIBUTION",
    "NO_MISSING",
    "NULL_RATE",
    "ROWS_OUTSIDE",
    "ROW_COUNT",
    "SIGNATURE",
    "Reference",
    "RowCount",
    "Verdict",
    "distribution",
    "missing_predictions",
    "null_rate",
    "row_count",
    "rows_outside",
    "signature",
]

SIGNATURE = "signature"
NULL_RATE = "null_rate"
ROWS_OUTSIDE = "rows_outside_partitions"
NO_MISSING = "no_missing_predictions"
DISTRIBUTION = "distribution"
ROW_COUNT = "row_count"


@dataclass(frozen=True)
class Verdict:
    """What a check decided."""

    check: str
    partition_key: str | None
    """None where it is about the whole scoring."""
    passed: bool
    description: str
    figures: Mapping[str, int | float] = field(default_factory=dict)
    """What it was decided by, by name."""
    blocking: bool = False
    """Whether a slice that fails must not go on."""
    refusal: str = ""
    """What the person who asked for the slice is told then: value, consequence and fix."""

    def enforce(self) -> None:
        """Raise PredictionError where the slice must not go on."""
        if self.blocking and not self.passed:
            raise PredictionError(self.refusal)


@dataclass(frozen=True)
class Reference:
    """The slice that another one's predictions are compared with."""

    partition_key: str
    summaries: Mapping[str, Summary]


@dataclass(frozen=True)
class RowCount:
    """Rows of a slice, counted on both sides before the commit."""

    partition_key: str
    staged: int
    """Staged predictions of this run."""
    source: int
    """Rows of the slice when its features were read."""
    loaded: int
    """Rows that the transaction put into the target, or that an upsert updated there."""
    present: int
    """Rows of the partition in the target, for `append` and `upsert` those of this run, as the pool counts them."""

    @property
    def equal(self) -> bool:
        return self.source == self.staged == self.loaded == self.present


def _where(spec: ScoringSpec, partition_key: str) -> str:
    return f"{spec.scoring}, partition {partition_key!r}"


def signature(problem: str | None) -> Verdict:
    """Whether every model input is fed; what raised says how not."""
    return Verdict(SIGNATURE, None, problem is None, problem or "Model and columns fit.", blocking=True)


def null_rate(spec: ScoringSpec, partition_key: str, rows: int, null_counts: Mapping[str, int]) -> Verdict:
    """Whether no feature is NULL more often than the spec allows."""
    limit = spec.checks.null_rate
    rates = {name: count / rows for name, count in null_counts.items() if rows}
    above = {name: rate for name, rate in rates.items() if rate > limit}
    text = ", ".join(f"{name} {rate:.1%}" for name, rate in sorted(above.items()))
    description = f"{MISSING} in more than {limit:.0%} of the rows: {text}" if above else "Within the limit."
    return Verdict(
        NULL_RATE, partition_key, not above, description,
        {"highest": float(max(rates.values(), default=0.0)), "limit": float(limit)},
        blocking="null_rate" in spec.checks.blocking,
        refusal=f"{_where(spec, partition_key)}: {description}. Nothing was scored. Mend the source, or raise "
        "`checks: {null_rate: ...}`.",
    )  # fmt: skip


def rows_outside(inventory: Inventory) -> Verdict:
    """Whether every row of the source belongs to a partition, or will: one verdict for the whole source."""
    description = f"{inventory.why_outside()}." if inventory.outside else "Every row has a partition."
    if inventory.late:
        description += f" {inventory.late:,} more come after the last partition that can be scored now."
    figures = {
        "unplaced": inventory.unplaced,
        "null": inventory.null,
        "not_listed": inventory.unlisted,
        "before_first_partition": inventory.early,
        "after_until": inventory.ended,
        "after_last_partition": inventory.late,
    }
    return Verdict(ROWS_OUTSIDE, None, not inventory.outside, description, figures)


def missing_predictions(
    spec: ScoringSpec, partition_key: str, rows: int, missing: Mapping[str, int], first: str | None = None
) -> Verdict:
    """Whether every prediction is a value. `missing`: NULL, NaN and infinite ones by output, where there are any.

    `first` names the first row without one.
    """
    text = ", ".join(f"{name} in {count:,} of {rows:,} rows" for name, count in missing.items())
    description = f"NULL, NaN or infinite: {text}" if missing else "Every prediction is a value."
    told = f". The first is {first}." if first else "."
    return Verdict(
        NO_MISSING, partition_key, not missing, description, dict(missing),
        blocking=spec.checks.nan_predictions != "allow",
        refusal=f"{_where(spec, partition_key)}: predictions are {description}{told} Nothing was staged or loaded. "
        "Find the rows with `onnx-pipeline preview`, say what stands in for NULL in `nulls`, or load them as NULL with "
        "`checks: {nan_predictions: allow}`.",
    )  # fmt: skip


def distribution(
    spec: ScoringSpec, partition_key: str, statistics: Mapping[str, ColumnStatistics], reference: Reference | None
) -> Verdict:
    """Whether predictions are distributed as in the slice before, or as in this one's last run."""
    limit, blocking = spec.checks.psi, "psi" in spec.checks.blocking
    if reference is None:
        description = "Nothing that was scored before to compare with."
        return Verdict(DISTRIBUTION, partition_key, True, description, blocking=blocking)
    indexes = {
        name: index
        for name, column in statistics.items()
        if name in reference.summaries
        and (index := population_stability_index(reference.summaries[name], column)) is not None
    }
    shifted = {name: index for name, index in indexes.items() if index > limit}
    text = ", ".join(f"{name} {index:.3f}" for name, index in (shifted or indexes).items())
    before = "its last run" if reference.partition_key == partition_key else repr(reference.partition_key)
    if shifted:
        description = f"shifted against {before}: population stability index {text}, limit {limit:g}"
    else:
        description = f"As in {before}: population stability index {text}" if indexes else "Nothing to compare."
    return Verdict(
        DISTRIBUTION, partition_key, not shifted, description, indexes, blocking=blocking,
        refusal=f"{_where(spec, partition_key)}: predictions {description}. Nothing was loaded. If the shift is real, "
        "raise `checks: {psi: ...}` or take psi out of `checks: {blocking: ...}`.",
    )  # fmt: skip


def row_count(spec: ScoringSpec, count: RowCount) -> Verdict:
    """Whether as many rows stand in the pool as the slice has."""
    return Verdict(
        ROW_COUNT, count.partition_key, count.equal,
        f"{count.present:,} rows in the pool, {count.source:,} in the partition.",
        {"in the partition": count.source, "staged": count.staged, "loaded": count.loaded,
         "in the pool": count.present},
        blocking=True,
        refusal=f"{_where(spec, count.partition_key)}: {count.source} rows in the partition, {count.staged} staged, "
        f"{count.loaded} loaded and {count.present} counted in {spec.target_table}. Nothing was changed; run the "
        "partition again.",
    )  # fmt: skip
