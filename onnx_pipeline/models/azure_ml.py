"""Models registered in an Azure ML workspace or registry, through azure-ai-ml (`pip install 'onnx-pipeline[azureml]'`).

    azureml://models/<name>/versions/<version>
    azureml://models/<name>/labels/latest
    azureml://registries/<registry>/models/<name>/versions/<version>, or .../labels/latest

The workspace is the one that AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZUREML_WORKSPACE_NAME name; a registry
needs none of them. The sign-in is DefaultAzureCredential.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_pipeline.azure.account import default_credential
from onnx_pipeline.azure.failures import azure_failures
from onnx_pipeline.azure.secrets import without_signatures
from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import (
    InvalidModelError,
    ModelError,
    ModelNotFoundError,
    ModelUnavailableError,
    SpecError,
)
from onnx_pipeline.models.stores import Artifact, ModelStore

__all__ = ["AzureMlModelStore", "RegisteredModel"]

_URI = re.compile(
    r"azureml://(?:registries/(?P<registry>[^/]+)/)?models/(?P<name>[^/]+)/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))/?"
)
_WORKSPACE = {
    "subscription_id": "AZURE_SUBSCRIPTION_ID",
    "resource_group_name": "AZURE_RESOURCE_GROUP",
    "workspace_name": "AZUREML_WORKSPACE_NAME",
}


@dataclass(frozen=True)
class RegisteredModel:
    """What a URI names."""

    registry: str | None
    """None: the workspace of the environment."""
    name: str
    version: str | None
    label: str | None
    """One of the two is given; the service knows the label `latest`."""

    @classmethod
    def parse(cls, uri: str) -> "RegisteredModel":
        """Raises SpecError for a URI of another form."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise SpecError(
                f"{uri} names no registered model; write azureml://models/<name>/versions/<version>, or "
                "azureml://registries/<registry>/models/<name>/versions/<version>, or labels/latest for a version"
            )
        return cls(**match.groupdict())

    @property
    def place(self) -> str:
        """Where it is registered, for people."""
        if self.registry is not None:
            return f"the Azure ML registry {self.registry}"
        return f"the Azure ML workspace {os.environ.get(_WORKSPACE['workspace_name'])}"


def connect(model: RegisteredModel) -> Any:
    """An `MLClient` of the model's registry or workspace; SpecError where a variable or the package is missing."""
    where = {"registry_name": model.registry} if model.registry is not None else _workspace()
    try:
        from azure.ai.ml import MLClient
    except ImportError as error:
        raise SpecError(
            f"azureml:// models need the package azure-ai-ml ({error}); pip install 'onnx-pipeline[azureml]'"
        ) from error
    return MLClient(default_credential(), **where)


def _workspace() -> dict[str, str]:
    found = {option: os.environ.get(variable, "").strip() for option, variable in _WORKSPACE.items()}
    missing = [_WORKSPACE[option] for option, value in found.items() if not value]
    if missing:
        raise SpecError(
            f"the environment names no Azure ML workspace to look the model up in; set {', '.join(missing)}, or name a "
            "registry: azureml://registries/<registry>/models/..."
        )
    return found


class AzureMlModelStore(ModelStore):
    """Reads the one .onnx file of a registered model, which is a file or a folder (as MLflow writes it)."""

    def __init__(self, connect: Callable[[RegisteredModel], Any] = connect) -> None:
        self._connect = connect

    def etag(self, uri: str) -> str:
        """Version and time of creation: what a version holds never changes, but it may be removed and made anew."""
        model = RegisteredModel.parse(uri)
        with _failures(model, uri):
            return _token(_found(self._connect(model), model))

    def read(self, uri: str) -> Artifact:
        """The bytes of the version that the URI names now; InvalidModelError where it holds no single .onnx file."""
        model = RegisteredModel.parse(uri)
        with _downloads() as folder, _failures(model, uri):
            client = self._connect(model)
            found = _found(client, model)
            client.models.download(name=model.name, version=found.version, download_path=str(folder))
            files = sorted(path for path in folder.rglob("*.onnx") if path.is_file())
            if len(files) != 1:
                names = ", ".join(str(file.relative_to(folder)) for file in files[:5]) or "none"
                raise InvalidModelError(
                    f"the model {uri} (version {found.version}) holds {len(files)} files that end in .onnx ({names}), "
                    "and one was expected; register the .onnx file by itself"
                )
            return Artifact(files[0].read_bytes(), _token(found))


@contextmanager
def _downloads() -> Iterator[Path]:
    with _writing():
        folder = tempfile.TemporaryDirectory(prefix="onnx-pipeline-", ignore_cleanup_errors=True)
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            # A connection that breaks is an OSError, too.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with _writing():
                raise


def _writing() -> AbstractContextManager[None]:
    return writing(
        Path(tempfile.gettempdir()),
        ModelError,
        lost="the model was not fetched",
        elsewhere="name another folder in TMPDIR",
        then="run this again",
    )


def _found(client: Any, model: RegisteredModel) -> Any:
    if model.label is not None:
        return client.models.get(name=model.name, label=model.label)
    return client.models.get(name=model.name, version=model.version)


def _token(found: Any) -> str:
    created = getattr(found.creation_context, "created_at", None)
    return f"{found.version}@{created.isoformat()}" if created is not None else str(found.version)


def _failures(model: RegisteredModel, uri: str) -> AbstractContextManager[None]:
    return azure_failures(
        f"the model {uri}",
        place=model.place,
        missing="model or version",
        denied="Sign in (`az login`, a managed identity or a service principal), and grant that identity the role "
        "AzureML Data Scientist there, or AzureML Registry User for a registry",
        redacted=without_signatures,
        refused=ModelNotFoundError,
        unavailable=ModelUnavailableError,
    )
