"""The checks of a scoring: what they are called, what they look at, and how each partition's result is recorded.

Dagster records one result per check and run, so for a range of partitions the evaluations are emitted as events of
their own, each with its partition. What would let wrong data reach the pool raises while the pool's transaction is
still open; the evaluation is recorded all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster import AssetCheckEvaluation, MetadataValue

from onnx_pipeline.base.errors import PredictionError
from onnx_pipeline.scoring.extract import ExtractedSlice
from onnx_pipeline.scoring.inventory import Inventory
from onnx_pipeline.scoring.load import RowCount
from onnx_pipeline.scoring.predict import PredictedSlice
from onnx_pipeline.scoring.statistics import Summary, population_stability_index
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = [
    "CheckRecorder",
    "check_specs",
]

SIGNATURE = "signature"
NULL_RATE = "null_rate"
ROWS_OUTSIDE = "rows_outside_partitions"
NO_MISSING = "no_missing_predictions"
DISTRIBUTION = "distribution"
ROW_COUNT = "row_count"


def check_specs(spec: ScoringSpec, asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of one of a scoring's assets."""
    blocking = spec.checks.blocking
    described = {
        "model": [(SIGNATURE, "Every model input is fed by a column of a type that fits it.", True)],
        "features": [
            (
                NULL_RATE,
                f"No feature is NULL in more than {spec.checks.null_rate:.0%} of the rows.",
                "null_rate" in blocking,
            ),
            (ROWS_OUTSIDE, "Every row of the source belongs to a partition.", False),
        ],
        "predictions": [
            (
                NO_MISSING,
                "No prediction is NULL, NaN or infinite."
                if spec.checks.nan_predictions == "fail"
                else "Predictions that are NaN or infinite are loaded as NULL, and counted here.",
                spec.checks.nan_predictions == "fail",
            ),
            (
                DISTRIBUTION,
                f"Population stability index against the partition before at most {spec.checks.psi:g}.",
                "psi" in blocking,
            ),
        ],
        "pool_predictions": [(ROW_COUNT, "Rows in the pool = rows in the slice, counted before the commit.", True)],
    }
    key = dg.AssetKey([spec.scoring, asset])
    return [
        dg.AssetCheckSpec(name, asset=key, description=description, blocking=stops)
        for name, description, stops in described[asset]
    ]


