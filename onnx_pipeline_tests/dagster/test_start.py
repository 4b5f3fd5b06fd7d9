"""What a command loads: most of a small run is the time that Python takes to import."""

import subprocess
import sys
from pathlib import Path

import pytest

from onnx_pipeline.cli.sample import create_sample
from onnx_pipeline_tests.dagster import processes

PROGRAM = """
import atexit, pathlib, sys
atexit.register(lambda: pathlib.Path("modules").write_text("\\n".join(sys.modules)))
from {package} import main
main()
"""
UNUSED = {
    # 0.4 s, and pyarrow imports it as soon as it is given a Python value to make an array or a scalar of.
    "pandas",
    # What looks at a model that is new, in a process of its own.
    "onnx", "numpy.random", "onnx_pipeline.models.inspection", "onnx_pipeline.models.batch_dependence.examine",
    # Of the engine `remote`, which every model asset asks what it can run.
    "httpcore", "orjson", "onnx_pipeline.engines.remote.client",
    # Of pools and clouds that this project does not have.
    "azure", "dagster_azure", "mssql_python", "pyodbc", "onnx_pipeline.pools.tsql",
    # Of the service, of notebooks and of tests.
    "starlette", "uvicorn", "sklearn", "dagster_graphql",
}  # fmt: skip


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("dagster._cli", ["job", "execute", "-m", "onnx_pipeline.definitions", "-j", "score_all",
                          "--tags", '{"dagster/partition": "2026-01-01"}']),
        ("onnx_pipeline.cli", ["pending"]),
    ],
    ids=["dagster job execute", "onnx-pipeline pending"],
)  # fmt: skip
def test_a_command_loads_nothing_that_it_does_not_use(
    package: str, arguments: list[str], project_home: Path, tmp_path: Path
) -> None:
    create_sample(days=1, rows_per_day=200, start="2026-01-01", keep=False)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(package=package), *arguments], cwd=project_home, check=False,
        env=processes.environment(project_home, tmp_path / "dagster"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    loaded = set((project_home / "modules").read_text().splitlines())
    assert "onnx_pipeline.component" in loaded
    assert loaded & UNUSED == set()
