"""A scoring's model: what lies at its URI, and what the model asset made current."""

import hashlib
import logging
from dataclasses import dataclass
from typing import NamedTuple

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import ModelError, SpecError, StagingError
from onnx_pipeline.engines import describe_remote
from onnx_pipeline.models.artifact_store import ArtifactStore, CurrentModel
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.stores import open_store
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = [
    "FetchedModel",
    "LatestArtifact",
    "current_model",
    "fetch_model",
    "latest_artifact",
    "latest_sha256",
    "load_model",
    "model_uri",
]

_logger = logging.getLogger(__name__)


def model_uri(spec: ScoringSpec) -> str:
    """The model's URI; a relative path starts beside `defs.yaml` where it exists there, else at the project's root.

    Raises SpecError for a model that stays at its service.
    """
    if spec.onnx is None:
        raise SpecError(f"{spec.scoring}: the model stays at {spec.engine.service_url}, and no artifact can be fetched")
    if "://" in spec.onnx:
        return spec.onnx
    beside = spec.base / spec.onnx
    return str(beside.resolve() if beside.exists() else paths.resolve(spec.onnx))


@dataclass(frozen=True)
class FetchedModel:
    """The model that lies at a scoring's URI now."""

    model: OnnxModel | RemoteModel
    uri: str
    etag: str
    data: bytes
    """As they came; of a model that stays at its service, its description."""

    def adopt(self, scoring: str, store: ArtifactStore) -> None:
        """Keep the artifact and make it the one that the scoring scores with."""
        if isinstance(self.model, RemoteModel):
            store.put_remote(self.model)
        else:
            store.put(self.model, self.data)
        store.set_current(scoring, self.model.sha256, self.uri, self.etag)


def fetch_model(spec: ScoringSpec, store: ArtifactStore, options: RuntimeOptions) -> FetchedModel:
    """Fetch and check the model, or take our own copy where nothing changed since.

    Of a model that stays at its service, what the spec declares and the service states.
    """
    if spec.onnx is None:
        described = describe_remote(spec.engine)
        return FetchedModel(described, described.url, described.digest, described.description())
    uri = model_uri(spec)
    models = open_store(uri)
    etag = models.etag(uri)
    current = _known(spec, store)
    if current is not None and (current.uri, current.etag) == (uri, etag):
        try:
            kept = store.get(current.sha256, options=options)
            return FetchedModel(kept, uri, etag, store.original(current.sha256))
        except ModelError as error:
            if error.transient:
                raise
            # Our copy is gone or damaged; what lies at the URI mends it.
            _logger.warning("%s: %s; fetching %s again", spec.scoring, error, uri)
    artifact = models.read(uri)
    model = OnnxModel.from_bytes(artifact.data, source=uri, options=options)
    return FetchedModel(model, uri, artifact.etag, artifact.data)


def load_model(spec: ScoringSpec, options: RuntimeOptions) -> OnnxModel | RemoteModel:
    """The model as it is now, kept nowhere."""
    return describe_remote(spec.engine) if spec.onnx is None else OnnxModel.load(model_uri(spec), options=options)


def _known(spec: ScoringSpec, store: ArtifactStore) -> CurrentModel | None:
    """The pointer to the scoring's model; one that was damaged counts as none, since what lies at the URI mends it."""
    try:
        return store.current(spec.scoring)
    except ModelError as error:
        if error.transient:
            raise
        _logger.warning("%s: %s", spec.scoring, error)
        return None


def current_model(spec: ScoringSpec, store: ArtifactStore) -> PlannedModel:
    """The model that the model asset made current."""
    current = store.current(spec.scoring)
    if current is None:
        raise StagingError(
            f"{spec.scoring}: no model was materialized yet. Materialize model of {spec.scoring} first, or together "
            "with this asset."
        )
    if spec.onnx is not None:
        return store.get(current.sha256)
    if current.uri != spec.engine.service_url:
        raise StagingError(
            f"{spec.scoring}: the model asset was last materialized for {current.uri}, and the spec names "
            f"{spec.engine.service_url}. Materialize model of {spec.scoring} first, or together with this asset."
        )
    # The etag of a remote model is the sha256 of its description.
    return store.get_remote(current.etag)


class LatestArtifact(NamedTuple):
    """What lies at a scoring's URI now, adopted or not."""

    sha256: str
    etag: str
    uri: str


def latest_artifact(spec: ScoringSpec, store: ArtifactStore, *, seen: LatestArtifact | None = None) -> LatestArtifact:
    """What lies at the URI now, for the price of its etag: only what is neither current nor `seen` is read."""
    if spec.onnx is None:
        described = describe_remote(spec.engine)
        return LatestArtifact(described.sha256, described.digest, described.url)
    uri = model_uri(spec)
    models = open_store(uri)
    etag = models.etag(uri)
    current = _known(spec, store)
    if current is not None and (current.uri, current.etag) == (uri, etag):
        return LatestArtifact(current.sha256, etag, uri)
    if seen is not None and (seen.uri, seen.etag) == (uri, etag):
        return seen
    artifact = models.read(uri)
    return LatestArtifact(hashlib.sha256(artifact.data).hexdigest(), artifact.etag, uri)


def latest_sha256(spec: ScoringSpec, store: ArtifactStore) -> str:
    """sha256 of what lies at the URI now; an unchanged artifact is not read again."""
    return latest_artifact(spec, store).sha256
