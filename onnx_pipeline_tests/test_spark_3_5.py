"""On Spark 3.5, which Synapse's pools have, the same tests of the engine and the notebook pass."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("onnx_pipeline_tests/engines/test_spark.py", "onnx_pipeline_tests/notebook/test_score_and_load.py")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Of an environment that has Spark 3.5, and all else from the one that tests run in."""
    made = venv.EnvBuilder(with_pip=True, symlinks=True)
    made.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "pyspark==3.5.*"], check=True)
    packages = tmp_path / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    told = subprocess.run([python, "-c", "import pyspark; print(pyspark.__version__)"], capture_output=True, check=True)
    assert told.stdout.startswith(b"3.5.")
    return python


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Spark 3.5 runs on Python up to 3.11")
def test_the_engine_and_the_notebook(python: Path, spark_settings: Path) -> None:
    # The jars of Connect's server come from a registry of Java's, and the warnings are Spark's own.
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *PAGES, "-k", "not connect"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SPARK_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 30 and "skipped" not in done.stdout
