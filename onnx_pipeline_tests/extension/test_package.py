"""What goes to a server: the zip, the libraries' exports, and the C library that they ask for."""

import ctypes
import importlib.util
import io
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from onnx_pipeline.base.errors import ExtensionPackageError, RuntimeUnavailableError
from onnx_pipeline.extension.binaries import API, GLIBC, Binary, check_extension, check_runtime, inspect
from onnx_pipeline.extension.files import BUILT, Runtime, installed_runtime, linked_licences, runtime_of_wheel
from onnx_pipeline.extension.package import pack, read_package
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension

ROOT = Path(__file__).parents[2]
LINUX = ROOT / BUILT / "linux" / "libonnxextension.so"
WINDOWS = ROOT / BUILT / "windows" / "onnxextension.dll"


def built(path: Path) -> bytes:
    if not path.exists():
        reason = f"there is no {path}: `make extension` builds it where ziglang is installed"
        needs.lacking(reason)
    return path.read_bytes()


@pytest.fixture(scope="module")
def linux() -> bytes:
    return built(LINUX)


@pytest.fixture(scope="module")
def windows() -> bytes:
    return built(WINDOWS)


def compiled(tmp_path: Path, source: str, *flags: str) -> bytes:
    """A small library, to see refused."""
    compiler = needs.program("g++", "g++")
    file = tmp_path / "wrong.cpp"
    file.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", *flags, str(file), "-o", str(tmp_path / "wrong.so")], check=True)
    return (tmp_path / "wrong.so").read_bytes()


ALL_OF_THE_API = "".join(f'extern "C" short {name}() {{ return 0; }}\n' for name in sorted(API))


def test_the_linux_library_exports_the_api_alone_and_runs_on_old_systems(linux: bytes) -> None:
    binary = inspect(linux, name="ours")
    assert binary.platform == "LINUX"
    assert binary.exports <= API and len(binary.exports) >= 11
    assert binary.glibc is not None and binary.glibc <= GLIBC == (2, 28)
    check_extension(binary, name="ours")
    # Nothing to be found on the server but the system's own libraries: ONNX Runtime is opened by path, from the package.
    assert {name.partition(".so")[0] for name in binary.needs} <= {
        "libc",
        "libm",
        "libdl",
        "libpthread",
        "ld-linux-x86-64",
        "librt",
    }


def test_binutils_see_the_same_exports(linux: bytes) -> None:
    needs.program("nm", "binutils")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(LINUX)], capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[2].partition("@")[0] for line in listed.splitlines()} == inspect(linux, name="ours").exports


@pytest.mark.nightly
def test_the_windows_library_exports_the_same(linux: bytes, windows: bytes) -> None:
    binary = inspect(windows, name="ours")
    assert binary.platform == "WINDOWS"
    assert binary.exports == inspect(linux, name="ours").exports
    system = {"kernel32.dll", "advapi32.dll", "ntdll.dll", "msvcrt.dll", "shell32.dll", "ws2_32.dll"}
    assert {name.lower() for name in binary.needs if not name.lower().startswith("api-ms-win-")} <= system


def test_onnx_runtime_of_the_wheel_runs_on_old_systems_too() -> None:
    runtime = installed_runtime()
    binary = inspect(runtime.library, name=runtime.name)
    assert binary.glibc is not None and binary.glibc <= GLIBC
    assert "OrtGetApiBase" in binary.exports


def test_the_package_holds_both_libraries_and_both_licences_and_is_the_same_every_time(linux: bytes) -> None:
    runtime = installed_runtime()
    package = pack(linux, runtime, "LINUX")
    assert pack(linux, runtime, "LINUX").content == package.content
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        assert archive.testzip() is None
        found = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in archive.infolist())
    assert found["libonnxextension.so"] == linux
    assert found[runtime.name] == runtime.library
    assert b"Apache License" in found["LICENSE.txt"]
    assert b"Copyright (c) Microsoft Corporation" in found["onnxruntime-LICENSE.txt"]
    assert len(found["onnxruntime-ThirdPartyNotices.txt"]) > 10_000
    linked = linked_licences("LINUX")
    assert {name: found[name] for name in linked} == linked
    assert len(found) == 5 + len(linked)


