"""The command line, in this process."""

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from onnx_pipeline.cli import main


class Done(NamedTuple):
    code: int
    out: str
    error: str


Command = Callable[..., Done]


@pytest.fixture
def command(project_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`command("pending", "--json")` as a person types it, with its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setenv("DAGSTER_HOME", str(project_home))
    handlers = list(logging.getLogger().handlers)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["onnx-pipeline", *arguments])
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error), warnings.catch_warnings():
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(int(ended.value.code or 0), out.getvalue(), error.getvalue())

    yield run
    logging.getLogger().handlers[:] = handlers
