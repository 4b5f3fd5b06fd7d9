"""What the assets of a scoring are called, and how the rest of Dagster finds them."""

import re
from collections.abc import Mapping, Sequence

import dagster as dg

from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = [
    "ASSETS",
    "INTO_TAG",
    "SCORING_TAG",
    "SIDE_TABLE",
    "SOURCE_METADATA",
    "asset_key",
    "scoring_keys",
    "source_key",
    "upstream_keys",
]

ASSETS = ("model", "features", "predictions", "pool_predictions")
"""In the order in which they are made."""

_UPSTREAM: Mapping[str, Sequence[str]] = {
    "model": (),
    "features": ("model",),
    "predictions": ("features", "model"),
    "pool_predictions": ("predictions",),
}
"""What of its own scoring each asset waits for."""

SCORING_TAG = "onnx_pipeline/scoring"
"""Asset tag that names the scoring that an asset belongs to."""

INTO_TAG = "onnx_pipeline/into"
"""Run tag: `SIDE_TABLE` loads into the table beside the target, as `repartition` asks for."""
SIDE_TABLE = "the table beside the target"

SOURCE_METADATA = "source"
"""Metadata of a features asset: the table that it reads, or `query`."""


def asset_key(scoring: str, asset: str) -> dg.AssetKey:
    return dg.AssetKey([scoring, asset])


def scoring_keys(scoring: str) -> list[dg.AssetKey]:
    """The four assets of a scoring."""
    return [asset_key(scoring, asset) for asset in ASSETS]


def upstream_keys(scoring: str, asset: str) -> list[dg.AssetKey]:
    """The assets of the same scoring that one waits for."""
    return [asset_key(scoring, name) for name in _UPSTREAM[asset]]


def source_key(spec: ScoringSpec) -> dg.AssetKey:
    """The external asset of the source: the table's own name, so that scorings of one table share it."""
    table = spec.source_spec.table
    return table_key(table) if table is not None else asset_key(spec.scoring, "source")


def table_key(table: str) -> dg.AssetKey:
    """The asset that a table of the pool is."""
    return dg.AssetKey([re.sub(r"\W", "_", part) for part in table.split(".")])
