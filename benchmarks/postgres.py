"""A PostgreSQL server of this machine's own installation, on loopback, for as long as it is measured or tested."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.setting import LeftOut

__all__ = ["as_user", "make_cluster", "programs", "running_postgres", "server_command"]

_STARTS_WITHIN = 60.0


def programs() -> Path:
    """The folder of its programs: Debian's lies beside the path. Raises LeftOut where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise LeftOut("no PostgreSQL server is installed: apt-get install postgresql")
    return Path(on_path).parent


def as_user() -> dict[str, Any]:
    """Options of `subprocess` by which root starts it as the user of the package: it refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def make_cluster(folder: Path, *, user: str, password: str, database: str) -> Path:
    """A cluster in `folder` with one user and one database; its data folder."""
    data, secret = folder / "data", folder / "password"
    if as_user():
        shutil.chown(folder, "postgres", "postgres")
    secret.write_text(password)
    secret.chmod(0o644)
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", f"--pwfile={secret}", f"--username={user}"]
    for command, given in (
        (["initdb", f"--pgdata={data}", *options], None),
        (["postgres", "--single", "-D", str(data), "template1"], f"CREATE DATABASE {database};\n"),
    ):
        done = subprocess.run(
            [str(programs() / command[0]), *command[1:]], cwd=folder, input=given, text=True, capture_output=True,
            check=False, **as_user(),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    secret.unlink()
    return data


def server_command(data: Path, port: int) -> list[str]:
    """What runs the server, in the foreground."""
    settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={data.parent}")
    return [str(programs() / "postgres"), "-D", str(data), "-p", str(port), *(f"-c{setting}" for setting in settings)]


@contextlib.contextmanager
def running_postgres(folder: Path, *, user: str, password: str, database: str) -> Iterator[int]:
    """Run one in `folder`, which its user must be able to enter; its port."""
    data = make_cluster(folder, user=user, password=password, database=database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with (folder.parent / "postgres.log").open("wb") as log:
        server = subprocess.Popen(server_command(data, port), cwd=folder, stdout=log, stderr=log, **as_user())
    try:
        deadline = time.monotonic() + _STARTS_WITHIN
        ready = [str(programs() / "pg_isready"), "--host=127.0.0.1", f"--port={port}", "--quiet"]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError((folder.parent / "postgres.log").read_text())
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait(20)
