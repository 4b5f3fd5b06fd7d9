"""What `--models` names: which models there are, and at which URIs. Folders are looked at again at each reload."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onnx_pipeline.base.errors import ModelNotFoundError, ModelUnavailableError, SpecError

__all__ = ["Place", "parse_places"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)=(?P<uri>.+)", re.DOTALL)
_SUFFIX = ".onnx"


@dataclass(frozen=True)
class Place:
    """One thing that `--models` names."""

    uri: str
    name: str | None = None
    """Of its one model; None for a folder, whose models are named by their files."""

    @property
    def is_folder(self) -> bool:
        """Whether models may come and go."""
        return self.name is None

    def find(self) -> Mapping[str, str]:
        """URIs by name, as they are now. Raises ModelNotFoundError or ModelUnavailableError for a folder."""
        if self.name is not None:
            return {self.name: self.uri}
        uris = _blobs(self.uri) if "://" in self.uri else _files(Path(self.uri).expanduser())
        found: dict[str, str] = {}
        for uri in sorted(uris):
            name = _name(uri)
            if _NAME.fullmatch(name):
                found.setdefault(name, uri)
        return found


def parse_places(texts: Iterable[str]) -> list[Place]:
    """`name=uri`, a URI or path that ends in .onnx, `azureml://...`, a folder, or a container.

    Raises SpecError for none at all, and for two models of one name.
    """
    places = [_parse(text) for text in texts]
    if not places:
        raise SpecError(
            "no models are named, so there is nothing to serve; name a folder, a container or a model: "
            "--models models/, --models az://models, --models length_of_stay=models/los.onnx"
        )
    names = [place.name for place in places if place.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"two models are named {twice[0]!r}; give one another name: --models <name>=<path or URI>")
    return places


def _parse(text: str) -> Place:
    match = _NAMED.fullmatch(text)
    # A path may hold "=" (Hive folders): what exists is a path.
    if match is not None and not Path(text).exists():
        return Place(match["uri"], match["name"])
    if text.startswith("azureml://"):
        raise SpecError(f"{text} says no name to serve it under; write <name>={text}")
    if text.endswith(_SUFFIX):
        name = _name(text)
        if not _NAME.fullmatch(name):
            raise SpecError(f"{name!r} cannot stand in a URL as a model's name; write <name>={text}")
        return Place(text, name)
    return Place(text)


def _name(uri: str) -> str:
    return PurePosixPath(uri.replace("\\", "/")).name.removesuffix(_SUFFIX)


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ModelNotFoundError(f"there is no folder {folder} to take models from; correct --models")
    return [str(path) for path in folder.glob(f"*{_SUFFIX}") if path.is_file()]


def _blobs(uri: str) -> list[str]:
    from onnx_pipeline.azure.account import BlobAccount
    from onnx_pipeline.azure.failures import blob_failures
    from onnx_pipeline.azure.listing import files
    from onnx_pipeline.azure.location import BlobLocation

    place = BlobLocation.parse(uri)
    account = BlobAccount.named(place.account_url)
    prefix = f"{place.path}/" if place.path else ""
    failures = blob_failures(
        account, f"the models in {uri}", refused=ModelNotFoundError, unavailable=ModelUnavailableError
    )
    with account.service() as service, failures:
        found = files(service.get_container_client(place.container), prefix)
        inside = [blob.name.removeprefix(prefix) for blob in found]
    return [f"{uri.rstrip('/')}/{name}" for name in inside if name.endswith(_SUFFIX) and "/" not in name]
