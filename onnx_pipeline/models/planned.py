"""What a plan needs to know of a model, wherever it runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.columns_read import Holding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.signature import Signature

__all__ = ["PlannedModel", "signed"]


class PlannedModel(Protocol):
    """An `OnnxModel`, whose artifact is here, or a `RemoteModel`, whose artifact is not."""

    @property
    def sha256(self) -> str:
        """The model's identity, which every target row carries."""

    @property
    def artifact_sha256(self) -> str | None:
        """Of the artifact's bytes; None where nobody says it."""

    @property
    def about(self) -> Mapping[str, str | int | Sequence[str]]:
        """What people are shown of it, by name; several sentences as a sequence."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The columns of an `[N, F]` input, in order, where the model names them."""

    def reads(
        self,
        tensor: str,
        index: int,
        outputs: Sequence[OutputColumn] | None = None,
        holding: Holding = Holding.ANYTHING,
    ) -> bool:
        """Whether a column of an input, of whose values that much is known, may move a prediction."""

    def check_nulls(
        self,
        binding: Binding,
        null_counts: Mapping[str, int],
        nulls: Mapping[str, StandIn] | None = None,
        outputs: Sequence[OutputColumn] | None = None,
    ) -> None:
        """Raises NullFeatureError for NULLs that have no form in the model, or would silently mislead it."""


def signed(model: PlannedModel) -> str:
    """A model's signature as the models table keeps it: JSON, with the names of its features beside."""
    return json.dumps({**json.loads(model.signature.to_json()), "feature_names": model.feature_names})
