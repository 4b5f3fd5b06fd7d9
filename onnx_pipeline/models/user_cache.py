"""The folder of this user in which first looks are kept where there is no artifact store: notebooks and the service."""

import os
import shutil
import sys
from pathlib import Path

from onnx_pipeline.models.artifact_files import FolderFiles
from onnx_pipeline.models.kept_looks import KeptLooks

__all__ = ["CACHE", "cache_folder", "user_looks"]

CACHE = "ONNX_PIPELINE_CACHE"
_MOST_MODELS = 1000
"""A verdict is a few kB; a model that normalising changed lies beside it."""


def cache_folder() -> Path | None:
    """ONNX_PIPELINE_CACHE, else a folder where the system keeps such things; None for a user without a home.

    https://specifications.freedesktop.org/basedir-spec/latest/ on Linux.
    """
    configured = os.environ.get(CACHE, "").strip()
    if configured:
        return Path(configured).expanduser().absolute()
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA", "")
            root = Path(base) if base else Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            root = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME", "")
            root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return root / "onnx-pipeline"


def user_looks() -> KeptLooks | None:
    """What is kept in the user's cache folder; None where there is no such folder."""
    folder = cache_folder()
    if folder is None:
        return None
    return KeptLooks(FolderFiles(folder, lasting=False), tidy=lambda: _tidy(folder / "looks"))


def _tidy(folder: Path) -> None:
    """Removes the models that were not looked at for longest, once there are many."""
    try:
        with os.scandir(folder) as entries:
            ages = {entry.path: entry.stat().st_mtime for entry in entries}
    except OSError:
        return  # somebody else tidies
    if len(ages) > _MOST_MODELS:
        for path in sorted(ages, key=ages.__getitem__)[: _MOST_MODELS // 10]:
            shutil.rmtree(path, ignore_errors=True)
