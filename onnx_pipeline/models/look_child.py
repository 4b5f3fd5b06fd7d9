"""The process that looks at models, from inside: it imports NumPy, ONNX, ONNX Runtime and little of this package.

On Linux each look is a fork of it, which starts in milliseconds with the limits set and everything imported. Elsewhere
it looks by itself, and its parent starts another one after a crash; there the limit of memory is not enforced.
"""

import json
import os
import select
import signal
import sys
import traceback
from typing import Any

import numpy.random  # noqa: F401 - what a look imports late would be imported by each fork anew
import onnx.inliner
import onnx.numpy_helper  # noqa: F401

from onnx_pipeline.base.errors import OnnxPipelineError, OutOfMemoryError
from onnx_pipeline.models.inspection import inspect
from onnx_pipeline.models.providers import CPU
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["serve"]

_FORKS = sys.platform == "linux"
_IDLE_SECONDS = 30.0
"""It goes when nobody asked for so long: a service looks at models rarely."""
_MEMORY_ENDED = "std::bad_alloc"
"""What C++ says where no memory is left, which is how the parent knows it."""


class _Channel:
    """What was standard input and output; whatever else writes to either goes to standard error."""

    def __init__(self) -> None:
        self._in, self._out = os.dup(0), os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)

    def waits(self, seconds: float) -> bool:
        return bool(select.select([self._in], [], [], seconds)[0]) if os.name == "posix" else True

    def request(self) -> dict[str, Any] | None:
        length = self.read(4)
        found: dict[str, Any] | None = json.loads(self.read(int.from_bytes(length, "big"))) if length else None
        return found

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:
            count = os.readv(self._in, [view[done:]]) if hasattr(os, "readv") else self._read_into(view[done:])
            if not count:
                return b""
            done += count
        return bytes(data)

    def _read_into(self, view: memoryview) -> int:
        part = os.read(self._in, min(len(view), 2**20))
        view[: len(part)] = part
        return len(part)

    def answer(self, frame: dict[str, Any], payload: bytes = b"") -> None:
        head = json.dumps(frame | {"size": len(payload)}).encode()
        for part in (len(head).to_bytes(4, "big") + head, payload):
            view = memoryview(part)
            while view:
                view = view[os.write(self._out, view) :]


def serve() -> None:
    """Answers requests until there are none."""
    channel = _Channel()
    channel.answer({"ready": True})
    while channel.waits(_IDLE_SECONDS):
        request = channel.request()
        if request is None:
            return
        channel.answer({"taken": True})
        if not _FORKS:
            _look(request, channel)
            continue
        child = os.fork()
        if child == 0:
            try:
                _limit(request)
                _look(request, channel)
            except BaseException:  # noqa: BLE001 - a fork never returns to its parent's loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            _end_likewise(os.waitstatus_to_exitcode(status))


def _look(request: dict[str, Any], channel: _Channel) -> None:
    data = channel.read(request["size"])
    options = RuntimeOptions(
        providers=(CPU,),
        graph_optimization=request["graph_optimization"],
        intra_op_threads=1,
    )
    try:
        normalised, facts = inspect(data, source=request["source"], options=options)
    except (MemoryError, OutOfMemoryError) as error:
        sys.stderr.write(f"\n{error}\n{_MEMORY_ENDED}\n")
        sys.stderr.flush()
        os._exit(1)
    except OnnxPipelineError as error:
        channel.answer({"error": type(error).__name__, "message": str(error)})
    except Exception as error:  # noqa: BLE001 - a fault of this package: told with the model's name, and not kept
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}, line {where.lineno})"  # noqa: PTH119
        channel.answer({"error": "", "message": f"looking at {request['source']} failed: {told}; report it, please"})
    else:
        channel.answer({"facts": facts}, b"" if normalised is data else normalised)


def _limit(request: dict[str, Any]) -> None:
    """Memory, and processor time for the case that nobody is left to end an endless look."""
    import resource

    memory, seconds = int(request["memory"]), int(request["seconds"]) + 5
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _end_likewise(code: int) -> None:
    """As the look ended: the parent reads it off this process."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code if code > 0 else 1)
