"""Puts a build of the extension into a folder as a server unpacks it."""

import os
import shutil
from pathlib import Path

BUILDS = Path(__file__).parents[2] / "build" / "extension"
NATIVE = BUILDS / "native" / "libonnxextension.so"


def missing() -> str | None:
    """Why there is nothing to test; None where there is."""
    return None if NATIVE.exists() else f"there is no {NATIVE}: `make extension` builds it"


def install(folder: Path, library: Path = NATIVE) -> Path:
    """Copies the library, and links ONNX Runtime's beside it; the copy's path."""
    import onnxruntime

    (runtime,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")
    copy = folder / library.name
    shutil.copy(library, copy)
    os.symlink(runtime, folder / runtime.name)
    return copy
