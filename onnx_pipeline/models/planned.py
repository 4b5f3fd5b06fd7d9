"""What a plan needs to know of a model, wherever it runs."""

from collections.abc import Mapping
from typing import Protocol

from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.signature import Signature

__all__ = ["PlannedModel"]


class PlannedModel(Protocol):
    """An `OnnxModel`, whose artifact is here, or a `RemoteModel`, whose artifact is not."""

    @property
    def sha256(self) -> str:
        """The model's identity, which every target row carries."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The columns of an `[N, F]` input, in order, where the model names them."""

    def check_nulls(
        self, binding: Binding, null_counts: Mapping[str, int], nulls: Mapping[str, StandIn] | None = None
    ) -> None:
        """Raises NullFeatureError for NULLs that have no form in the model, or would silently mislead it."""
