"""Other processes of the project: an environment of the test's own, and how to start and end them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

ROOT = Path(__file__).parents[2]


def environment(home: Path, dagster_home: Path) -> dict[str, str]:
    """Everything that a process needs to stay within `home` and `dagster_home`."""
    dagster_home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", dagster_home / "dagster.yaml")
    return {
        **os.environ,
        "ONNX_PIPELINE_HOME": str(home),
        "ONNX_PIPELINE_POOL": f"duckdb:///{home}/data/pool.duckdb",
        "DAGSTER_HOME": str(dagster_home),
        "PYTHONWARNINGS": "ignore",
    }


def run(arguments: Sequence[str], env: Mapping[str, str], *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`python -m <arguments>` to its end, away from the checkout: Dagster reads a `.env` in the working directory."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=env["ONNX_PIPELINE_HOME"], env=dict(env), timeout=timeout, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def instance_in(dagster_home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(dagster_home))


def eventually(condition: Callable[[], Any], what: str, *, seconds: float = 120.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")