ZIGS = {
    "zig-LICENSE.txt": "LICENSE", "libcxx-LICENSE.txt": "lib/libcxx/LICENSE.TXT",
    "libcxxabi-LICENSE.txt": "lib/libcxxabi/LICENSE.TXT", "libunwind-LICENSE.txt": "lib/libunwind/LICENSE.TXT",
    "glibc-LICENSES.txt": "lib/libc/glibc/LICENSES", "mingw-w64-COPYING.txt": "lib/libc/mingw/COPYING",
}  # fmt: skip


def test_the_licences_of_what_zig_links_are_those_that_came_with_it() -> None:
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        pytest.skip("ziglang is not installed: `pip install 'onnx-pipeline[extension]'`")
    folder = Path(found.origin).parent
    ours = linked_licences("LINUX") | linked_licences("WINDOWS")
    assert ours == {name: (folder / path).read_bytes() for name, path in ZIGS.items()}
    assert b"LLVM Exceptions" in ours["libcxx-LICENSE.txt"]


def test_the_size_in_the_documentation_is_that_of_a_package(linux: bytes) -> None:
    """To a tenth: ONNX Runtime's releases differ by some hundred kilobytes."""
    page = (ROOT / "docs" / "external-language.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^registered external language .*: ([\d,]+) bytes$", page, re.MULTILINE)
    size = len(pack(linux, installed_runtime(), "LINUX").content)
    assert int(shown.replace(",", "")) == pytest.approx(size, rel=0.1), f"write {size:,}"


def test_what_is_unpacked_from_the_package_scores(linux: bytes, tmp_path: Path) -> None:
    """As on a server: nothing but the folder that the package was unpacked into."""
    with zipfile.ZipFile(io.BytesIO(pack(linux, installed_runtime(), "LINUX").content)) as archive:
        archive.extractall(tmp_path)
    loaded = Extension(tmp_path / "libonnxextension.so")
    loaded.init()
    with loaded.session([Column("x", REAL)], models.matrix_sum(1)) as session:
        assert session.execute([[1.5, None]])[0].values == [1.5, None]
    loaded.cleanup()


def test_a_library_that_lacks_a_function_or_exports_more_is_refused(tmp_path: Path) -> None:
    lacking = compiled(tmp_path, ALL_OF_THE_API.replace("Execute", "execute"), "-static-libstdc++")
    with pytest.raises(ExtensionPackageError, match="does not export Execute"):
        check_extension(inspect(lacking, name="wrong.so"), name="wrong.so")
    more = compiled(tmp_path, ALL_OF_THE_API + 'extern "C" int leaked() { return 1; }')
    with pytest.raises(ExtensionPackageError, match="leaked besides the API"):
        check_extension(inspect(more, name="wrong.so"), name="wrong.so")


def test_a_library_for_a_newer_c_library_is_refused() -> None:
    newer = Binary("LINUX", API, frozenset(), (2, 34))
    with pytest.raises(ExtensionPackageError, match=r"glibc 2\.34.*2\.28.*make extension"):
        check_runtime(newer, name="libonnxextension.so")
    private = Binary("LINUX", API, frozenset(), (999,))
    with pytest.raises(ExtensionPackageError, match="glibc"):
        check_extension(private, name="libonnxextension.so")


def test_the_symbol_versions_of_a_library_built_here_are_those_that_binutils_see(tmp_path: Path) -> None:
    needs.program("objdump", "binutils")
    data = compiled(
        tmp_path,
        '#include <cmath>\n#include <cstdio>\nextern "C" double f(double x) { std::puts("x"); return std::pow(x, x); }',
    )
    listed = subprocess.run(
        ["objdump", "-T", str(tmp_path / "wrong.so")], capture_output=True, text=True, check=True
    ).stdout
    versions = [
        tuple(map(int, word.strip("()").removeprefix("GLIBC_").split(".")))
        for word in listed.split()
        if "GLIBC_2" in word
    ]
    assert inspect(data, name="x").glibc == max(versions)


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF rubbish", b"MZ rubbish", b"\x7fELF\x02\x01\x01" + b"\0" * 90])
def test_bytes_that_are_no_library_are_refused(data: bytes) -> None:
    with pytest.raises(ExtensionPackageError, match="thing"):
        inspect(data, name="thing")


@pytest.mark.nightly
def test_a_library_for_the_other_platform_is_refused(linux: bytes, windows: bytes) -> None:
    runtime = installed_runtime()
    with pytest.raises(ExtensionPackageError, match="is a library for WINDOWS, and the package is for LINUX"):
        pack(windows, runtime, "LINUX")
    with pytest.raises(ExtensionPackageError, match="is a library for LINUX, and the package is for WINDOWS"):
        pack(windows, Runtime("onnxruntime.dll", runtime.library, {}), "WINDOWS")


