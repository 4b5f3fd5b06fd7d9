"""The models that are served: loaded apart from each other, replaced when their artifact changes.

A request takes a model once and keeps it to its end, so a replacement drops no request. A new artifact that does not
load leaves the one that is served in its place, and says so in the log, in the metrics and in `/readyz`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from onnx_pipeline.base.errors import OnnxPipelineError, SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.stores import open_store
from onnx_pipeline.serving.column_names import ONLY
from onnx_pipeline.serving.places import Place, parse_places
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import Features, ServedModel

__all__ = ["Catalogue", "Entry"]

_logger = logging.getLogger("onnx_pipeline.serving")

_GONE_LOOKS = 2
"""A file that is replaced by removing and writing it again is gone for a moment: only one gone twice has left."""


@dataclass
class Entry:
    """One name, and what became of its artifact. Only the loading thread writes to it."""

    name: str
    uri: str
    place: Place
    served: ServedModel | None = None
    etag: str | None = None
    """Of the artifact that was tried last, loaded or not; None before the first try."""
    served_etag: str | None = None
    """Of the artifact that is served."""
    failure: str | None = None
    """Why the artifact at hand is not the one that is served: the kind of error."""
    why: str | None = None
    """The same in words, which say the model's name and not where it lies."""
    missed: int = 0

    @property
    def state(self) -> str:
        """`ready`, `loading` or `failed`; a model is ready as long as any version of it serves."""
        if self.served is not None:
            return "ready"
        return "loading" if self.failure is None else "failed"


