"""What a machine may lack: a test that needs it is skipped with what to install, and fails in CI, which installs all of it."""

import importlib
import os
import shutil
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


def module(name: str, installs: str) -> ModuleType:
    """An optional module, a driver for one, which may also lack a library of the system; `installs` says what to do."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        lacking(f"{name} cannot be imported ({error}): {installs}")