@pytest.mark.nightly
def test_a_windows_package_takes_its_runtime_from_a_wheel(windows: bytes, tmp_path: Path) -> None:
    wheel = tmp_path / "onnxruntime-1.0-cp311-cp311-win_amd64.whl"
    members = {
        "onnxruntime/capi/onnxruntime.dll": windows,
        "onnxruntime/LICENSE": b"MIT",
        "onnxruntime/ThirdPartyNotices.txt": b"all",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    package = pack(windows, runtime_of_wheel(wheel, "WINDOWS"), "WINDOWS")
    assert [name for name, _ in package.files] == [
        "LICENSE.txt", "libcxx-LICENSE.txt", "libcxxabi-LICENSE.txt", "libunwind-LICENSE.txt", "mingw-w64-COPYING.txt",
        "onnxextension.dll", "onnxruntime-LICENSE.txt", "onnxruntime-ThirdPartyNotices.txt", "onnxruntime.dll",
        "zig-LICENSE.txt",
    ]  # fmt: skip
    with pytest.raises(ExtensionPackageError, match="holds 0 libraries of ONNX Runtime for LINUX"):
        runtime_of_wheel(wheel, "LINUX")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("onnxruntime/capi/onnxruntime.dll", windows)
    with pytest.raises(ExtensionPackageError, match=r"lacks LICENSE, ThirdPartyNotices\.txt"):
        runtime_of_wheel(wheel, "WINDOWS")
    with pytest.raises(ExtensionPackageError, match="cannot be read as a wheel"):
        runtime_of_wheel(tmp_path, "WINDOWS")


def test_a_wheel_of_a_release_that_answers_wrongly_is_not_packed(tmp_path: Path) -> None:
    wheel = tmp_path / "onnxruntime.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("onnxruntime-1.26.0.dist-info/METADATA", "")
    with pytest.raises(RuntimeUnavailableError, match=r"onnxruntime\.whl is ONNX Runtime 1\.26\.0, which silently"):
        runtime_of_wheel(wheel, "WINDOWS")


def test_the_command_writes_a_package_that_can_be_read_back(command: Command, linux: bytes, tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "a.zip", tmp_path / "b.zip"
    for output in (first, second):
        done = command("extension", "package", "--output", str(output))
        assert done.code == 0, done.error
        assert "libonnxextension.so" in done.out and "sha256" in done.out
    assert first.read_bytes() == second.read_bytes()
    assert read_package(first).file_name == "libonnxextension.so"


def test_the_command_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    done = command("extension", "package", "--library", str(tmp_path / "none.so"), "--output", str(tmp_path / "x.zip"))
    assert done.code == 1 and "none.so cannot be read" in done.error
    done = command("extension", "package", "--platform", "solaris")
    assert done.code == 1 and "must be linux or windows" in done.error
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no"), (b"no zip", "is no package"), ({"a.txt": b"a"}, "no library of ours")],
)
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes | dict[str, bytes] | None, message: str) -> None:
    path = tmp_path / "package.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(ExtensionPackageError, match=message):
        read_package(path)


def test_a_package_without_onnx_runtime_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    library = compiled(tmp_path, ALL_OF_THE_API)
    for names, whole in ((["LICENSE.txt"], False), (["libonnxruntime.so.1.32.0"], True)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("libonnxextension.so", library)
            for name in names:
                archive.writestr(name, b"")
        if whole:
            assert read_package(path).file_name == "libonnxextension.so"
        else:
            with pytest.raises(ExtensionPackageError, match="holds no ONNX Runtime beside libonnxextension.so"):
                read_package(path)


def test_a_package_whose_bytes_were_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("libonnxextension.so", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    start = 30 + len("libonnxextension.so")  # behind the header of the only file
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ExtensionPackageError, match="is no package"):
        read_package(path)


def test_the_library_that_tests_drive_and_the_packed_one_are_of_one_source(linux: bytes, library: Path) -> None:
    for path in (LINUX, library):
        assert ctypes.CDLL(str(path)).GetInterfaceVersion() == 2
    assert inspect(library.read_bytes(), name="native").exports == inspect(linux, name="linux").exports
