"""A lock on a file that dies with its owner, and says who that is.

The operating system releases it when the process ends, however it ends: nothing to clean up after kill -9.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from onnx_pipeline.base.errors import PoolBusyError, PoolError

__all__ = ["hold"]

_logger = logging.getLogger(__name__)

_TELL_AFTER_SECONDS = 3.0


@contextmanager
def hold(path: Path, *, timeout: float, purpose: str) -> Iterator[float]:
    """Hold the lock beside `path`; yields the seconds of `timeout` that are left.

    Raises `PoolBusyError`, naming the holder, where the lock is not free within `timeout` seconds, and `PoolError`
    where the folder lets nobody lock.
    """
    lock_path = path.with_name(path.name + ".lock")
    holder_path = path.with_name(path.name + ".holder")
    started = time.monotonic()
    # Not re-entrant on purpose: two threads of one process exclude each other like two processes.
    lock = FileLock(lock_path, thread_local=False)
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=min(_TELL_AFTER_SECONDS, timeout))
        except Timeout:
            _logger.warning("waiting up to %.0f s for %s, held by %s", timeout, path, _holder(holder_path))
            lock.acquire(timeout=max(0.0, timeout - _TELL_AFTER_SECONDS), poll_interval=0.1)
    except Timeout as error:
        raise PoolBusyError(
            f"{path} was still held by {_holder(holder_path)} after {timeout:.0f} s, so nothing was done. "
            "Wait for it to end, or give the pool's URL a longer ?lock_timeout=<seconds>."
        ) from error
    except OSError as error:
        raise _unlockable(path, error) from error
    try:
        me = {"pid": os.getpid(), "command": Path(sys.argv[0]).name, "purpose": purpose, "since": time.time()}
        try:
            holder_path.write_text(json.dumps(me))
        except OSError as error:
            raise _unlockable(path, error) from error
        yield max(0.0, timeout - (time.monotonic() - started))
    finally:
        holder_path.unlink(missing_ok=True)
        lock.release()


def _unlockable(path: Path, error: OSError) -> PoolError:
    return PoolError(
        f"{path} cannot be locked ({error}): a lock and a note of who holds it are written beside it. Free space on "
        "that disk or let this user write to the folder."
    )


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        # It was released, or is being written, at this very moment.
        return "another process"
    since = time.time() - holder["since"]
    return f"process {holder['pid']} ({holder['command']}: {holder['purpose']}, for {since:.0f} s)"
