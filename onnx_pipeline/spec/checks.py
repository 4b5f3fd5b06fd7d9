"""The attribute `checks`: thresholds, and what stops a load."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from onnx_pipeline.spec.part import SpecPart

__all__ = ["CheckSpec"]


class CheckSpec(SpecPart):
    """Thresholds of the checks, and which of them stop the load."""

    null_rate: float = Field(0.2, ge=0, le=1, description="Largest share of NULLs that a feature may have.")
    psi: float = Field(
        0.25,
        gt=0,
        description="Largest population stability index between a partition's predictions and those of the "
        "partition before it; of `values`, `buckets` and a table in one partition, those of its own last run. By "
        "convention 0.1 is a small shift and 0.25 a large one.",
    )
    nan_predictions: Literal["fail", "allow"] = Field(
        "fail", description="What NaN and infinite predictions do: `fail` stops the load, `allow` loads them as NULL."
    )
    blocking: Sequence[Literal["null_rate", "psi"]] = Field(
        (),
        description="Checks that stop the load where they fail. The others only warn; a wrong row count, a wrong "
        "key and NaN predictions always stop it.",
    )
