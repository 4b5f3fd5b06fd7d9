"""Where the project lies: relative paths in configuration start there, not from the working directory."""

import os
from pathlib import Path

__all__ = ["home", "resolve", "sql_folder"]

_PACKAGE = Path(__file__).parents[1]


def home() -> Path:
    """`ONNX_PIPELINE_HOME`, else the checkout that this package lies in, else the working directory."""
    configured = os.environ.get("ONNX_PIPELINE_HOME")
    if configured:
        return Path(configured).expanduser().resolve()
    checkout = _PACKAGE.parent
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one starts at `home()`."""
    return home() / Path(path).expanduser()


def sql_folder() -> Path:
    """The folder `sql/`: beside the package in a checkout, inside it once installed."""
    installed = _PACKAGE / "sql"
    return installed if installed.exists() else _PACKAGE.parent / "sql"
