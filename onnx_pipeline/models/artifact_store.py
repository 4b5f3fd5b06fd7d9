"""Models by what they are: a content-addressed folder, and which model each scoring uses now."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from onnx_pipeline.errors import InvalidModelError, ModelError, ModelNotFoundError
from onnx_pipeline.models.onnx_model import FACTS_FORMAT, OnnxModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["ArtifactStore", "CurrentModel"]

_ORIGINAL, _NORMALISED, _FACTS = "model.onnx", "normalised.onnx", "facts.json"


class CurrentModel(NamedTuple):
    """The model that a scoring uses now."""

    sha256: str
    uri: str
    etag: str
    """The store's change token at the time of fetching."""


class ArtifactStore:
    """A folder: `<sha256>/model.onnx`, `normalised.onnx`, `facts.json`, and `current/<scoring>.json`.

    Of a model that stays at its service: `remote/<sha256 of its description>.json`.

    Any number of processes may use it at once: files appear whole, by a rename, and never change.
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    def put(self, model: OnnxModel, original: bytes) -> None:
        """Keeps a model; again is nothing, except that a damaged copy is mended.

        Raises InvalidModelError where `original` is not what the model was made of.
        """
        if hashlib.sha256(original).hexdigest() != model.sha256:
            raise InvalidModelError(
                f"these {len(original):,} bytes are not those of model {model.sha256}; fetch the model again"
            )
        folder = self._folder(model.sha256)
        facts = json.dumps(model.describe(), indent=1).encode()
        wanted = {_ORIGINAL: original, _NORMALISED: model.normalised, _FACTS: facts}
        for name, content in wanted.items():  # the facts last: where they lie, the rest does
            path = folder / name
            if not path.is_file() or path.read_bytes() != content:
                _write(path, content)

    def get(self, sha256: str, *, options: RuntimeOptions | None = None) -> OnnxModel:
        """The model, checked against its checksums; its graph is not looked at again.

        Raises ModelNotFoundError where it was never kept, InvalidModelError where its files were damaged.
        """
        folder = self._folder(sha256)
        facts = self._facts(sha256)
        if facts.get("format") != FACTS_FORMAT:
            # Another release of this package found out less, or more: find out anew.
            original = self.original(sha256)
            model = OnnxModel.from_bytes(original, source=f"model {sha256}", options=options)
            self.put(model, original)
            return model
        normalised = self._read(folder / _NORMALISED, sha256)
        try:
            return OnnxModel.from_description(normalised, facts, options=options)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(sha256, f"{_FACTS} lacks something: {error!r}") from error

    def original(self, sha256: str) -> bytes:
        """The model's bytes as they came. Raises as `get` does."""
        data = self._read(self._folder(sha256) / _ORIGINAL, sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(sha256, f"the sha256 of {_ORIGINAL} is {hashlib.sha256(data).hexdigest()}")
        return data

    def put_remote(self, model: RemoteModel) -> None:
        """Keeps the description of a model whose artifact is not here, under the description's own sha256."""
        path = self._remote(model.digest)
        if not path.is_file() or path.read_bytes() != model.description():
            _write(path, model.description())

    def get_remote(self, digest: str) -> RemoteModel:
        """The model that `put_remote` kept. Raises as `get` does."""
        path = self._remote(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ModelNotFoundError(
                f"no description of remote model {digest} is kept in {self._base}; materialize the model asset "
                "together with this one"
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise InvalidModelError(
                f"the kept description of remote model {digest} was damaged; materialize the model asset again, which "
                f"mends it (file {path})"
            )
        return RemoteModel.from_description(data)

    def set_current(self, scoring: str, sha256: str, uri: str, etag: str) -> None:
        """Makes a kept model the one that the scoring uses."""
        _write(self._pointer(scoring), json.dumps(CurrentModel(sha256, uri, etag)._asdict()).encode())

    def current(self, scoring: str) -> CurrentModel | None:
        """The model that the scoring uses, None before its first; InvalidModelError for a damaged pointer."""
        path = self._pointer(scoring)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            current = CurrentModel(**json.loads(data))
            if not all(isinstance(value, str) for value in current):
                raise TypeError("not all of it is text")  # noqa: TRY301 - one message for all that can be wrong
        except (ValueError, TypeError) as error:
            raise InvalidModelError(
                f"{path} does not say which model {scoring!r} uses ({error}): it was damaged; materialize "
                "the model asset again"
            ) from error
        return current

    def _folder(self, sha256: str) -> Path:
        if len(sha256) != hashlib.sha256().digest_size * 2 or not set(sha256) <= set("0123456789abcdef"):
            raise ModelNotFoundError(f"{sha256!r} is not a sha256, so no model is kept under it")
        return self._base / sha256

    def _remote(self, digest: str) -> Path:
        return self._folder(digest).parent / "remote" / f"{digest}.json"

    def _pointer(self, scoring: str) -> Path:
        return self._base / "current" / f"{quote(scoring, safe='')}.json"

    def _facts(self, sha256: str) -> dict[str, Any]:
        data = self._read(self._folder(sha256) / _FACTS, sha256)
        try:
            facts: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise self._damaged(sha256, f"{_FACTS} is not JSON: {error}") from error
        if not isinstance(facts, dict) or facts.get("sha256") != sha256:
            raise self._damaged(sha256, f"{_FACTS} speaks of another model")
        return facts

    def _read(self, path: Path, sha256: str) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if (path.parent / _FACTS).is_file():
                raise self._damaged(sha256, f"{path.name} is gone") from error
            raise ModelNotFoundError(
                f"no model {sha256} is kept in {self._base}; materialize the model asset together with this one"
            ) from error

    def _damaged(self, sha256: str, what: str) -> InvalidModelError:
        return InvalidModelError(
            f"the kept copy of model {sha256} was damaged ({what}); materialize the model asset again, which "
            f"mends it (folder {self._folder(sha256)})"
        )


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also after a power cut: written beside, synced, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written ({error}), so the model was not kept. Free space on that disk or let this user "
            "write to it, then materialize the model asset again."
        ) from error
