"""Where a scoring's model comes from: an artifact that can be fetched, or a service that keeps it.

Both are asked the same: what lies there now, to fetch it, and which one the scoring uses.
"""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from onnx_pipeline.base.errors import ModelError, ModelNotFoundError, StagingError
from onnx_pipeline.models.artifact_store import ArtifactStore, CurrentModel
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.stores import open_store

__all__ = ["DESCRIPTION", "ArtifactOrigin", "FetchedModel", "LatestModel", "ModelOrigin", "ServiceOrigin"]

DESCRIPTION = "description"
"""The form of a model that is known by what its service says of it."""

_logger = logging.getLogger(__name__)


class LatestModel(NamedTuple):
    """What lies there now, adopted or not."""

    sha256: str
    etag: str
    uri: str


@dataclass(frozen=True)
class FetchedModel:
    """The model that lies there now."""

    model: PlannedModel
    uri: str
    etag: str
    data: bytes
    """As they came; of a model that stays at its service, its description."""
    keep: Callable[[ArtifactStore], None]
    """Puts it into a store."""
    form: str | None = None
    """What `data` is of the model: None for its bytes as they came, `description` where they stay at a service."""

    def adopt(self, scoring: str, store: ArtifactStore) -> None:
        """Keep the model and make it the one that the scoring scores with."""
        self.keep(store)
        store.set_current(scoring, self.model.sha256, self.uri, self.etag)


class ModelOrigin(ABC):
    """Where one scoring's model comes from."""

    def __init__(self, scoring: str, uri: str) -> None:
        self.scoring = scoring
        self.uri = uri

    @abstractmethod
    def load(self, options: RuntimeOptions, store: ArtifactStore | None = None) -> PlannedModel:
        """The model as it is now, adopted by nobody; a store keeps what was found out about it."""

    @abstractmethod
    def fetch(self, store: ArtifactStore, options: RuntimeOptions) -> FetchedModel:
        """Fetch and check the model, or take our own copy where nothing changed since."""

    @abstractmethod
    def look(self, store: ArtifactStore, options: RuntimeOptions) -> PlannedModel:
        """What a plan needs to know of the model that lies there now; nothing but what was found out is kept.

        The one place where a command that scores nothing asks for a model: one that the store knows is not looked at
        again, and any other is checked as before its first use, so that a truncated file is found.
        """

    @abstractmethod
    def latest(self, store: ArtifactStore, *, seen: LatestModel | None = None) -> LatestModel:
        """What lies there now, for the price of a look: only what is neither current nor `seen` is read."""

    def current(self, store: ArtifactStore) -> PlannedModel:
        """The model that the model asset made current. Raises StagingError where there is none."""
        current = store.current(self.scoring)
        if current is None:
            raise StagingError(
                f"{self.scoring}: no model was materialized yet. Materialize model of {self.scoring} first, or "
                "together with this asset."
            )
        return self._kept(store, current)

    @abstractmethod
    def _kept(self, store: ArtifactStore, current: CurrentModel) -> PlannedModel: ...


