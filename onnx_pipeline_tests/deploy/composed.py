"""The services of `deploy/compose.yaml` as plain processes, so that their commands and environment are those that run.

There is no container here. What stands for one: the image's environment, taken from `deploy/Dockerfile`; folders of the test
in place of the image's; free ports of this machine in place of the services' names and ports; and an end of every process
at once, as when a container ends.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import postgres
from benchmarks.setting import LeftOut
from onnx_pipeline_tests import needs

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
IMAGE = ROOT / "deploy" / "Dockerfile"
HEALTHY_SECONDS = 180.0
_PASSED_ON = ("LANG", "SSL_CERT_FILE")


def image_environment() -> dict[str, str]:
    """The `ENV` of the image."""
    text = IMAGE.read_text().replace("\\\n", " ")
    pairs = [pair for line in re.findall(r"^ENV (.+)$", text, flags=re.MULTILINE) for pair in line.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def interpolated(value: Any, shell: Mapping[str, str]) -> Any:
    """As Compose fills in `${NAME}` and `${NAME:-default}`, and writes `$` for `$$`."""
    if isinstance(value, dict):
        return {key: interpolated(inner, shell) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, shell) for inner in value]
    if not isinstance(value, str):
        return value

    def filled(match: "re.Match[str]") -> str:
        if match[0] == "$$":
            return "$"
        return shell.get(match["name"]) or match["default"] or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", filled, value)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs. Without them the test is skipped, and fails where CI runs it."""
    try:
        return postgres.programs()
    except LeftOut as reason:
        needs.lacking(f"the production instance was not tested: {reason}")


class Composition:
    """The deployment of one test."""

    def __init__(self, folder: Path, shell: Mapping[str, str], outside: Mapping[str, str]) -> None:
        """`shell` is the environment that Compose reads, `outside` what the network of the containers is for the test."""
        self.folder = folder
        self.services: dict[str, Any] = interpolated(yaml.safe_load(COMPOSE.read_text()), shell)["services"]
        self._shell, self._outside = shell, outside
        self._programs = postgres_programs()
        self.ports = {port: free_port() for port in ("3000", "4000", "5432", "8000")}
        for name in ("opt", "data", "tmp", "work", "postgres", "logs"):
            (folder / name).mkdir()
        shutil.copytree(ROOT / "deploy" / "production", folder / "opt" / "dagster")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A command's or variable's text for this machine."""
        folders = {"/opt/dagster": "opt/dagster", "/data": "data", "/tmp": "tmp"}
        places = {path: str(self.folder / there) for path, there in folders.items()} | {"/app": str(ROOT)}
        names = dict.fromkeys(("0.0.0.0", "code", "postgres"), "127.0.0.1")
        found = {**places, **{port: str(free) for port, free in self.ports.items()}, **names}
        pattern = r"(?<![\w.])(?:/opt/dagster|/data|/tmp|/app)(?=[/\"']|$)|\b(?:3000|4000|5432|8000)\b|\b0\.0\.0\.0\b"
        return re.sub(rf"{pattern}|\b(?:code|postgres)(?=:\d)", lambda match: found[match[0]], text)

    def environment(self, service: str) -> dict[str, str]:
        given = {**image_environment(), **(self.services[service].get("environment") or {})}
        values = {name: self._shell.get(name) if value is None else value for name, value in given.items()}
        hosts = {"DAGSTER_POSTGRES_HOST", "DAGSTER_CODE_HOST"}
        return {
            # What the image's environment has installed is here the environment of the tests.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(self._programs), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **{
                name: "127.0.0.1" if name in hosts else self.here(value)
                for name, value in values.items()
                if value is not None
            },
            **self._outside,
        }

    def run(self, service: str, command: Sequence[str], *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """What `docker compose exec` or `run` does: a command beside the service's own."""
        return subprocess.run(
            [self.here(word) for word in command], env=self.environment(service), cwd=self.folder / "work",
            timeout=timeout, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, service: str) -> None:
        """Start the container, without waiting."""
        assert service not in self.processes
        command = (
            self._postgres()
            if service == "postgres"
            else [self.here(word) for word in self.services[service]["command"]]
        )
        as_user = postgres.as_user() if service == "postgres" else {}
        with (self.folder / "logs" / service).open("ab") as log:
            self.processes[service] = subprocess.Popen(
                command, env=self.environment(service), cwd=self.folder / "work",
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **as_user,
            )  # fmt: skip

    def wait(self, service: str) -> None:
        """Until its healthcheck passes; `depends_on` waits for the same."""
        kind, *test = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        deadline, said = time.monotonic() + HEALTHY_SECONDS, ""
        while time.monotonic() < deadline:
            code = self.processes[service].poll()
            assert code is None, f"{service} ended with {code}: {self.log(service)[-3000:]}"
            done = self.run(service, test)
            if done.returncode == 0:
                return
            said = done.stdout
            time.sleep(0.3)
        raise AssertionError(f"{service} is not healthy: {said[-1000:]}\n{self.log(service)[-3000:]}")

    def up(self, *services: str) -> None:
        """Start them in the order of the file, each once what it depends on is there."""
        for service in services:
            waits = self.services[service].get("depends_on", {})
            for other, condition in waits.items():
                if condition["condition"] == "service_completed_successfully":
                    done = self.run(other, self.services[other]["command"])
                    assert done.returncode == 0, done.stdout[-3000:]
                else:
                    self.wait(other)
            self.start(service)

    def kill(self, service: str) -> None:
        """`kill -9` of its first process, with which the container and all that runs in it end."""
        process = self.processes.pop(service)
        end([psutil.Process(process.pid)])
        process.wait()

    def log(self, service: str) -> str:
        return (self.folder / "logs" / service).read_text()

    def _postgres(self) -> list[str]:
        """What the image's entry point makes of POSTGRES_...: a cluster at the first start, and then the server."""
        environment, data = self.services["postgres"]["environment"], self.folder / "postgres" / "data"
        if not data.exists():
            user, password, database = (environment[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
            postgres.make_cluster(data.parent, user=user, password=password, database=database)
        return postgres.server_command(data, self.ports["5432"])


def end(processes: Sequence[psutil.Process]) -> None:
    """Kill them with all that they started, and wait until all are gone."""
    family = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [process, *process.children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [member for member in alive if member.is_running() and member.status() != psutil.STATUS_ZOMBIE], alive


@contextlib.contextmanager
def composition(folder: Path, shell: Mapping[str, str], outside: Mapping[str, str]) -> Iterator[Composition]:
    """The deployment, whose processes end with the test."""
    made = Composition(folder, shell, outside)
    try:
        yield made
    finally:
        for service in list(made.processes):
            made.kill(service)
