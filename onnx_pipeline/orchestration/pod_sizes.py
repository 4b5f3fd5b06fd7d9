"""What a pod of a run asks Kubernetes for, by the number of rows that the run is to score.

Opt-in: without ONNX_PIPELINE_POD_SIZES runs carry no such tag. Memory does not grow with the rows, the disk that
staging takes does, so the sizes are the user's own: rows of a wide table take more of it.
"""

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from onnx_pipeline.base.errors import SpecError

__all__ = ["POD_SIZES_VARIABLE", "largest_pod_tags", "pod_tags"]

POD_SIZES_VARIABLE = "ONNX_PIPELINE_POD_SIZES"
"""Environment variable: `1M: cpu=1 memory=2Gi ephemeral-storage=5Gi; any: cpu=4 memory=4Gi ephemeral-storage=100Gi`."""

_CONFIG_TAG = "dagster-k8s/config"
_RETRY_TAG = "dagster/retry_strategy"
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_QUANTITY = r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"
_THOUSANDS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_EXAMPLE = "1M: cpu=1 memory=2Gi ephemeral-storage=5Gi; any: cpu=4 memory=4Gi ephemeral-storage=100Gi"


class _Size(NamedTuple):
    most_rows: float
    resources: Mapping[str, str]


def pod_tags(rows: int) -> dict[str, str]:
    """Tags of a run over so many rows: of the first size that is large enough. None where no sizes are set."""
    sizes = _sizes(os.environ.get(POD_SIZES_VARIABLE, ""))
    return next((_tags(size.resources) for size in sizes if rows <= size.most_rows), {})


def largest_pod_tags() -> dict[str, str]:
    """Tags of a job, for runs that nobody counted the rows of."""
    sizes = _sizes(os.environ.get(POD_SIZES_VARIABLE, ""))
    return _tags(sizes[-1].resources) if sizes else {}


def _tags(resources: Mapping[str, str]) -> dict[str, str]:
    # No limit of CPU: throttled threads are slower than fewer threads. Beyond its memory or disk a pod is ended.
    limits = {name: quantity for name, quantity in resources.items() if name != "cpu"}
    config = {"container_config": {"resources": {"requests": dict(resources), "limits": limits}}}
    # What a step left in staging lies on the disk of its own pod: another pod begins with the first step.
    return {_CONFIG_TAG: json.dumps(config), _RETRY_TAG: "ALL_STEPS"}


@lru_cache(maxsize=4)
def _sizes(text: str) -> tuple[_Size, ...]:
    sizes = tuple(_size(part.strip(), text) for part in text.split(";") if part.strip())
    if not sizes:
        return ()
    rows = [size.most_rows for size in sizes]
    if rows != sorted(set(rows)) or rows[-1] != float("inf"):
        raise SpecError(
            f"{POD_SIZES_VARIABLE} is {text!r}: sizes go from fewer rows to more, and the last one is for `any`, so "
            f"that every run has one; e.g. {_EXAMPLE}"
        )
    return sizes


def _size(part: str, text: str) -> _Size:
    named = re.fullmatch(r"(?:(\d+)([KMG]?)|(any))\s*:\s*(.+)", part)
    resources = dict(pair.split("=", 1) for pair in named[4].split() if "=" in pair) if named else {}
    wrong = [
        f"{name}={quantity}"
        for name, quantity in resources.items()
        if name not in _RESOURCES or not re.fullmatch(_QUANTITY, quantity)
    ]
    if named is None or wrong or len(resources) != len(named[4].split()):
        what = f"{wrong[0]!r}" if wrong else f"{part!r}"
        raise SpecError(
            f"{POD_SIZES_VARIABLE} is {text!r}, and {what} in it is no size: write rows, a colon and quantities of "
            f"{', '.join(_RESOURCES)}, e.g. {_EXAMPLE}"
        )
    rows = float("inf") if named[3] else int(named[1]) * _THOUSANDS[named[2]]
    return _Size(rows, resources)
