"""`deploy/compose.yaml` and the GitHub workflows: valid by their published schemas, and in step with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from onnx_pipeline.pools.tsql.connections import parse_url

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
NIGHTLY = ROOT / ".github" / "workflows" / "nightly.yml"
WORKFLOWS = (WORKFLOW, NIGHTLY)


def content(path):
    return yaml.safe_load(path.read_text())


def check(schema, file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.compose-spec", COMPOSE), *(("vendor.github-workflows", workflow) for workflow in WORKFLOWS)],
    ids=lambda value: str(value)[-20:],
)
def test_the_file_is_valid_by_its_schema_and_a_wrong_one_would_not_be(schema, file, tmp_path):
    done = check(schema, file)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / file.name
    wrong.write_text(file.read_text().replace("image:", "imagge:").replace("runs-on:", "runson:"))
    assert check(schema, wrong).returncode == 1


@pytest.mark.parametrize("file", [COMPOSE, *WORKFLOWS], ids=lambda file: file.name)
def test_the_live_tests_url_is_one_that_the_pool_reads(file):
    """Encrypted, and without verification, because the container makes its certificate itself."""
    (url,) = set(re.findall(r"mssql\+mssqlpython://[^\"\n]+", file.read_text()))
    address = parse_url(re.sub(r"\$\{\{.*?\}\}|\$MSSQL_SA_PASSWORD", "0", url))
    assert (address.user, address.server, address.port, address.database) == ("sa", "127.0.0.1", 1433, "master")
    assert address.encrypt
    assert address.trust_server_certificate
    assert not address.options


def test_no_password_is_written_down():
    for name, service in content(COMPOSE)["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|KEYS|SECRET", variable):
                # From the shell alone. `:?` would ask for the secrets of services that are not started, too.
                assert value is None or re.fullmatch(r"\$\{\w+:-\}", value), f"{name}: {variable}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for live in (content(WORKFLOW)["jobs"]["live"], content(NIGHTLY)["jobs"]["sweeps"]):
        assert "${{" in live["services"]["sqlserver"]["env"]["MSSQL_SA_PASSWORD"]
        assert live["services"]["sqlserver"]["env"]["MSSQL_SA_PASSWORD"] in live["env"]["ONNX_PIPELINE_TEST_MSSQL"]


@pytest.mark.parametrize(
    ("workflow", "wanted"), [(WORKFLOW, {"lint", "test"}), (NIGHTLY, {"test-nightly", "bench"})], ids=["ci", "nightly"]
)
def test_what_a_workflow_runs_is_there(workflow, wanted):
    jobs = content(workflow)["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    asked = {command.split()[1] for command in commands if command.startswith("make ")}
    assert wanted <= asked <= targets
    # What CI runs in a container of its own installs the same libraries.
    (packages,) = {command.partition("--no-install-recommends ")[2] for command in commands if "unixodbc" in command}
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    said = {word for line in lines if not line.lstrip().startswith("#") for word in re.findall(r"[\w.+-]+", line)}
    assert set(packages.split()) <= said
    assert any("pytest onnx_pipeline_tests/live" in command for command in commands)


def test_the_sweeps_run_by_themselves_each_night():
    # `on` is true to YAML 1.1.
    assert content(NIGHTLY)[True]["schedule"]


def test_python_is_tested_at_both_ends():
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    text = (ROOT / "pyproject.toml").read_text()
    (supported,) = re.findall(r'requires-python = "(.+)"', text)
    tested = content(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert min(tested, key=Version) == "3.10"
    assert all(Version(version) in SpecifierSet(supported) for version in tested)
    assert Version("3.9") not in SpecifierSet(supported)
