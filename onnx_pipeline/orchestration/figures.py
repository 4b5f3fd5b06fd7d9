"""Numbers of a partition that Dagster plots: what predictions look like, and how much of their source is missing.

Dagster plots every number of a materialization, by name and in the order of the alphabet, and of a hundred names at
most. So what matters is a number, whatever else there is to know is text, and a model of many columns has a few plots.
"""

import math
from collections.abc import Mapping
from typing import Any

from onnx_pipeline.base.sizes import readable_bytes
from onnx_pipeline.scoring.statistics import Summary

__all__ = ["engine_figures", "feature_figures", "prediction_figures", "shift_figures", "size"]

_MOST = 12
"""Columns of one asset that have plots of their own."""


def feature_figures(null_counts: Mapping[str, int], rows: int) -> dict[str, float]:
    """The highest null rate of a feature, as `null_rate`, and those of the features that are NULL most often."""
    if not rows:
        return {}
    rates = {name: count / rows for name, count in null_counts.items() if count}
    often = sorted(rates, key=lambda name: (-rates[name], name))[:_MOST]
    return {"null_rate": max(rates.values(), default=0.0)} | {f"null_rate_{name}": rates[name] for name in often}


def prediction_figures(summaries: Mapping[str, Summary]) -> dict[str, float]:
    """The mean of each numeric output; as `null_rate` the highest share of NULL, NaN and infinite values in one."""
    counted = [one.missing / one.count for one in summaries.values() if one.count]
    means = {name: one.mean for name, one in summaries.items() if one.mean is not None and math.isfinite(one.mean)}
    return {f"mean_{name}": means[name] for name in list(means)[:_MOST]} | (
        {"null_rate": max(counted)} if counted else {}
    )


def shift_figures(indexes: Mapping[str, float]) -> dict[str, float]:
    """Population stability indexes by output: the greatest as `psi`, and each where there are several."""
    if not indexes:
        return {}
    several = {f"psi_{name}": indexes[name] for name in list(indexes)[:_MOST]} if len(indexes) > 1 else {}
    return {"psi": max(indexes.values())} | several


def size(held: int, batches: int | None = None) -> str:
    """`2.3 MB in 4 batches`."""
    told = readable_bytes(held)
    return told if batches is None else f"{told} in {batches:,} batch{'' if batches == 1 else 'es'}"


def engine_figures(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine tells of itself; numbers of bytes as text, since their plots would come before all others."""
    return {
        name: readable_bytes(value) if name.startswith("bytes") and isinstance(value, int) else value
        for name, value in facts.items()
    }
