"""`tools/install.py [--uv UV] PYTHON ARGUMENTS...`: that Python's `pip install ARGUMENTS`, which says how far it is.

pip prints 300 lines and then nothing for as long as it writes packages, a minute or three; uv prints nothing while it
downloads, except on a terminal. This prints what is large enough to wait for and, where nothing else was said for some
seconds, how far it is. It is run by whatever Python there is, before anything is installed.
"""

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO

_QUIET_SECONDS = 5.0
_FETCHES = re.compile(r"\s*(?P<how>Downloading|Using cached) (?P<name>[^-\s]+)-\S+ \((?P<size>[\d.]+ .?B)\)")
_LARGE = re.compile(r"(\d{2,}|[5-9])(\.\d+)? [MG]B")
_KEPT = 40
"""Of what pip said, the lines that are shown when it fails."""


class Progress:
    """How far an installer is, from pip's lines and from what lies in the environment."""

    def __init__(self, python: Path) -> None:
        """`python` is that of the environment that packages are installed into."""
        self._environment = python.parent.parent
        self._begun = self._told = time.monotonic()
        self._before = self._lying()
        self._found = 0
        self._expected = 0
        self._fetched = ""

    def read(self, line: str) -> str | None:
        """Take a line of pip's; what a person wants to know of it."""
        if line.startswith("Collecting "):
            self._found += 1
        elif match := _FETCHES.match(line):
            self._fetched = f"{match['name']} ({match['size']})"
            if match["how"] == "Downloading" and _LARGE.match(match["size"]):
                return f"downloading {self._fetched}"
        elif line.startswith("Installing collected packages: "):
            self._expected = line.count(",") + 1
            return f"{self._expected} packages are downloaded; writing them into {self._environment.name}"
        elif line.startswith("Successfully installed "):
            return f"{self._expected} packages are installed"
        return None

    def standing(self) -> str:
        """What it is at when it says nothing."""
        written = self._lying() - self._before
        if self._expected:
            return f"{min(written, self._expected)} of {self._expected} packages are written"
        if self._found:
            return f"{self._found} packages found{f', the last download was {self._fetched}' if self._fetched else ''}"
        return f"{written} packages are written" if written > 0 else "still finding and downloading packages"

    def silent(self) -> float:
        """Seconds since something was told."""
        return time.monotonic() - self._told

    def tell(self, text: str) -> None:
        """Say it, with the seconds since this began."""
        self._told = time.monotonic()
        print(f"    {round(time.monotonic() - self._begun):3d} s: {text}", flush=True)

    def _lying(self) -> int:
        return sum(1 for _ in self._environment.glob("lib/python*/site-packages/*.dist-info"))


def by_pip(python: str, arguments: list[str], *, quiet_seconds: float = _QUIET_SECONDS) -> int:
    """Run pip to its end; its exit status. Its errors go to stderr as they come."""
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    progress = Progress(Path(python))
    lines: queue.Queue[str | None] = queue.Queue()
    said: deque[str] = deque(maxlen=_KEPT)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, errors="replace") as pip:
        assert pip.stdout is not None
        reader = threading.Thread(target=_hand_on, args=(pip.stdout, lines))
        reader.start()
        while (line := _next(lines, quiet_seconds - progress.silent())) is not None:
            said.append(line)
            told = progress.read(line)
            if told or progress.silent() >= quiet_seconds:
                progress.tell(told or progress.standing())
        reader.join()
    if pip.returncode:
        sys.stdout.write("".join(said))
    return pip.returncode


def by_uv(uv: str, python: str, arguments: list[str], *, quiet_seconds: float = _QUIET_SECONDS) -> int:
    """Run uv to its end, which draws its own progress on a terminal; its exit status."""
    progress = Progress(Path(python))
    with subprocess.Popen([uv, "pip", "install", "--python", python, *arguments]) as installer:
        while True:
            try:
                return installer.wait(timeout=quiet_seconds)
            except subprocess.TimeoutExpired:
                if not sys.stderr.isatty():
                    progress.tell(progress.standing())


def _hand_on(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _next(lines: queue.Queue[str | None], seconds: float) -> str | None:
    """The next line; none at the end, and an empty one where none comes so soon."""
    try:
        return lines.get(timeout=max(0.0, seconds))
    except queue.Empty:
        return ""


if __name__ == "__main__":
    if sys.argv[1] == "--uv":
        sys.exit(by_uv(sys.argv[2], sys.argv[3], sys.argv[4:]))
    sys.exit(by_pip(sys.argv[1], sys.argv[2:]))