class ArtifactOrigin(ModelOrigin):
    """An artifact at a path or URI."""

    def load(self, options: RuntimeOptions, store: ArtifactStore | None = None) -> OnnxModel:
        return OnnxModel.load(self.uri, options=options, looks=None if store is None else store.looks)

    def fetch(self, store: ArtifactStore, options: RuntimeOptions) -> FetchedModel:
        models = open_store(self.uri)
        etag = models.etag(self.uri)
        current = self._known(store)
        if current is not None and (current.uri, current.etag) == (self.uri, etag):
            try:
                kept = store.get(current.sha256, options=options)
                return self._fetched(kept, etag, store.original(current.sha256))
            except ModelError as error:
                if error.transient:
                    raise
                # Our copy is gone or damaged; what lies at the URI mends it.
                _logger.warning("%s: %s; fetching %s again", self.scoring, error, self.uri)
        artifact = models.read(self.uri)
        model = OnnxModel.from_bytes(artifact.data, source=self.uri, options=options, looks=store.looks)
        return self._fetched(model, artifact.etag, artifact.data)

    def _fetched(self, model: OnnxModel, etag: str, data: bytes) -> FetchedModel:
        return FetchedModel(model, self.uri, etag, data, keep=lambda store: store.put(model, data))

    def look(self, store: ArtifactStore, options: RuntimeOptions) -> PlannedModel:
        models = open_store(self.uri)
        current = self._known(store)
        if current is not None and (current.uri, current.etag) == (self.uri, models.etag(self.uri)):
            known = self._copy(store, current.sha256, options)
            if known is not None:
                return known
        data = models.fetch(self.uri)
        known = self._copy(store, hashlib.sha256(data).hexdigest(), options)
        return known or OnnxModel.from_bytes(data, source=self.uri, options=options, looks=store.looks)

    def _copy(self, store: ArtifactStore, sha256: str, options: RuntimeOptions) -> OnnxModel | None:
        """Our copy of a model; None where there is none, or a damaged one, which the next run mends."""
        try:
            return store.get(sha256, options=options)
        except ModelNotFoundError:
            return None
        except ModelError as error:
            if error.transient:
                raise
            _logger.warning("%s: %s", self.scoring, error)
            return None

    def latest(self, store: ArtifactStore, *, seen: LatestModel | None = None) -> LatestModel:
        models = open_store(self.uri)
        etag = models.etag(self.uri)
        current = self._known(store)
        if current is not None and (current.uri, current.etag) == (self.uri, etag):
            return LatestModel(current.sha256, etag, self.uri)
        if seen is not None and (seen.uri, seen.etag) == (self.uri, etag):
            return seen
        artifact = models.read(self.uri)
        return LatestModel(hashlib.sha256(artifact.data).hexdigest(), artifact.etag, self.uri)

    def _kept(self, store: ArtifactStore, current: CurrentModel) -> PlannedModel:
        return store.get(current.sha256)

    def _known(self, store: ArtifactStore) -> CurrentModel | None:
        """The pointer to the scoring's model; a damaged one counts as none, since what lies at the URI mends it."""
        try:
            return store.current(self.scoring)
        except ModelError as error:
            if error.transient:
                raise
            _logger.warning("%s: %s", self.scoring, error)
            return None


class ServiceOrigin(ModelOrigin):
    """A service that keeps the model: what is known of it is what the spec declares and the service states."""

    def __init__(self, scoring: str, uri: str, describe: Callable[[], PlannedModel]) -> None:
        super().__init__(scoring, uri)
        self._describe = describe

    def _described(self) -> RemoteModel:
        found = self._describe()
        assert isinstance(found, RemoteModel)
        return found

    def load(self, options: RuntimeOptions, store: ArtifactStore | None = None) -> RemoteModel:
        return self._described()

    def fetch(self, store: ArtifactStore, options: RuntimeOptions) -> FetchedModel:
        described = self._described()
        return FetchedModel(
            described, described.url, described.digest, described.description(),
            keep=lambda store: store.put_remote(described), form=DESCRIPTION,
        )  # fmt: skip

    def look(self, store: ArtifactStore, options: RuntimeOptions) -> PlannedModel:
        return self._described()

    def latest(self, store: ArtifactStore, *, seen: LatestModel | None = None) -> LatestModel:
        described = self._described()
        return LatestModel(described.sha256, described.digest, described.url)

    def _kept(self, store: ArtifactStore, current: CurrentModel) -> PlannedModel:
        if current.uri != self.uri:
            raise StagingError(
                f"{self.scoring}: the model asset was last materialized for {current.uri}, and the spec names "
                f"{self.uri}. Materialize model of {self.scoring} first, or together with this asset."
            )
        # The etag of a remote model is the sha256 of its description.
        return store.get_remote(current.etag)
