"""The workflows of GitHub, which nothing here can run: what they say has the form that GitHub reads, and names what is there."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the sources are an sdist's, which holds no workflows")


def read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    # `on` is true to YAML 1.1, and a key to GitHub.
    content: dict[str, Any] = yaml.safe_load(re.sub(r"^on:", '"on":', text, flags=re.MULTILINE))
    return content


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_github_can_read_it(path: Path) -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    jsonschema.validate(read(path), json.loads(schema.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_makes_only_what_the_makefile_has(path: Path) -> None:
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    steps = [step.get("run", "") for job in read(path)["jobs"].values() for step in job["steps"]]
    made = {target for step in steps for target in re.findall(r"\bmake ([\w./-]+)", step)}
    assert made and made <= targets


def test_the_two_commands_of_the_readme_are_tried_each_night_where_nothing_is_installed() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]
    (installs,) = (step["run"] for step in jobs["bare"]["steps"] if "apt-get" in step.get("run", ""))
    assert set(installs.partition("--no-install-recommends ")[2].split()) == {
        "ca-certificates", "python3", "python3-venv", "git", "make",
    }  # fmt: skip
    for job in ("bare", "macos"):
        commands = [step.get("run", "") for step in jobs[job]["steps"]]
        for target in ("run", "test"):
            assert any(command.startswith(f"env -u CI make {target}") for command in commands), job


def test_a_release_is_published_without_a_token_and_only_what_was_built_twice_alike() -> None:
    release = read(ROOT / ".github" / "workflows" / "release.yml")
    assert release["permissions"] == {"contents": "read"}
    assert release["jobs"]["pypi"]["permissions"] == {"id-token": "write"}
    assert {job: release["jobs"][job]["needs"] for job in ("pypi", "pages")} == {"pypi": "build", "pages": "build"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert any("diff --recursive first dist" in step.get("run", "") for step in release["jobs"]["build"]["steps"])
