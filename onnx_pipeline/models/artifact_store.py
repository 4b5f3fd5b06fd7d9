"""Models by what they are: content-addressed copies, and which model each scoring uses now."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import onnxruntime as ort

from onnx_pipeline.base.errors import InvalidModelError, ModelNotFoundError
from onnx_pipeline.models.artifact_files import ArtifactFiles, FolderFiles
from onnx_pipeline.models.facts import FACTS_FORMAT
from onnx_pipeline.models.kept_looks import KeptLooks
from onnx_pipeline.models.onnx_model import OnnxModel
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
    """Files `<sha256>/model.onnx`, `normalised.onnx` and `facts.json`, and `current/<scoring>.json`.

    Of a model that stays at its service: `remote/<sha256 of its description>.json`. What first looks at models found
    lies under `looks/`.

    Any number of processes, on any number of machines, may use it at once: files appear whole and never change.
    """

    def __init__(self, files: ArtifactFiles | Path) -> None:
        self._files = FolderFiles(files) if isinstance(files, Path) else files
        self.looks = KeptLooks(self._files)
        """What was found at first looks at models, adopted or not."""

    @classmethod
    def at(cls, place: str, *, home: Path) -> "ArtifactStore":
        """The store at `az://container/folder`, or in a folder, where a relative path starts at `home`.

        Raises SpecError for a URI that cannot be one.
        """
        if "://" not in place:
            return cls(home / Path(place).expanduser())
        from onnx_pipeline.models.azure_artifacts import BlobFiles

        return cls(BlobFiles.at(place))

    def put(self, model: OnnxModel, original: bytes) -> None:
        """Keeps a model; again is nothing, except that a damaged copy is mended.

        Raises InvalidModelError where `original` is not what the model was made of.
        """
        if hashlib.sha256(original).hexdigest() != model.sha256:
            raise InvalidModelError(
                f"these {len(original):,} bytes are not those of model {model.sha256}; fetch the model again"
            )
        facts = json.dumps(model.describe(), indent=1).encode()
        wanted = {_ORIGINAL: original, _NORMALISED: model.normalised, _FACTS: facts}
        for name, content in wanted.items():  # the facts last: where they lie, the rest does
            self._files.keep(_name(model.sha256, name), content)

    def get(self, sha256: str, *, options: RuntimeOptions | None = None) -> OnnxModel:
        """The model, checked against its checksums; its graph is not looked at again.

        Raises ModelNotFoundError where it was never kept, InvalidModelError where its files were damaged.
        """
        facts = self._facts(sha256)
        if (facts.get("format"), facts.get("onnxruntime")) != (FACTS_FORMAT, ort.__version__):
            # Another release of this package found out less, or more, and another ONNX Runtime may not take the model.
            original = self.original(sha256)
            model = OnnxModel.from_bytes(original, source=f"model {sha256}", options=options, looks=self.looks)
            self.put(model, original)
            return model
        normalised = self._read(sha256, _NORMALISED)
        try:
            return OnnxModel.from_description(normalised, facts, options=options)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(sha256, f"{_FACTS} lacks something: {error!r}") from error

    def original(self, sha256: str) -> bytes:
        """The model's bytes as they came. Raises as `get` does."""
        data = self._read(sha256, _ORIGINAL)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(sha256, f"the sha256 of {_ORIGINAL} is {hashlib.sha256(data).hexdigest()}")
        return data

    def put_remote(self, model: RemoteModel) -> None:
        """Keeps the description of a model whose artifact is not here, under the description's own sha256."""
        self._files.keep(_remote(model.digest), model.description())

    def get_remote(self, digest: str) -> RemoteModel:
        """The model that `put_remote` kept. Raises as `get` does."""
        data = self._files.read(_remote(digest))
        if data is None:
            raise ModelNotFoundError(
                f"no description of remote model {digest} is kept in {self._files.place('')}; materialize the model "
                "asset together with this one"
            )
        if hashlib.sha256(data).hexdigest() != digest:
            raise InvalidModelError(
                f"the kept description of remote model {digest} was damaged; materialize the model asset again, which "
                f"mends it (file {self._files.place(_remote(digest))})"
            )
        return RemoteModel.from_description(data)

    def set_current(self, scoring: str, sha256: str, uri: str, etag: str) -> None:
        """Makes a kept model the one that the scoring uses."""
        self._files.replace(_pointer(scoring), json.dumps(CurrentModel(sha256, uri, etag)._asdict()).encode())

    def current(self, scoring: str) -> CurrentModel | None:
        """The model that the scoring uses, None before its first; InvalidModelError for a damaged pointer."""
        data = self._files.read(_pointer(scoring))
        if data is None:
            return None
        try:
            current = CurrentModel(**json.loads(data))
            if not all(isinstance(value, str) for value in current):
                raise TypeError("not all of it is text")  # noqa: TRY301 - one message for all that can be wrong
        except (ValueError, TypeError) as error:
            raise InvalidModelError(
                f"{self._files.place(_pointer(scoring))} does not say which model {scoring!r} uses ({error}): it was "
                "damaged; materialize the model asset again"
            ) from error
        return current

    def _facts(self, sha256: str) -> dict[str, Any]:
        data = self._read(sha256, _FACTS)
        try:
            facts: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise self._damaged(sha256, f"{_FACTS} is not JSON: {error}") from error
        if not isinstance(facts, dict) or facts.get("sha256") != sha256:
            raise self._damaged(sha256, f"{_FACTS} speaks of another model")
        return facts

    def _read(self, sha256: str, name: str) -> bytes:
        data = self._files.read(_name(sha256, name))
        if data is not None:
            return data
        if name != _FACTS and self._files.read(_name(sha256, _FACTS)) is not None:
            raise self._damaged(sha256, f"{name} is gone")
        raise ModelNotFoundError(
            f"no model {sha256} is kept in {self._files.place('')}; materialize the model asset together with this one"
        )

    def _damaged(self, sha256: str, what: str) -> InvalidModelError:
        return InvalidModelError(
            f"the kept copy of model {sha256} was damaged ({what}); materialize the model asset again, which "
            f"mends it (folder {self._files.place(sha256)})"
        )


def _checked(sha256: str) -> str:
    if len(sha256) != hashlib.sha256().digest_size * 2 or not set(sha256) <= set("0123456789abcdef"):
        raise ModelNotFoundError(f"{sha256!r} is not a sha256, so no model is kept under it")
    return sha256


def _name(sha256: str, name: str) -> str:
    return f"{_checked(sha256)}/{name}"


def _remote(digest: str) -> str:
    return f"remote/{_checked(digest)}.json"


def _pointer(scoring: str) -> str:
    return f"current/{quote(scoring, safe='')}.json"
