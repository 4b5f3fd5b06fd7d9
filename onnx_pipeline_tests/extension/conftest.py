"""The built extension, with ONNX Runtime beside it as on a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onnx_pipeline_tests import needs
from onnx_pipeline_tests.cli.conftest import command  # noqa: F401 - a fixture
from onnx_pipeline_tests.extension.host import Extension
from onnx_pipeline_tests.extension.installed import install, missing


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that `make extension` built for this machine, in a folder of its own with ONNX Runtime's."""
    reason = missing()
    if reason is not None:
        needs.lacking(reason)
    return install(tmp_path_factory.mktemp("extension"))


@pytest.fixture(scope="session")
def extension(library: Path) -> Iterator[Extension]:
    """The library, loaded and initialised as a server does it."""
    loaded = Extension(library)
    loaded.init(str(library.parent))
    yield loaded
    loaded.cleanup()
