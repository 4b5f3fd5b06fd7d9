"""The tests of this folder once more on builds that watch memory, undefined behaviour, threads and leaks.

They need g++, its sanitizers' libraries, and CMake. CI has them; elsewhere their absence is a skip that says so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from onnx_pipeline_tests import needs
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.installed import BUILDS, install

# They compile the extension twice.
pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def runtime_of(sanitizer: str) -> Path:
    """The sanitizer's own library, which must be in a process before anything else."""
    for tool in ("g++", "cmake"):
        needs.program(tool, tool)
    path = library_of_gcc(f"lib{sanitizer}.so")
    if not path.is_absolute():
        needs.lacking(f"g++ has no lib{sanitizer}: on Debian it comes with libgcc-<version>-dev")
    return path


def library_of_gcc(name: str) -> Path:
    asked = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = Path(asked.stdout.strip())
    return path.resolve() if path.is_absolute() else path


def built(name: str, sanitizers: str) -> Path:
    """The extension with sanitizers; built anew where its sources changed."""
    folder = BUILDS / name
    configure = ["cmake", "-S", str(ROOT / "extension"), "-B", str(folder), f"-DONNX_EXTENSION_SANITIZE={sanitizers}"]
    folder.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes, and one of them builds.
    with FileLock(folder / ".lock"):
        for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "libonnxextension.so"


def driver(folder: Path, flag: str) -> Path:
    program = folder / "driver"
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-fsanitize={flag}"]
    subprocess.run(["g++", *flags, str(HERE / "driver.cpp"), "-o", str(program), "-ldl", "-pthread"], check=True)
    return program


def fixed_addresses() -> list[str]:
    """What starts a program without random addresses, where that is allowed: some kernels' spread is too wide for them."""
    tool = ["setarch", "-R"]
    if shutil.which("setarch") is None or subprocess.run([*tool, "true"], capture_output=True, check=False).returncode:
        return []
    return tool


def drive(folder: Path, library: Path, flag: str, sessions: int, threads: int, **options: str) -> None:
    model = folder / "model.onnx"
    model.write_bytes(models.matrix_sum(4))
    command = [
        *fixed_addresses(),
        str(driver(folder, flag)),
        str(install(folder, library)),
        str(model),
        str(sessions),
        str(threads),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | options, check=False)
    complaints = [line for line in done.stderr.splitlines() if "Sanitizer" in line or line.startswith("unexpected")]
    assert done.returncode == 0 and not complaints, done.stderr[-6000:]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A build with AddressSanitizer and UndefinedBehaviorSanitizer, and the environment that a process of it needs."""
    preload = runtime_of("asan")
    runtime_of("ubsan")
    library = built("asan", "address,undefined")
    log = tmp_path_factory.mktemp("sanitizers") / "report"
    settings = f"detect_leaks=0:halt_on_error=1:log_path={log}"
    return library, {
        **os.environ,
        # With the C++ runtime: the sanitizer looks for `__cxa_throw` when it starts, and Python has none.
        "LD_PRELOAD": f"{preload} {library_of_gcc('libstdc++.so.6')}",
        "ASAN_OPTIONS": settings,
        "UBSAN_OPTIONS": f"{settings}:print_stacktrace=1",
        "ONNX_PIPELINE_TEST_EXTENSION": str(library),
    }


def reports(environment: dict[str, str]) -> str:
    log = Path(environment["ASAN_OPTIONS"].rpartition("log_path=")[2])
    return "\n".join(path.read_text() for path in log.parent.glob("report*"))


def test_no_byte_outside_a_buffer_is_touched_and_nothing_undefined_is_done(
    watched: tuple[Path, dict[str, str]],
) -> None:
    _, environment = watched
    tests = [str(HERE / f"test_{name}.py") for name in ("inputs", "outputs", "linear", "trees", "lifecycle", "fuzz")]
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "addopts="]
    # A process with AddressSanitizer ends where memory does, and throws nothing.
    options += ["-k", "not beyond_memory"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert not reports(environment), reports(environment)[:4000] + done.stdout[-1000:]
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


LYING = """
import ctypes, sys
from pathlib import Path
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import CHAR
from onnx_pipeline_tests.extension.host import Column, Extension, Lent
extension = Extension(Path(sys.argv[1]))
extension.init()
with extension.session([Column("x", CHAR)], models.echo({"x": models.STRING})) as session, Lent() as lent:
    columns, lengths = lent.pointers([lent.put(b"abc")]), lent.pointers([lent.put((4).to_bytes(4, "little"))])
    extension.call("Execute", *session.id, 1, columns, lengths, ctypes.byref(ctypes.c_uint16()))
"""


def test_the_watch_sees_a_single_byte_too_many(watched: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """A host that says 4 bytes and gives 3: the extension cannot know, and the sanitizer must."""
    library, environment = watched
    log = tmp_path / "report"
    options = {"ASAN_OPTIONS": f"detect_leaks=0:log_path={log}"}
    command = [sys.executable, "-c", LYING, str(install(tmp_path, library))]
    done = subprocess.run(command, cwd=ROOT, env=environment | options, capture_output=True, check=False)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in "".join(path.read_text() for path in tmp_path.glob("report*"))


@pytest.mark.nightly
def test_nothing_is_lost_over_ten_thousand_sessions(watched: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    library, _ = watched
    drive(tmp_path, library, "address", 10_000, 2, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1")


@pytest.mark.nightly
def test_concurrent_sessions_do_not_race(tmp_path: Path) -> None:
    runtime_of("tsan")
    library = built("tsan", "thread")
    # ONNX Runtime is not built to be watched: what it does inside is not ours to judge.
    drive(tmp_path, library, "thread", 160, 8, TSAN_OPTIONS="halt_on_error=1:ignore_noninstrumented_modules=1")
