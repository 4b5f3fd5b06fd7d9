"""Peak memory of this process, measured while it works."""

import resource
import sys
import threading
from pathlib import Path

from typing_extensions import Self

__all__ = ["PeakMemory"]

_STATUS = Path("/proc/self/status")
_EVERY_SECONDS = 0.02


class PeakMemory:
    """Samples anonymous memory (RssAnon): pages of mapped files do not count, which the kernel can drop at will.

    Where the kernel does not tell (macOS), the peak of the whole resident set stands in.
    """

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self.megabytes = max(self.megabytes, _anonymous())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.megabytes = max(self.megabytes, _anonymous())
        self._stop.set()
        self._thread.join()


def _anonymous() -> float:
    if not _STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    for line in _STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0
