"""`onnxextension.zip`: our library, ONNX Runtime's, and all licences, for CREATE EXTERNAL LANGUAGE."""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from onnx_pipeline.base.errors import ExtensionPackageError
from onnx_pipeline.extension.binaries import check_extension, check_runtime, inspect
from onnx_pipeline.extension.files import FILE_NAMES, RUNTIME_NAMES, Runtime, linked_licences, our_licence

__all__ = ["Package", "pack", "read_package"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: no clock goes into the bytes."""


@dataclass(frozen=True)
class Package:
    """A package as bytes, and what is in it."""

    platform: str
    content: bytes
    files: tuple[tuple[str, int], ...]
    """Name and size of each file."""

    @property
    def file_name(self) -> str:
        """The library that the server is to load."""
        return FILE_NAMES[self.platform]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def pack(library: bytes, runtime: Runtime, platform: str) -> Package:
    """Checks the libraries and packs them; the same parts give the same bytes.

    Raises ExtensionPackageError for a library that a server could not load.
    """
    name = FILE_NAMES[platform]
    ours, theirs = inspect(library, name=name), inspect(runtime.library, name=runtime.name)
    for binary, which in ((ours, name), (theirs, runtime.name)):
        if binary.platform != platform:
            raise ExtensionPackageError(
                f"{which} is a library for {binary.platform}, and the package is for {platform}"
            )
    check_extension(ours, name=name)
    check_runtime(theirs, name=runtime.name)
    files = {
        name: library,
        runtime.name: runtime.library,
        "LICENSE.txt": our_licence(),
        **linked_licences(platform),
        **runtime.licences,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for file_name in sorted(files):
            entry = zipfile.ZipInfo(file_name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Unix, whatever packs it: a library that everybody may read and run.
            entry.create_system = 3
            entry.external_attr = (0o100755 if file_name in (name, runtime.name) else 0o100644) << 16
            archive.writestr(entry, files[file_name])
    return Package(
        platform, buffer.getvalue(), tuple((file_name, len(files[file_name])) for file_name in sorted(files))
    )


def read_package(path: Path) -> Package:
    """The package in a file, checked again; ExtensionPackageError for anything else."""
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except FileNotFoundError as error:
        raise ExtensionPackageError(f"there is no {path}; make it by `onnx-pipeline extension package`") from error
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ExtensionPackageError(
            f"{path} is no package: {error}; make it by `onnx-pipeline extension package`"
        ) from error
    platforms = [platform for platform, name in FILE_NAMES.items() if name in files]
    if len(platforms) != 1:
        held = " and ".join(FILE_NAMES[platform] for platform in platforms) or "no library of ours"
        raise ExtensionPackageError(
            f"{path} holds {held}, and a package holds one; make it by `onnx-pipeline extension package`"
        )
    name = FILE_NAMES[platforms[0]]
    check_extension(inspect(files[name], name=name), name=name)
    if not any(RUNTIME_NAMES[platforms[0]].fullmatch(file) for file in files):
        raise ExtensionPackageError(
            f"{path} holds no ONNX Runtime beside {name}, so no model would run; make it by "
            "`onnx-pipeline extension package`"
        )
    return Package(platforms[0], content, tuple((name, len(data)) for name, data in files.items()))