@dataclass
class CheckRecorder:
    """Collects the evaluations of one step; the step emits them, also where it fails."""

    spec: ScoringSpec
    asset: str
    partitioned: bool
    evaluations: list[AssetCheckEvaluation] = field(default_factory=list)

    def _record(
        self,
        name: str,
        passed: bool,
        partition_key: str | None,
        description: str,
        metadata: Mapping[str, dg.MetadataValue],
        *,
        blocking: bool,
    ) -> None:
        self.evaluations.append(
            AssetCheckEvaluation(
                asset_key=dg.AssetKey([self.spec.scoring, self.asset]),
                check_name=name,
                passed=passed,
                metadata=metadata,
                description=description,
                severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
                blocking=blocking,
                partition=partition_key if self.partitioned else None,
            )
        )

    def signature(self, problem: str | None) -> None:
        self._record(SIGNATURE, problem is None, None, problem or "Model and columns fit.", {}, blocking=True)

    def null_rate(self, piece: ExtractedSlice) -> None:
        """Raises PredictionError where the rate is too high and the spec lets that block."""
        limit, rows = self.spec.checks.null_rate, piece.rows
        rates = {name: count / rows for name, count in piece.null_counts.items() if rows}
        above = {name: rate for name, rate in rates.items() if rate > limit}
        blocking = "null_rate" in self.spec.checks.blocking
        text = ", ".join(f"{name} {rate:.1%}" for name, rate in sorted(above.items()))
        description = f"NULL in more than {limit:.0%} of the rows: {text}" if above else "Within the limit."
        highest = max(rates.values(), default=0.0)
        self._record(
            NULL_RATE, not above, piece.partition_key, description,
            {"highest": MetadataValue.float(highest), "limit": MetadataValue.float(limit)}, blocking=blocking,
        )  # fmt: skip
        if above and blocking:
            raise PredictionError(
                f"{self.spec.scoring}, partition {piece.partition_key!r}: {description}. Nothing was scored. "
                "Mend the source, or raise `checks: {null_rate: ...}`."
            )

    def rows_outside(self, inventory: Inventory) -> None:
        """One result for the whole source: these rows belong to no partition."""
        counts = {
            "unplaced": MetadataValue.int(inventory.unplaced),
            "before_first_partition": MetadataValue.int(inventory.early),
            "after_last_partition": MetadataValue.int(inventory.late),
        }
        description = (
            f"{inventory.unplaced:,} rows have a partition value that is NULL or not listed: they are never scored."
            if inventory.unplaced
            else "Every row has a partition."
        )
        self._record(ROWS_OUTSIDE, not inventory.unplaced, None, description, counts, blocking=False)

    def missing_predictions(self, piece: PredictedSlice) -> None:
        """Raises PredictionError for NaN, infinite or NULL predictions, unless the spec allows them."""
        missing = piece.missing
        allowed = self.spec.checks.nan_predictions == "allow"
        text = ", ".join(f"{name} in {count:,} of {piece.rows:,} rows" for name, count in missing.items())
        description = f"NULL, NaN or infinite: {text}" if missing else "Every prediction is a value."
        self._record(
            NO_MISSING, not missing, piece.partition_key, description,
            {name: MetadataValue.int(count) for name, count in missing.items()}, blocking=not allowed,
        )  # fmt: skip
        if missing and not allowed:
            raise PredictionError(
                f"{self.spec.scoring}, partition {piece.partition_key!r}: predictions are {description}. Nothing was "
                "staged or loaded. Find the rows with `onnx-pipeline preview`, say what stands in for NULL in `nulls`, "
                "or load them as NULL with `checks: {nan_predictions: allow}`."
            )

    def distribution(
        self, piece: PredictedSlice, previous_key: str | None, previous: dict[str, Summary] | None
    ) -> None:
        """Raises PredictionError for a shifted distribution where the spec lets that block."""
        limit = self.spec.checks.psi
        blocking = "psi" in self.spec.checks.blocking
        if previous is None:
            self._record(
                DISTRIBUTION, True, piece.partition_key, "No scored partition before this one to compare with.", {},
                blocking=blocking,
            )  # fmt: skip
            return
        indexes = {
            name: index
            for name, column in piece.statistics.items()
            if name in previous and (index := population_stability_index(previous[name], column)) is not None
        }
        shifted = {name: index for name, index in indexes.items() if index > limit}
        text = ", ".join(f"{name} {index:.3f}" for name, index in (shifted or indexes).items())
        if shifted:
            description = f"shifted against {previous_key!r}: population stability index {text}, limit {limit:g}"
        else:
            description = (
                f"As in {previous_key!r}: population stability index {text}" if indexes else "Nothing to compare."
            )
        metadata = {name: MetadataValue.float(index) for name, index in indexes.items()}
        self._record(DISTRIBUTION, not shifted, piece.partition_key, description, metadata, blocking=blocking)
        if shifted and blocking:
            raise PredictionError(
                f"{self.spec.scoring}, partition {piece.partition_key!r}: predictions {description}. Nothing was "
                "loaded. If the shift is real, raise `checks: {psi: ...}` or take psi out of `checks: {blocking: ...}`."
            )

    def row_count(self, count: RowCount) -> None:
        metadata = {
            "in the slice": MetadataValue.int(count.source),
            "staged": MetadataValue.int(count.staged),
            "loaded": MetadataValue.int(count.loaded),
            "in the pool": MetadataValue.int(count.present),
        }
        description = f"{count.present:,} rows in the pool, {count.source:,} in the slice."
        self._record(ROW_COUNT, count.equal, count.partition_key, description, metadata, blocking=True)
