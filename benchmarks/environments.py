"""Environments of the programs that are compared with, which pin what this project has newer: made once under data/."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.setting import LeftOut

__all__ = ["python_with"]

_ROOT = Path(__file__).parent.parent


def python_with(name: str, packages: Sequence[str]) -> str:
    """The Python of an environment with these packages; made at first use. Raises LeftOut where pip cannot."""
    folder = _ROOT / "data" / "bench" / name
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=False)
        if done.returncode:
            raise LeftOut(f"pip could not install {', '.join(packages)}")
        (folder / "done").touch()
    return str(python)
