"""The checks of a scoring, as Dagster shows them: what they are called, what they look at, what came of them.

Nothing is decided here: `scoring.verdicts` does that. Dagster records one result per check and run, so for a range of
partitions the evaluations are emitted as events of their own, each with its partition.
"""

import dagster as dg
from dagster import AssetCheckEvaluation

from onnx_pipeline.orchestration.names import asset_key
from onnx_pipeline.scoring.verdicts import (
    DISTRIBUTION,
    NO_MISSING,
    NULL_RATE,
    ROW_COUNT,
    ROWS_OUTSIDE,
    SIGNATURE,
    Verdict,
)
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["check_specs", "evaluation"]


def check_specs(spec: ScoringSpec, asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of one of a scoring's assets."""
    blocking = spec.checks.blocking
    described = {
        "model": [(SIGNATURE, "Every model input is fed by a column of a type that fits it.", True)],
        "features": [
            (
                NULL_RATE,
                f"No feature is NULL or NaN in more than {spec.checks.null_rate:.0%} of the rows.",
                "null_rate" in blocking,
            ),
            (ROWS_OUTSIDE, "Every row of the source belongs to a partition, or will with time.", False),
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
                f"Population stability index against {_compared_with(spec)} at most {spec.checks.psi:g}.",
                "psi" in blocking,
            ),
        ],
        "pool_predictions": [(ROW_COUNT, "Rows in the pool = rows in the partition, counted before the commit.", True)],
    }
    key = asset_key(spec.scoring, asset)
    return [
        dg.AssetCheckSpec(name, asset=key, description=description, blocking=stops)
        for name, description, stops in described[asset]
    ]


def _compared_with(spec: ScoringSpec) -> str:
    by_time = spec.partition_spec is not None and spec.partition_spec.kind == "time"
    return "the partition before" if by_time else "the same partition's last run"


def evaluation(
    spec: ScoringSpec, asset: str, verdict: Verdict, *, blocking: bool, partitioned: bool
) -> AssetCheckEvaluation:
    """A verdict as Dagster records it; `blocking` decides whether a failed one ends the run."""
    return AssetCheckEvaluation(
        asset_key=asset_key(spec.scoring, asset),
        check_name=verdict.check,
        passed=verdict.passed,
        metadata={name: _figure(value) for name, value in verdict.figures.items()},
        description=verdict.description,
        severity=dg.AssetCheckSeverity.ERROR if verdict.blocking else dg.AssetCheckSeverity.WARN,
        blocking=blocking,
        partition=verdict.partition_key if partitioned else None,
    )


def _figure(value: float) -> dg.MetadataValue:
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)
