"""Whether the newest partition arrived in time: Dagster's own check for time partitions, where a scoring asks for it.

The check looks at one partition, the latest that could be scored at the deadline. A freshness policy, which
Dagster says supersedes such checks, looks at the asset and turns green with a backfill of an old partition.
It is about arrival: by which model and settings a slice was scored is for `pending` and the sensors.
"""

import warnings

import dagster as dg
from dagster import SupersessionWarning

from onnx_pipeline.orchestration.names import asset_key
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["build_freshness"]


def build_freshness(spec: ScoringSpec) -> dg.Definitions:
    """The check of `pool_predictions`, and the sensor that runs it once a deadline has passed."""
    if spec.fresh_by is None or spec.partition_spec is None:
        return dg.Definitions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SupersessionWarning)
        checks = dg.build_time_partition_freshness_checks(
            assets=[asset_key(spec.scoring, "pool_predictions")],
            deadline_cron=spec.fresh_by,
            timezone=spec.partition_spec.timezone,
        )
        sensor = dg.build_sensor_for_freshness_checks(freshness_checks=checks, name=f"{spec.scoring}_freshness")
    return dg.Definitions(asset_checks=checks, sensors=[sensor])
