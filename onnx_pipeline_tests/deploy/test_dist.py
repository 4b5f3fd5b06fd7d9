"""The wheel and the sdist that `make dist` builds: what they hold, and that the same sources give the same bytes."""

import hashlib
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]

sdist = pytest.importorskip("hatchling.builders.sdist", reason="builds the sdist; `make test` installs hatchling")
wheel = pytest.importorskip("hatchling.builders.wheel", reason="builds the wheel; `make test` installs hatchling")


def built(root: Path, into: Path) -> dict[str, Path]:
    """Both, from the sources in `root`."""
    return {
        name: Path(next(builder(str(root)).build(directory=str(into), versions=["standard"])))
        for name, builder in {"sdist": sdist.SdistBuilder, "wheel": wheel.WheelBuilder}.items()
    }


def hashes(files: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


@pytest.fixture
def of_a_commit(monkeypatch: pytest.MonkeyPatch) -> int:
    """The time that `make dist` takes from the last commit."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780000000")
    return 1780000000


@pytest.mark.nightly
def test_the_same_sources_give_the_same_bytes_and_the_sdist_is_all_that_a_build_needs(
    of_a_commit: int, tmp_path: Path
) -> None:
    first = built(ROOT, tmp_path / "first")
    with tarfile.open(first["sdist"]) as archive:
        assert {member.mtime for member in archive} == {of_a_commit}
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("onnx_pipeline-*")
    for file in unpacked.rglob("*.py"):  # another clone: other times, another umask
        os.utime(file, (1, 1))
        file.chmod(0o600)
    assert hashes(built(unpacked, tmp_path / "second")) == hashes(first)


def test_the_sdist_holds_the_package_its_tests_and_its_pages_and_nothing_that_lies_about(tmp_path: Path) -> None:
    stray = ROOT / "onnx_pipeline_tests" / "__pycache__" / "stray.pyc"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"")
    try:
        archive = next(sdist.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    finally:
        stray.unlink()
    with tarfile.open(archive) as opened:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in opened.getnames()}
    wanted = {
        "CHANGELOG.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "constraints.txt", "pyproject.toml",
        "deploy/compose.yaml", "docs/tutorial.md", "docs/images/asset_graph.svg", "extension/CMakeLists.txt",
        "onnx_pipeline/component.py", "onnx_pipeline/defs/length_of_stay/defs.yaml", "sql/duckdb/onnx_models.sql",
        "onnx_pipeline/sample/models/length_of_stay.onnx", "onnx_pipeline_tests/deploy/test_dist.py", "tools/site.py",
    }  # fmt: skip
    assert wanted <= names
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {".ci", ".github", ".venv", "build", "data", "dist", "history", "storage", "logs"}
    assert not [name for name in names if name.endswith((".pyc", ".so", ".dll", ".duckdb")) or "results/" in name]
