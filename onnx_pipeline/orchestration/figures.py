"""Numbers of a partition that Dagster plots: what predictions look like, and how much of their source is missing.

Dagster plots every number of a materialization, by name and in the order of the alphabet, and of a hundred names at
most. So what matters is a number, whatever else there is to know is text, and a model of many columns has a few plots.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_pipeline.base.sizes import readable_bytes
from onnx_pipeline.models.signature import Signature
from onnx_pipeline.scoring.statistics import Summary

__all__ = ["engine_figures", "feature_figures", "labels_of", "prediction_figures", "shift_figures", "size"]

_MOST = 12
"""Columns, or labels, of one asset that have plots of one kind of their own."""
_LABEL = 40
"""Characters of a label in a plot's name."""


def feature_figures(null_counts: Mapping[str, int], rows: int) -> dict[str, float]:
    """The highest null rate of a feature, as `null_rate`, and those of the features that are NULL most often."""
    if not rows:
        return {}
    rates = {name: count / rows for name, count in null_counts.items() if count}
    often = sorted(rates, key=lambda name: (-rates[name], name))[:_MOST]
    return {"null_rate": max(rates.values(), default=0.0)} | {f"null_rate_{name}": rates[name] for name in often}


def prediction_figures(summaries: Mapping[str, Summary], labels: Sequence[str] = ()) -> dict[str, float]:
    """The mean of each numeric output, and the shares of values in each output of texts.

    Of texts that is `largest_share_<output>`, the share of the value that is most frequent, and
    `share_<output>_<label>` of the model's own `labels`: those are the same in every partition, so the plots are, too.
    As `null_rate` the highest share of NULL, NaN and infinite values in one output.
    """
    counted = [one.missing / one.count for one in summaries.values() if one.count]
    means = {
        f"mean_{name}": one.mean for name, one in summaries.items() if one.mean is not None and math.isfinite(one.mean)
    }
    texts = {name: one for name, one in summaries.items() if one.categories}
    largest = {f"largest_share_{name}": one.shares[0] for name, one in texts.items()}
    plotted = _plotted(labels)
    shares = {
        f"share_{name}_{plotted[label]}": dict(zip(one.categories or (), one.shares, strict=True)).get(label, 0.0)
        for name, one in texts.items()
        for label in plotted
        if plotted.keys() & set(one.categories or ())  # else it is a text of another kind than the model's labels
    }
    return {name: value for group in (means, largest, shares) for name, value in list(group.items())[:_MOST]} | (
        {"null_rate": max(counted)} if counted else {}
    )


def labels_of(signature: Signature) -> tuple[str, ...]:
    """The classes that a model names, each once."""
    return tuple(dict.fromkeys(label for output in signature.outputs for label in output.labels or ()))


def _plotted(labels: Sequence[str]) -> dict[str, str]:
    """Names of plots by label: short, of letters, digits and underscores, and no two alike."""
    names: dict[str, str] = {}
    for label in labels[:_MOST]:
        short = re.sub(r"\W+", "_", label).strip("_")[:_LABEL] or "blank"
        name, number = short, 1
        while name in names.values():
            number += 1
            name = f"{short}_{number}"
        names[label] = name
    return names


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
