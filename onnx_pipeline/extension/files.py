"""Where the parts of a package lie: our library as `make extension` built it, ONNX Runtime as its wheel brings it."""

import importlib.metadata
import importlib.resources
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx_pipeline.base.errors import ExtensionPackageError
from onnx_pipeline.models.runtime_versions import check_version

__all__ = [
    "BUILT",
    "FILE_NAMES",
    "RUNTIME_NAMES",
    "Runtime",
    "built_library",
    "installed_runtime",
    "linked_licences",
    "our_licence",
    "runtime_of_wheel",
]

_CHECKOUT = Path(__file__).parents[2]

FILE_NAMES = {"LINUX": "libonnxextension.so", "WINDOWS": "onnxextension.dll"}
"""Our library by platform: FILE_NAME in CREATE EXTERNAL LANGUAGE."""
BUILT = Path("build") / "extension"
"""Where `make extension` leaves it, one folder per platform, in the checkout."""

RUNTIME_NAMES = {
    "LINUX": re.compile(r"libonnxruntime\.so[.\d]*"),
    "WINDOWS": re.compile(r"onnxruntime\.dll"),
}
"""ONNX Runtime's library by platform, as our library looks for it beside itself."""
_CAPI = "onnxruntime/capi/"
_WHEEL_INFO = re.compile(r"onnxruntime\w*-(?P<version>[^/]+)\.dist-info/METADATA")
_LICENCES = {"LICENSE": "onnxruntime-LICENSE.txt", "ThirdPartyNotices.txt": "onnxruntime-ThirdPartyNotices.txt"}

_LINKED = ("libcxx-LICENSE.txt", "libcxxabi-LICENSE.txt", "libunwind-LICENSE.txt", "zig-LICENSE.txt")
"""Of the C++ runtime, and of Zig for its compiler-rt."""
_LINKED_FOR = {"LINUX": ("glibc-LICENSES.txt",), "WINDOWS": ("mingw-w64-COPYING.txt",)}
"""Of the C library's start-up code, which is linked where the C library itself is the system's."""


@dataclass(frozen=True)
class Runtime:
    """ONNX Runtime for one platform."""

    name: str
    """The library's file name, as our library looks for it."""
    library: bytes
    licences: dict[str, bytes]
    """File name in the package → text; redistributing the library asks for them."""


def built_library(platform: str) -> Path:
    """Our library for a platform; ExtensionPackageError where it was not built."""
    path = _CHECKOUT / BUILT / platform.lower() / FILE_NAMES[platform]
    if not path.exists():
        raise ExtensionPackageError(
            f"there is no {path}; build it by `make extension` in the checkout, or name one by --library"
        )
    return path


def our_licence() -> bytes:
    """The licence of this package: in the checkout, or among what its wheel installed."""
    file = _CHECKOUT / "LICENSE"
    if file.exists():
        return file.read_bytes()
    text = importlib.metadata.distribution("onnx-pipeline").read_text("licenses/LICENSE")
    if text is None:
        raise ExtensionPackageError("this installation of onnx-pipeline has lost its LICENSE; install it again")
    return text.encode()


def linked_licences(platform: str) -> dict[str, bytes]:
    """The licences of what Zig links into our library, by their file names in the package."""
    folder = importlib.resources.files("onnx_pipeline.extension") / "licences"
    return {name: (folder / name).read_bytes() for name in (*_LINKED, *_LINKED_FOR[platform])}


def installed_runtime() -> Runtime:
    """ONNX Runtime of this installation, which must be Linux's."""
    import onnxruntime

    check_version(onnxruntime.__version__, where="the installed runtime")
    folder = Path(onnxruntime.__file__).parent
    found = {f"onnxruntime/{path.relative_to(folder).as_posix()}": path for path in folder.glob("capi/*")}
    texts = {f"onnxruntime/{name}": folder / name for name in _LICENCES}
    members = {name: path for name, path in (found | texts).items() if path.is_file()}
    return _runtime("LINUX", {name: path.read_bytes for name, path in members.items()}, str(folder))


def runtime_of_wheel(wheel: Path, platform: str) -> Runtime:
    """ONNX Runtime out of a wheel, for another platform than this one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            readers = {name: (lambda name=name: archive.read(name)) for name in archive.namelist()}
            for name in readers:
                if (found := _WHEEL_INFO.match(name)) is not None:
                    check_version(found["version"], where=str(wheel))
            return _runtime(platform, readers, str(wheel))
    except (OSError, zipfile.BadZipFile) as error:
        raise ExtensionPackageError(f"{wheel} cannot be read as a wheel of onnxruntime: {error}") from error


def _runtime(platform: str, readers: Mapping[str, Callable[[], bytes]], where: str) -> Runtime:
    wanted = RUNTIME_NAMES[platform]
    libraries = sorted(
        name for name in readers if name.startswith(_CAPI) and wanted.fullmatch(name.removeprefix(_CAPI))
    )
    if len(libraries) != 1:
        raise ExtensionPackageError(
            f"{where} holds {len(libraries)} libraries of ONNX Runtime for {platform} and not one; for a platform "
            "other than this one, fetch its wheel by `pip download --no-deps --only-binary :all: --platform win_amd64 "
            "onnxruntime` and name it by --wheel"
        )
    missing = [name for name in _LICENCES if f"onnxruntime/{name}" not in readers]
    if missing:
        raise ExtensionPackageError(
            f"{where} lacks {', '.join(missing)}, without which its library may not be passed on"
        )
    licences = {ours: readers[f"onnxruntime/{name}"]() for name, ours in _LICENCES.items()}
    return Runtime(libraries[0].rpartition("/")[2], readers[libraries[0]](), licences)