class Catalogue:
    """Models by name. Reading is safe from any thread."""

    def __init__(
        self,
        models: Iterable[str],
        *,
        options: RuntimeOptions | None = None,
        reload_seconds: float = 10.0,
        loaded: Callable[[str, str], None] | None = None,
        features: Mapping[str, Features] | None = None,
    ) -> None:
        """`loaded(name, result)` is told of every try: result is `loaded`, `failed` or `removed`.

        `features` names columns by model; under the name "" those of the only one.
        """
        self._places = parse_places(models)
        self._options = options or RuntimeOptions(intra_op_threads=1)
        self._reload_seconds = reload_seconds
        self._features = dict(features or {})
        if ONLY in self._features and (len(self._places) != 1 or self._places[0].is_folder):
            raise SpecError(
                "--features says no model, and more than one may be served; write <model>=<column>,<column>"
            )
        self._loaded = loaded or _nobody
        self._entries: dict[str, Entry] = {
            place.name: Entry(place.name, place.uri, place) for place in self._places if place.name is not None
        }
        self._looked = threading.Event()
        self._stopping = threading.Event()
        self._refreshing = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All models, ready or not, by name."""
        return dict(sorted(self._entries.items()))

    @property
    def looked(self) -> bool:
        """Whether every model was tried at least once."""
        return self._looked.is_set()

    @property
    def ready(self) -> bool:
        """Whether all were tried and at least one serves: one broken model does not take the others out."""
        return self.looked and any(entry.served is not None for entry in self._entries.values())

    def get(self, name: str | None) -> ServedModel:
        """The model to score with; None asks for the only one.

        Raises Refusal: 404 for a name that there is not, 503 for a model that loads or cannot be loaded.
        """
        entries = self._entries
        if name is None:
            if len(entries) == 1:
                name = next(iter(entries))
            elif not entries and not self.looked:
                raise Refusal(503, "loading", "the models are being loaded; try again", retry_after=1)
            else:
                raise Refusal(
                    404, "model_not_named", f"{len(entries)} models are served here; post to /models/<name>/score"
                )
        entry = entries.get(name)
        if entry is None:
            if not self.looked:
                raise Refusal(503, "loading", "the models are being loaded; try again", retry_after=1)
            near = closest(name, sorted(entries))
            raise Refusal(404, "model_unknown", f"no model of that name is served here; {near}")
        if entry.served is not None:
            return entry.served
        if entry.failure is None:
            raise Refusal(503, "loading", f"the model {name!r} is being loaded; try again", retry_after=1)
        raise Refusal(
            503, "model_failed", f"the model {name!r} could not be loaded ({entry.failure}): {entry.why}. It is tried "
            "again when its artifact changes", retry_after=max(1, round(self._reload_seconds)),
        )  # fmt: skip

    def start(self) -> None:
        """Loads and reloads in a thread of its own, until `stop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="onnx-pipeline-models", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the model that it is loading."""
        self._stopping.set()

    def refresh(self) -> None:
        """Looks at every place and artifact once, and loads what is new or changed."""
        with self._refreshing:
            for place in self._places:
                self._find(place)
            for entry in list(self._entries.values()):
                if self._stopping.is_set():
                    return
                self._try(entry)
            if not self._entries and not self._looked.is_set():
                why = "no file there ends in .onnx, or none could be listed; models that come later are served"
                _logger.warning("no_models", extra={"uris": [place.uri for place in self._places], "why": why})
            if not self._looked.is_set():
                self._warn_of_names()
            self._looked.set()

    def _warn_of_names(self) -> None:
        """A misspelt model leaves the one that was meant without names, which nobody would notice before a request."""
        for name in sorted(self._features.keys() - self._entries.keys() - {ONLY}):
            near = closest(name, sorted(self._entries))
            why = f"--features names the columns of {name!r}, and no model of that name is served yet; {near}"
            _logger.warning("features_unused", extra={"model": name, "why": why})

    def _keep(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self.refresh()
            self._stopping.wait(max(0.05, self._reload_seconds - (time.monotonic() - started)))

    def _find(self, place: Place) -> None:
        if not place.is_folder:
            return
        try:
            found = place.find()
        except OnnxPipelineError as error:
            why = f"{type(error).__name__}: {error}"
            _logger.error("models_not_listed", extra={"uri": place.uri, "why": why})  # noqa: TRY400
            return
        # Always a copy, because requests read the one at hand.
        entries = dict(self._entries)
        for name, uri in found.items():
            entries.setdefault(name, Entry(name, uri, place))
        for entry in list(entries.values()):
            if entry.place is not place:
                continue
            entry.missed = 0 if entry.name in found else entry.missed + 1
            if entry.missed >= _GONE_LOOKS:
                del entries[entry.name]
                _logger.info("model_removed", extra={"model": entry.name})
                self._loaded(entry.name, "removed")
        self._entries = entries

    def _try(self, entry: Entry) -> None:
        if entry.missed:
            return
        started = time.monotonic()
        etag = None
        try:
            store = open_store(entry.uri)
            if entry.etag is not None and store.etag(entry.uri) == entry.etag:
                if entry.etag == entry.served_etag:
                    entry.failure = None  # the store did not answer at the last look, and does now
                return
            artifact = store.read(entry.uri)
            etag = artifact.etag
            model = OnnxModel.from_bytes(artifact.data, source=entry.uri, options=self._options)
            if entry.served is None or entry.served.model.sha256 != model.sha256:
                served = ServedModel.of(
                    entry.name,
                    entry.uri,
                    model,
                    self._options,
                    self._features.get(entry.name, self._features.get(ONLY)),
                )
                entry.served = served
        except OnnxPipelineError as error:
            self._failed(entry, error, etag)
            return
        except Exception as error:
            _logger.exception("model_load_crashed", extra={"model": entry.name})
            self._failed(entry, error, etag)
            return
        entry.etag = entry.served_etag = etag
        entry.failure = entry.why = None
        self._loaded(entry.name, "loaded")
        _logger.info(
            "model_loaded",
            extra={
                "model": entry.name, "sha256": model.sha256, "bytes": model.size,
                "seconds": round(time.monotonic() - started, 3),
            },
        )  # fmt: skip

    def _failed(self, entry: Entry, error: Exception, etag: str | None) -> None:
        kind = type(error).__name__
        if entry.failure != kind or etag != entry.etag:
            _logger.error(
                "model_not_loaded",
                extra={"model": entry.name, "error": kind, "why": str(error), "serves": _version(entry)},
            )
        # What nobody raised on purpose may say anything: it stays in the log.
        spoken = isinstance(error, OnnxPipelineError)
        entry.failure = kind
        entry.why = str(error).replace(entry.uri, entry.name) if spoken else "the service's log says why"
        if etag is not None:
            entry.etag = etag
        self._loaded(entry.name, "failed")


def _nobody(name: str, result: str) -> None:
    """Where nobody counts the tries."""


def _version(entry: Entry) -> str | None:
    return None if entry.served is None else entry.served.model.sha256
