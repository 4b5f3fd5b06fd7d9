"""Puts a build of the extension into a folder as a server unpacks it."""

import os
import shutil
from pathlib import Path

BUILDS = Path(__file__).parents[2] / "build" / "extension"
NATIVE = Path(os.environ.get("ONNX_PIPELINE_TEST_EXTENSION") or BUILDS / "native" / "libonnxextension.so")
"""Another build may stand in for it, e.g. one with sanitizers."""


def missing() -> str | None:
    """Why there is nothing to test; None where there is."""
    if NATIVE.exists():
        return None
    return f"there is no {NATIVE}: on Linux with cmake and a C++ compiler (apt-get install cmake g++) `make test` builds it"


def install(folder: Path, library: Path = NATIVE) -> Path:
    """Copies the library, and links ONNX Runtime's beside it; the copy's path."""
    import onnxruntime

    (runtime,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")
    copy = folder / library.name
    shutil.copy(library, copy)
    (folder / runtime.name).symlink_to(runtime)
    return copy
