"""The process that looks at models, from outside: started when needed, kept for the next look, ended by its limits.

Between the two go frames: a length of 4 bytes, a JSON object of that length, and `size` bytes of a model. Frames are
of this package on both sides; nothing of a model is run here.
"""

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from onnx_pipeline.base.errors import RuntimeUnavailableError
from onnx_pipeline.models import limits

__all__ = ["Death", "ask"]

_START_SECONDS = 60.0
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from onnx_pipeline.models.look_child import serve; serve()"
)
_ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A process with a single thread can be forked, and each thread takes address space from the limit."""
_OUT_OF_MEMORY = re.compile(r"bad_alloc|MemoryError|failed to allocate|cannot allocate memory", re.IGNORECASE)
_SAID = 160
"""Characters of its last line: an assertion says at its end what failed."""
_CUT_SHORT = {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"}
"""Sent by people and by the system, never by what a model does."""


@dataclass(frozen=True)
class Death:
    """How the process ended before it had an answer."""

    cause: str
    """`time`, `memory`, a signal's name, or an exit code in words."""
    said: str
    """The last line that it wrote, shortened."""
    processor_seconds: float = 0.0
    """Of `time`: for how long it had the processor."""

    @property
    def of_the_model(self) -> bool:
        """Whether the model itself did it, so that it would do it again."""
        return self.cause not in _CUT_SHORT


class _Process:
    """One such process. One look at a time."""

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        package = str(Path(__file__).parents[2])
        path = json.dumps([package, *(entry for entry in sys.path if entry and entry != package)])
        # -I: neither its environment nor the working directory says what it imports; -S: `path` is whole already.
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and code of our own
                [sys.executable, "-I", "-S", "-c", _CODE, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | _ALONE,
                bufsize=0,
                start_new_session=os.name == "posix",
            )
        except BaseException:
            self._errors.close()
            raise
        self._timed_out = False
        self._processor_seconds = float("inf")  # where its limit of processor time ended it
        self._heard = 0
        if not self._within(_START_SECONDS, self._read_frame):
            said = _last_line(self._written())
            self.close()
            raise OSError(said or f"it did not answer within {_START_SECONDS:.0f} s")

    def accepts(self, request: dict[str, Any], data: bytes) -> bool:
        """Whether it takes a request; one that had nothing to do for a while may have gone."""
        self._errors.seek(0, os.SEEK_END)
        self._heard = self._errors.tell()
        try:
            head = json.dumps(request | {"size": len(data)}).encode()
            self._write(len(head).to_bytes(4, "big") + head)
        except OSError:
            return False
        return bool(self._within(_START_SECONDS, self._read_frame))

    def answer(self, data: bytes, seconds: float) -> tuple[dict[str, Any] | Death, bytes]:
        """The answer to the request that it took, and the model in it; after a Death the process is gone."""

        def talk() -> tuple[dict[str, Any], bytes] | None:
            with suppress(BrokenPipeError):
                self._write(data)
            return self._read_frame()

        found: tuple[dict[str, Any], bytes] | None = self._within(seconds, talk)
        return (self._death(), b"") if found is None else found

    def close(self) -> None:
        """Ends it, and what it started."""
        self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self._process.wait()

    def _death(self) -> Death:
        written = self._written()
        said = _last_line(written)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        self.close()
        if self._timed_out or code == -getattr(signal, "SIGXCPU", 0):
            return Death("time", said, self._processor_seconds)
        if _OUT_OF_MEMORY.search(written):
            return Death("memory", said)
        if code is not None and code < 0:
            return Death(signal.Signals(-code).name, said)
        return Death(f"exit code {code}", said)

    def _within(self, seconds: float, action: Any) -> Any:
        """What the action gives; the process is killed after `seconds`, which ends whatever waits for it."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            return action()
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._processor_seconds = _processor_seconds(self._process.pid)
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                # Its session's group: the look that it forked, too. Not reaped yet, so that the number is its own.
                if self._process.returncode is None:
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self._process.stdin.write(view) :]

    def _read_frame(self) -> tuple[dict[str, Any], bytes] | None:
        """A frame and its payload; None where the process ended."""
        length = self._read(4)
        head = self._read(int.from_bytes(length, "big")) if length else None
        if not head:
            return None
        frame: dict[str, Any] = json.loads(head)
        payload = self._read(frame.get("size", 0))
        return None if payload is None else (frame, payload)

    def _read(self, size: int) -> bytes | None:
        assert self._process.stdout is not None
        parts = []
        while size:
            part = self._process.stdout.read(size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _written(self) -> str:
        """What it wrote to standard error since it took the request."""
        self._errors.seek(self._heard)
        return self._errors.read().decode(errors="replace")


def _processor_seconds(pid: int) -> float:
    """What the look had of the processor: the fork that looks, or the process where it forks none."""
    import psutil

    seconds = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in process.children(recursive=True) or [process]:
            times = one.cpu_times()
            seconds += times.user + times.system
    return seconds


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-_SAID:] if lines else ""


_lock = threading.Lock()
_idle: list[_Process] = []
_owner = os.getpid()
"""A fork of this process shares its pipes, and must not talk through them."""


def ask(request: dict[str, Any], data: bytes, *, seconds: float) -> tuple[dict[str, Any] | Death, bytes]:
    """What a process of its own says of the model, and the model in its answer.

    Raises RuntimeUnavailableError where no process can be started.
    """
    process = _take()
    if process is None or not process.accepts(request, data):
        if process is not None:
            process.close()
        process = _started(request, data)
    try:
        answer, payload = process.answer(data, seconds)
    except BaseException:
        process.close()
        raise
    if not isinstance(answer, Death):
        with _lock:
            _idle.append(process)
    return answer, payload


def _take() -> _Process | None:
    global _owner  # noqa: PLW0603 - which process this is
    with _lock:
        if _owner != os.getpid():
            _owner = os.getpid()
            _forgotten.extend(_idle)
            _idle.clear()
        return _idle.pop() if _idle else None


_forgotten: list[_Process] = []
"""Of the process that this one was forked from, which ends them."""


def _started(request: dict[str, Any], data: bytes) -> _Process:
    try:
        process = _Process()
    except OSError as error:
        raise RuntimeUnavailableError(
            f"no process could be started to look at the model in ({sys.executable or 'no Python interpreter is known'}"
            f": {error}). Let this user start processes; or, where every model is known to be harmless, set "
            f"{limits.TRUST}=true, and models are loaded in this process unseen"
        ) from error
    if not process.accepts(request, data):
        process.close()
        raise RuntimeUnavailableError("the process that looks at models ended before it was given one; try again")
    return process


@atexit.register
def _end_all() -> None:
    if _owner == os.getpid():
        while _idle:
            _idle.pop().close()
