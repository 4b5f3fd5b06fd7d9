"""The pool's file held by a program that knows nothing of us."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from onnx_pipeline.base.errors import PoolBusyError
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline_tests.faults.ward import Ward, until

SHELL = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@contextmanager
def shell(ward: Ward) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open in DuckDB until its standard input ends."""
    command = [sys.executable, "-c", SHELL, str(ward.pool.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.stdin is not None:
            process.stdin.close()


def test_a_run_waits_for_the_file_names_its_holder_and_goes_on_once_it_is_closed(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), shell(ward) as process:
        run = threading.Thread(target=ward.score, args=("replace", "first", "patient"))
        run.start()
        until(lambda: f"(PID {process.pid})" in caplog.text)
        assert run.is_alive()
        assert process.stdin is not None
        process.stdin.close()
        run.join(60)
    assert set(ward.assert_whole("replace").values()) == {"patient"}
    ward.assert_scored("replace", "first")


def test_a_killed_shell_holds_nothing(ward: Ward) -> None:
    with shell(ward) as process:
        process.kill()
        process.wait()
        ward.score("replace", "first", "after")
    ward.assert_scored("replace", "first")


def test_waiting_ends_after_the_lock_timeout_with_the_holders_process_and_nothing_done(ward: Ward) -> None:
    ward.score("replace", "first", "before")
    impatient = DuckDBPool.from_url(f"duckdb:///{ward.pool.path}?lock_timeout=0.5")
    with shell(ward) as process, pytest.raises(PoolBusyError) as raised:
        impatient.source(ward.spec("replace"))
    assert f"(PID {process.pid})" in str(raised.value)
    assert "lock_timeout" in str(raised.value)
    assert set(ward.assert_whole("replace").values()) == {"before"}
