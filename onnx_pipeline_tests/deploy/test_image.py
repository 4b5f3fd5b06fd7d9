"""`deploy/Dockerfile` and what `deploy/compose.yaml` makes of it. No engine runs here, so what a build needs is looked up."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from onnx_pipeline_tests.deploy.composed import COMPOSE, IMAGE, ROOT, image_environment, interpolated

OURS = ("tables", "code", "webserver", "daemon", "scoring")


def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


def instructions(file=IMAGE):
    """(instruction, its arguments), with continued lines joined."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_as_nobody_in_particular_on_a_root_that_it_cannot_write(service):
    found = services()[service]
    assert found["image"] == services()["code"]["image"], "one image for all of it"
    assert found["user"] == "10001:10001" == dict(instructions())["USER"]
    assert found["read_only"] is True
    assert found["tmpfs"] == ["/tmp"]
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert set(found.get("volumes", [])) <= {"data:/data"}


def test_whatever_stays_up_tells_whether_it_is_well():
    stay = {name for name, service in services().items() if service.get("restart") == "unless-stopped"}
    assert stay == {"postgres", *OURS} - {"tables"}
    assert all("healthcheck" in services()[name] for name in (*stay, "sqlserver"))


def test_what_is_written_lies_in_what_is_writable():
    """The image's root cannot be written, so every place of the environment is a volume or /tmp."""
    environment = image_environment()
    assert environment["DAGSTER_HOME"] == "/opt/dagster", "holds configuration only; test_production sees to it"
    assert {
        environment[name].split("/")[1] for name in ("DAGSTER_SCRATCH", "ONNX_PIPELINE_HOME", "ONNX_PIPELINE_CACHE")
    } <= {"tmp", "data"}
    assert services()["scoring"]["environment"]["ONNX_PIPELINE_CACHE"].startswith("/tmp/"), "it has no volume"


def test_every_variable_of_the_instance_is_given_to_each_process_that_reads_it():
    said = "".join((ROOT / "deploy" / "production" / name).read_text() for name in ("dagster.yaml", "workspace.yaml"))
    wanted = set(re.findall(r"\{env: (\w+)\}", said))
    for name in ("tables", "code", "webserver", "daemon"):
        assert wanted <= {*services()[name]["environment"], *image_environment()}, name


def test_the_profile_of_sql_server_starts_only_when_it_is_asked_for():
    assert [name for name, service in services().items() if service.get("profiles")] == ["sqlserver"]
    text = COMPOSE.read_text()
    assert "up --wait sqlserver" in text


def test_the_image_copies_what_is_there_and_what_is_not_kept_out():
    kept = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert kept[0] == "*"
    for instruction, arguments in instructions():
        if instruction == "COPY":
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in kept


def test_the_image_is_pinned_by_the_constraints_and_its_extras_exist():
    (install,) = [arguments for instruction, arguments in instructions() if "pip install" in arguments]
    assert "--constraint constraints.txt" in install
    (extras,) = re.findall(r"'\.\[(.+)\]'", install)
    (known,) = re.findall(
        r"\[project.optional-dependencies\]\n(.+?)\n\n\[", (ROOT / "pyproject.toml").read_text(), flags=re.DOTALL
    )
    assert set(extras.split(",")) <= set(re.findall(r"^([\w-]+) = \[", known, flags=re.MULTILINE))
    pinned = {re.split(r"[=<> ]", line)[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {"dagster-postgres", "psycopg2-binary", "dagster-k8s", "azure-mgmt-appcontainers"} <= pinned


def test_the_image_has_the_libraries_that_ci_installs():
    ((install,),) = [
        re.findall(r"--no-install-recommends ([\w. -]+?)  ", arguments)
        for _, arguments in instructions()
        if "apt-get" in arguments
    ]
    drivers = {"unixodbc", "libltdl7", "libkrb5-3", "libgssapi-krb5-2"}
    assert drivers <= set(install.split())
    (ci,) = re.findall(r"packages=\((.+)\)", (ROOT / ".ci" / "run").read_text())
    assert drivers <= set(ci.split())


def test_every_program_that_a_container_starts_is_installed_by_the_extras():
    programs = {service["command"][0] for name, service in services().items() if name in OURS}
    programs |= set(re.findall(r"(?:until|exec) ([\w-]+)", services()["code"]["command"][2]))
    beside = Path(sys.executable).parent
    assert all((beside / name).exists() or shutil.which(name) for name in programs), programs
    assert programs == {"dagster", "dagster-webserver", "dagster-daemon", "onnx-pipeline", "sh"}


def test_compose_interpolation_is_what_the_tests_make_of_it():
    shell = {"A": "1"}
    assert interpolated({"x": ["${A} ${B:-two} ${B:-} $$C"]}, shell) == {"x": ["1 two  $C"]}


@pytest.mark.nightly
def test_the_install_line_of_the_image_resolves_and_its_commands_work(tmp_path):
    """In an environment of its own, with the constraints: some minutes, and a GB of packages."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    (install,) = [arguments for instruction, arguments in instructions() if "pip install" in arguments]
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("sql", "onnx_pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    env = {**os.environ, "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(["sh", "-ec", install], cwd=tmp_path, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "constraints.sha256").read_text().endswith("  constraints.txt\n")
    for program in ("dagster", "dagster-webserver", "dagster-daemon", "onnx-pipeline"):
        subprocess.run([program, "--help"], cwd=tmp_path, env=env, check=True, capture_output=True)
