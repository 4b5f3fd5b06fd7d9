"""What a shared library exports and asks of the system, read from the file itself: nothing of it runs.

ELF: symbol versions are chapter 10 of the Linux Standard Base's core specification. Windows: the export and import
directories of the PE format.
"""

import io
from dataclasses import dataclass

from onnx_pipeline.base.errors import ExtensionPackageError

__all__ = ["API", "GLIBC", "Binary", "check_extension", "check_runtime", "inspect"]

_REQUIRED = frozenset(
    {
        "GetInterfaceVersion", "Init", "InitSession", "InitColumn", "InitParam", "Execute", "GetResultColumn",
        "GetResults", "GetOutputParam", "CleanupSession", "Cleanup",
    }
)  # fmt: skip
_OPTIONAL = frozenset({"InstallExternalLibrary", "UninstallExternalLibrary", "GetTelemetryResults", "SetHostCallbacks"})
API = _REQUIRED | _OPTIONAL
"""The functions of SQL Server's extensibility API."""
GLIBC = (2, 28)
"""The oldest C library that SQL Server 2019 and later run on: Red Hat Enterprise Linux 8; Ubuntu 20.04 has 2.31."""


@dataclass(frozen=True)
class Binary:
    """A shared library."""

    platform: str
    """`LINUX` or `WINDOWS`, as CREATE EXTERNAL LANGUAGE spells them."""
    exports: frozenset[str]
    needs: frozenset[str]
    """The libraries that it names."""
    glibc: tuple[int, ...] | None
    """The newest symbol version of the C library that it asks for; None where it asks for none."""


def inspect(data: bytes, *, name: str) -> Binary:
    """What a library is; ExtensionPackageError for bytes that are none for 64-bit x86."""
    if data[:4] == b"\x7fELF":
        return _elf(data, name)
    if data[:2] == b"MZ":
        return _pe(data, name)
    raise ExtensionPackageError(
        f"{name} is neither an ELF nor a PE file, so it is no library; build it by `make extension`"
    )


def _elf(data: bytes, name: str) -> Binary:
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection
    from elftools.elf.sections import SymbolTableSection

    try:
        file = ELFFile(io.BytesIO(data))
        if file.get_machine_arch() != "x64":
            raise ExtensionPackageError(f"{name} is built for {file.get_machine_arch()}; SQL Server runs on x64 alone")
        exports: set[str] = set()
        needs: set[str] = set()
        versions: list[tuple[int, ...]] = []
        for section in file.iter_sections():
            if isinstance(section, SymbolTableSection) and section.name == ".dynsym":
                exports |= {symbol.name for symbol in section.iter_symbols() if _is_exported(symbol)}
            elif isinstance(section, DynamicSection):
                needs |= {str(tag.needed) for tag in section.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}  # type: ignore[attr-defined]
            elif isinstance(section, GNUVerNeedSection):
                wanted = [entry.name for _, entries in section.iter_versions() for entry in entries]
                versions += [_number(version) for version in wanted if version.startswith("GLIBC_")]
    except ELFError as error:
        raise ExtensionPackageError(f"{name} is damaged: {error}; build it again by `make extension`") from error
    return Binary("LINUX", frozenset(exports), frozenset(needs), max(versions, default=None))


def _is_exported(symbol: object) -> bool:
    entry = symbol.entry  # type: ignore[attr-defined]  # pyelftools has no types
    return (
        entry["st_shndx"] != "SHN_UNDEF"
        and entry["st_info"]["bind"] in ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")
        and entry["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
        # The nodes of a version script are absolute symbols.
        and entry["st_shndx"] != "SHN_ABS"
    )


def _number(version: str) -> tuple[int, ...]:
    text = version.removeprefix("GLIBC_")
    # GLIBC_PRIVATE and the like belong to one build of the C library, and so to no other.
    return tuple(int(part) for part in text.split(".")) if text[0].isdigit() else (999,)


def _pe(data: bytes, name: str) -> Binary:
    import pefile

    try:
        file = pefile.PE(data=data)
    except pefile.PEFormatError as error:
        raise ExtensionPackageError(f"{name} is damaged: {error}; build it again by `make extension`") from error
    if file.FILE_HEADER.Machine != pefile.MACHINE_TYPE["IMAGE_FILE_MACHINE_AMD64"]:
        raise ExtensionPackageError(f"{name} is built for another machine; SQL Server runs on x64 alone")
    directory = getattr(file, "DIRECTORY_ENTRY_EXPORT", None)
    exports = {symbol.name.decode() for symbol in directory.symbols if symbol.name} if directory else set()
    imported = getattr(file, "DIRECTORY_ENTRY_IMPORT", [])
    return Binary("WINDOWS", frozenset(exports), frozenset(entry.dll.decode() for entry in imported), None)


def check_extension(binary: Binary, *, name: str) -> None:
    """Raises ExtensionPackageError for a library that a server could not load, or that exports more than the API."""
    missing = sorted(_REQUIRED - binary.exports)
    if missing:
        raise ExtensionPackageError(f"{name} does not export {', '.join(missing)}, so SQL Server would refuse it")
    extra = sorted(binary.exports - API)
    if extra:
        raise ExtensionPackageError(
            f"{name} exports {', '.join(extra[:5])}{' and more' if len(extra) > 5 else ''} besides the API, which may "
            "clash with the host's own; link it with the version script in extension/"
        )
    check_runtime(binary, name=name)


def check_runtime(binary: Binary, *, name: str) -> None:
    """Raises ExtensionPackageError for a library that needs a newer C library than servers have."""
    if binary.glibc is not None and binary.glibc > GLIBC:
        found, allowed = (".".join(map(str, version)) for version in (binary.glibc, GLIBC))
        raise ExtensionPackageError(
            f"{name} asks for glibc {found} and SQL Server runs on systems with {allowed}; build it by `make "
            "extension`, which compiles for the old one"
        )
