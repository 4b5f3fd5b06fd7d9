"""Where an artifact store keeps its files: what any place must be able to do, and a folder on a disk."""

import os
import tempfile
from pathlib import Path
from typing import Protocol

from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import ModelError

__all__ = ["ArtifactFiles", "FolderFiles"]


class ArtifactFiles(Protocol):
    """Small named files, each of which is there whole or not at all. Any number of processes may use them at once.

    A method raises `ModelUnavailableError` where the place does not answer, `ModelError` where it refuses.
    """

    def read(self, name: str) -> bytes | None:
        """The file's content; None where there is none."""

    def keep(self, name: str, content: bytes) -> None:
        """Make the file hold this content; nothing where it does already, or where another process was faster."""

    def replace(self, name: str, content: bytes) -> None:
        """Make the file hold this content, whatever it held; of two at once, the later one stays."""

    def place(self, name: str) -> str:
        """Where the file lies, for a message. Holds no secret."""


class FolderFiles:
    """Files in a folder that all runs share."""

    def __init__(self, base: Path, *, lasting: bool = True) -> None:
        """What need not last through a power cut is not synced, which on a busy disk takes long."""
        self._base = base
        self._lasting = lasting

    def read(self, name: str) -> bytes | None:
        path = self._base / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise ModelError(f"{path} cannot be read ({error}); let this user read it, then run this again") from error

    def keep(self, name: str, content: bytes) -> None:
        if self.read(name) != content:
            self.replace(name, content)

    def replace(self, name: str, content: bytes) -> None:
        """Also after a power cut: written beside, synced, then renamed."""
        path = self._base / name
        with writing(
            path,
            ModelError,
            lost="the model was not kept",
            elsewhere="name another place in ONNX_PIPELINE_ARTIFACTS",
            then="materialize the model asset again",
            size=len(content),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    if self._lasting:
                        file.flush()
                        os.fsync(file.fileno())
                Path(draft).replace(path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise

    def place(self, name: str) -> str:
        return str(self._base / name)
