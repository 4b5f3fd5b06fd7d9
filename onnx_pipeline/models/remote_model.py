"""A model that stays where it is: known by its service's URL, its version and its signature."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx_pipeline.base.errors import InvalidModelError
from onnx_pipeline.models import null_policy
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.columns_read import Holding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.signature import Signature

__all__ = ["RemoteModel"]


@dataclass(frozen=True)
class RemoteModel:
    """What is known of a model without its artifact."""

    url: str
    """Where it is scored; holds no secret."""
    version: str
    """As declared, or as the service states it; empty where nobody says."""
    artifact_sha256: str | None
    """Of the artifact, where the service states it."""
    signature: Signature
    feature_names: tuple[str, ...] | None = None
    """The columns of an `[N, F]` input, in order, where the service names them."""

    @property
    def sha256(self) -> str:
        """The model's identity: the artifact's sha256 where the service states it, else that of `description`."""
        return self.artifact_sha256 or self.digest

    @property
    def digest(self) -> str:
        """sha256 of `description`."""
        return hashlib.sha256(self.description()).hexdigest()

    @property
    def about(self) -> dict[str, str | int | Sequence[str]]:
        """What people are shown of it."""
        identity = (
            "the sha256 is the artifact's sha256, as the service states it"
            if self.artifact_sha256
            else "the sha256 is that of URL, version and signature"
        )
        return {
            "version": self.version or "unknown: a new model behind the same URL goes unseen",
            "identity": identity,
        }

    def description(self) -> bytes:
        """All of it as canonical JSON, which `from_description` reads and anybody can hash."""
        facts = {
            "artifact_sha256": self.artifact_sha256,
            "feature_names": self.feature_names,
            "signature": json.loads(self.signature.to_json()),
            "url": self.url,
            "version": self.version,
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_description(cls, data: bytes) -> "RemoteModel":
        """The model that `description` described. Raises InvalidModelError where the bytes are none."""
        try:
            facts = json.loads(data)
            names = facts["feature_names"]
            return cls(
                url=facts["url"],
                version=facts["version"],
                artifact_sha256=facts["artifact_sha256"],
                signature=Signature.from_json(json.dumps(facts["signature"])),
                feature_names=None if names is None else tuple(names),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidModelError(
                f"the kept description of a remote model was damaged ({error!r}); materialize the model asset again"
            ) from error

    def reads(
        self,
        tensor: str,
        index: int,
        outputs: Sequence[OutputColumn] | None = None,
        holding: Holding = Holding.ANYTHING,
    ) -> bool:
        """Whether a column of an input may move a prediction: its service takes every column."""
        return True

    def check_nulls(
        self,
        binding: Binding,
        null_counts: Mapping[str, int],
        nulls: Mapping[str, StandIn] | None = None,
        outputs: Sequence[OutputColumn] | None = None,
    ) -> None:
        """Raises NullFeatureError for NULLs that have no form on the wire.

        Whether a tree or a label of the model would be misled by NaN cannot be seen from here.
        """
        null_policy.check_nulls(binding, null_counts, nulls, frozenset())
