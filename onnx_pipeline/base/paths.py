"""Where the project lies: relative paths in configuration start there, not from the working directory."""

import os
import re
from functools import lru_cache
from pathlib import Path

__all__ = ["checkout", "enter", "home", "project_above", "resolve", "sql_folder"]

_PACKAGE = Path(__file__).parents[1]

_CONFIG_FILES = {
    "dg.toml": re.compile(r"^\s*\[project\]", re.MULTILINE),
    "pyproject.toml": re.compile(r"^\s*\[tool\.dg\.project\]", re.MULTILINE),
}
"""What makes a folder a Dagster project, as `dg` sees it: dg.toml goes before pyproject.toml. Matched as text, since a
path is asked for before anybody has paid for a TOML parser."""

_entered: Path | None = None


def enter(project: Path) -> None:
    """Definitions of this project are being loaded: its paths start there, wherever the process was started."""
    global _entered  # noqa: PLW0603 - what a process loads is a fact about the process
    # The wheel of a project that `create-dagster` made puts its pyproject.toml beside the packages; no data goes there.
    _entered = None if project.name in ("site-packages", "dist-packages") else project


def home() -> Path:
    """Where relative paths start.

    `ONNX_PIPELINE_HOME`, else the Dagster project that this process has loaded or that the working directory lies in,
    else the checkout that this package lies in, else the working directory.
    """
    configured = os.environ.get("ONNX_PIPELINE_HOME")
    if configured:
        return Path(configured).expanduser().resolve()
    here = Path.cwd()
    return _entered or project_above(here) or checkout() or here


def checkout() -> Path | None:
    """The checkout that this package lies in; None where it is installed."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").exists() and (root / "sql").is_dir() else None


@lru_cache
def project_above(folder: Path) -> Path | None:
    """The root of the Dagster project that a folder lies in, as `dg` finds it."""
    return next((root for root in (folder, *folder.parents) if _is_project(root)), None)


def _is_project(folder: Path) -> bool:
    return any(
        found.search(file.read_text(encoding="utf-8"))
        for name, found in _CONFIG_FILES.items()
        if (file := folder / name).is_file()
    )


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one starts at `home()`."""
    return home() / Path(path).expanduser()


def sql_folder() -> Path:
    """The folder `sql/`: beside the package in a checkout, inside it once installed."""
    installed = _PACKAGE / "sql"
    return installed if installed.exists() else _PACKAGE.parent / "sql"
