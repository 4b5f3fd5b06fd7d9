"""The attribute `target`: where predictions go."""

import re
from typing import Literal

from pydantic import Field, model_validator

from onnx_pipeline.spec.part import SpecPart

__all__ = ["PROVENANCE", "TargetSpec"]


PROVENANCE = ("partition_key", "model_sha256", "scored_at", "run_id")
"""Columns that every target row carries beside the key and the predictions."""

_DISTRIBUTION = re.compile(r"round_robin|hash\((?P<column>.+)\)", re.IGNORECASE)


class TargetSpec(SpecPart):
    """Where predictions go."""

    table: str = Field(description="Target table, made where it does not exist.")
    distribution: str | None = Field(
        None,
        description="On Synapse, how its rows are spread: `hash(<column>)` or `round_robin`; by default by hash of the "
        "first key column. Other pools have none.",
    )
    index: Literal["heap", "columnstore"] | None = Field(
        None,
        description="On Synapse, `heap` or `columnstore`; by default columnstore, which pays from some 6 million rows "
        "on. Other pools have none.",
    )

    @model_validator(mode="after")
    def _known_distribution(self) -> "TargetSpec":
        if self.distribution is not None and not _DISTRIBUTION.fullmatch(self.distribution):
            raise ValueError(f"distribution {self.distribution!r} must be `hash(<column>)` or `round_robin`")
        return self

    @property
    def hash_column(self) -> str | None:
        """The column whose hash spreads the rows; None for `round_robin` and where nothing is said."""
        found = _DISTRIBUTION.fullmatch(self.distribution or "")
        return found["column"] if found is not None else None
