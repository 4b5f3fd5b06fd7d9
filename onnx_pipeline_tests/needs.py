"""What a machine may lack: a test that needs it is skipped with what to install, and fails in CI, which installs all of it."""

import ctypes
import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Leave the test out; `reason` says what is missing and what installs it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, package: str) -> str:
    """The path of a program, which Debian's `package` installs."""
    found = shutil.which(name)
    if found is None:
        lacking(f"there is no {name} here: apt-get install {package}, or what this system calls it, turns this test on")
    return found


def package(name: str, packages: str, libraries: Sequence[str] = ()) -> ModuleType:
    """A package of Python's whose libraries of the system Debian's `packages` have; `libraries` it loads only later."""
    try:
        if sys.platform == "linux":
            for library in libraries:
                ctypes.CDLL(library)
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        lacking(
            f"{name} cannot be loaded ({error}): `make test` installs it, and apt-get install {packages}, or what this "
            "system calls them, what it loads"
        )


_DRIVERS = {
    "pyodbc": ("unixodbc", ("libodbc.so.2",)),
    "mssql_python": ("libltdl7 libkrb5-3 libgssapi-krb5-2", ("libltdl.so.7", "libkrb5.so.3", "libgssapi_krb5.so.2")),
}
"""Debian's packages with what a database driver loads, and what that is."""


def driver(name: str) -> ModuleType:
    """A database driver: the module, with the system's libraries that it loads, some of them when it connects."""
    return package(name, *_DRIVERS[name])
