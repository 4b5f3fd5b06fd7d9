"""`onnx-pipeline dev`: `dagster dev`, whose URL is what the terminal shows, once per folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.terminal import terminal

__all__ = ["Running", "free_port", "running_in", "start"]

_FIRST_PORT = 3000
_PORTS = 100
_RECORD, _LOCK = ".dev.json", ".dev.lock"


@dataclass(frozen=True)
class Running:
    """A user interface that runs, as its folder's record has it."""

    url: str
    pid: int

    @property
    def answers(self) -> bool:
        """Whether a Dagster webserver answers there."""
        try:
            # The URL is of our own record, and of this machine.
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=3) as answer:  # noqa: S310
                return "dagster_webserver_version" in json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except (OSError, ValueError):
            return False


def start(*, host: str, port: int | None, log_level: str) -> None:
    """Run Dagster's webserver and daemon until the process is told to stop.

    Raises SpecError where one of this folder runs already, with its URL and process, and for a port that is taken.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or paths.home())
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SpecError(_already(folder, running_in(folder))) from None
    with lock:
        left = running_in(folder)
        # Its own process was killed, and Dagster's went on.
        if left is not None and left.answers:
            raise SpecError(_already(folder, left))
        _run(folder, host, free_port(host, port), log_level)


def running_in(folder: Path) -> Running | None:
    """What a folder's record says; None where there is none that can be read."""
    try:
        return Running(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _already(folder: Path, running: Running | None) -> str:
    where = "" if running is None else f": {running.url}, process {running.pid}"
    return (
        f"a user interface of {folder} runs already{where}. Open that one; a second one's daemon would ask for every "
        "run twice. To start anew, end it by Ctrl+C in its terminal"
        + ("" if running is None else f", or by `kill {running.pid}`")
    )


def free_port(host: str, port: int | None) -> int:
    """`port`, or the first free one from 3000 on. Raises SpecError where it is taken, or the host is not ours."""
    for candidate in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if port is None else (port,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except socket.gaierror as error:
                raise SpecError(f"--host {host!r} is no address of this machine: {error}") from error
            except OSError as error:
                if port is not None:
                    raise SpecError(f"port {port} of {host} cannot be used: {error.strerror}. Name another") from error
                continue
        return candidate
    raise SpecError(f"no port of {host} from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1} is free; name one by --port")


def _run(folder: Path, host: str, port: int, log_level: str) -> None:
    console = terminal(soft_wrap=True)
    # Where it listens on every address, this machine's own name leads there.
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    url = f"http://{shown}:{port}"
    console.print(f"Starting the Dagster UI at {url}; it will be there in half a minute.")
    # Not `dg dev`, which needs more installed. Python is told that Dagster would rather have that.
    command = [sys.executable, "-W", "ignore:Function", "-m", "dagster", "dev", "--host", host, "--port", str(port)]
    # A shell's background job ignores SIGINT, and so would all that it starts: nothing would end Dagster then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # In a session of its own, so that Ctrl+C comes once, from here: Dagster ends its services in order then.
    process = subprocess.Popen([*command, "--log-level", log_level], start_new_session=True)  # noqa: S603 - our own
    running = Running(url, process.pid)
    record = folder / _RECORD
    record.write_text(json.dumps(asdict(running)), encoding="utf-8")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        while process.poll() is None and not running.answers:
            time.sleep(0.5)
        if process.poll() is None:
            console.print(f"The Dagster UI is at {url} (Ctrl+C ends it)")
        code = process.wait()
    except KeyboardInterrupt:
        console.print("Ending the Dagster UI and its daemon.")
        if os.name != "nt":  # There the console tells every process of it.
            process.send_signal(signal.SIGINT)
        process.wait()
        code = 0
    finally:
        record.unlink(missing_ok=True)
    raise SystemExit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
