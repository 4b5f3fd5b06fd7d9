"""What several of these tests break."""

from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from onnx_pipeline_tests.faults.jobs import Jobs
from onnx_pipeline_tests.faults.ward import Ward, forks


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    return forks("onnx_pipeline_tests.faults.ward")


@pytest.fixture
def ward(project_home: Path) -> Ward:
    """80,000 visits of four wards."""
    ward = Ward(project_home)
    ward.build()
    return ward


@pytest.fixture
def jobs(project_home: Path) -> Iterator[Jobs]:
    """The sample's encounters, and a Dagster instance with the project's own settings."""
    jobs = Jobs(project_home)
    yield jobs
    jobs.end()
