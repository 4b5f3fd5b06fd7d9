"""What `make` says and does, in a folder of its own, with installers that only write down what they are asked for."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from onnx_pipeline_tests import conftest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def script(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """The Makefile, and a `.venv` whose Python writes down pip's arguments and is else the one that runs this."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "dagster.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    asked = f'if [ "$2" = pip ]; then echo "pip: $*" >> {folder}/asked; exit; fi'
    script(folder / ".venv" / "bin" / "python", asked, f'exec {sys.executable} "$@"')
    return folder


def make(folder, *arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "DAGSTER_HOME")}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=folder, env=kept | environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_help_lists_every_target_with_what_it_does():
    lines = make(ROOT, "help").splitlines()
    told = dict(re.fullmatch(r"make ([a-z-]+) +(\S.*)", line).groups() for line in lines)
    assert told.keys() == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_contributing_names_no_target_that_is_not_there():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "extension" / "README.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= TARGETS, page


def test_installing_is_told_and_shown(checkout):
    said = make(checkout, ".venv/.dev-installed", "UV=").splitlines()
    assert said[0].startswith("==> Installing onnx_pipeline and what it runs on into .venv: about 1")
    assert said[1].startswith(
        "==> Installing drivers, Azure's clients, Spark and what tests and benchmarks need into .venv"
    )
    assert asked(checkout) == ["ui", "ui,azure,metrics,mssql,serving,remote,spark,kubernetes,container-apps,test"]


@pytest.mark.parametrize(
    ("stamp", "extras"), [("run", ["ui"]), ("docs", ["ui", "docs"]), ("dist", ["ui", "dist"]), ("lint", [..., "lint"])]
)
def test_each_target_installs_what_it_needs_alone(checkout, stamp, extras):
    make(checkout, f".venv/.{stamp}-installed", "UV=")
    assert asked(checkout) == extras or (extras[0] is ... and asked(checkout)[-1:] == extras[-1:])


def asked(checkout):
    """The extras that pip was asked for, time after time."""
    before = "pip: -m pip install --disable-pip-version-check -c constraints.txt -e .["
    lines = (checkout / "asked").read_text().splitlines()
    assert all(line.startswith(before) and line.endswith("]") for line in lines), lines
    return [line[len(before) : -1] for line in lines]


def required(requirement, extras):
    """The installed distributions that a requirement leads to on this machine, by their own metadata."""
    waiting, found = [(canonicalize_name(requirement), frozenset(extras))], set()
    while waiting:
        name, asked_extras = waiting.pop()
        if (name, asked_extras) in found:
            continue
        found.add((name, asked_extras))
        for line in distribution(name).requires or ():
            needed = Requirement(line)
            if any(needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in asked_extras | {""}):
                waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return {name for name, _ in found}


def test_as_many_packages_are_installed_as_make_says_and_no_linter_for_run_test_or_tutorial():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = int(re.search(r"about (\d+) packages, ", makefile)[1])
    run = required("onnx-pipeline", ["ui"])
    assert abs(len(run) - told) <= 10, f"`make run` installs {len(run)} packages"
    linters = {"ruff", "mypy", "vermin", "clang-format", "clang-tidy", "pandas-stubs"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {extra: {Requirement(line).name for line in lines} for extra, lines in extras.items()}
    assert [extra for extra, names in named.items() if not linters.isdisjoint(names)] == ["lint"]
    assert linters.isdisjoint(run) and "zensical" not in run and "pytest" not in run


def test_processes_that_make_starts_keep_their_bytecode(checkout):
    """Without it each of the hundreds of commands that tests start compiles the package anew."""
    script(checkout / ".venv" / "bin" / "python", f'echo "${{PYTHONDONTWRITEBYTECODE-kept}}" >> {checkout}/asked')
    make(checkout, ".venv/.run-installed", "UV=", PYTHONDONTWRITEBYTECODE="1")
    assert (checkout / "asked").read_text() == "kept\n"


def test_what_a_commit_leaves_out_is_run_each_night():
    commit, night = (make(ROOT, "--dry-run", "--always-make", name, CI="true") for name in ("test", "test-nightly"))
    assert '-m "not nightly"' in commit
    assert '-m "nightly or hypothesis" --hypothesis-profile=nightly' in night
    assert "x86_64-linux-gnu" in commit and "x86_64-linux-gnu" in night
    assert "x86_64-windows-gnu" not in commit and "x86_64-windows-gnu" in night


def test_uv_installs_where_there_is_one(checkout, tmp_path):
    script(tmp_path / "bin" / "uv", f'echo "uv: $*" >> {checkout}/asked')
    make(checkout, ".venv/.run-installed", PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert (checkout / "asked").read_text() == "uv: pip install --python .venv/bin/python -c constraints.txt -e .[ui]\n"


def test_run_says_each_step_with_what_it_takes(checkout):
    for name in ("onnx-pipeline", "dagster"):
        script(checkout / ".venv" / "bin" / name, f'echo "{name} $*"')
    said = make(checkout, "run", "UV=").splitlines()
    steps = [line for line in said if line.startswith("==> ")]
    assert len(steps) == 3 and all(re.search(r"\bMB\b|\bseconds\b", line) for line in steps), said
    assert said.index("onnx-pipeline sample --keep") < said.index(steps[2]) < said.index("onnx-pipeline run")


def test_dg_of_the_environment_that_make_installs_notes_no_telemetry(checkout, tmp_path):
    """`dg` writes what is to be sent to `logs/event.log`; the second run shows that it would."""
    make(checkout, ".venv/.run-installed", "UV=")
    home = tmp_path / "user"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "DAGSTER_HOME", "DG_CLI_CONFIG")}
    environment = kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONWARNINGS": "ignore"}

    def noted(*command):
        done = subprocess.run(
            [*command, "check", "toml"], cwd=checkout, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return sorted(file for folder in (home, checkout) for file in folder.rglob("event.log"))

    assert noted(checkout / ".venv" / "bin" / "dg") == []
    assert noted(sys.executable, "-c", "from dagster_dg_cli.cli import main; main()") != []


def test_the_places_that_are_said_to_be_slow_are_there():
    here = Path(__file__).parent
    assert [place for place in conftest.SLOW_PLACES if not (here / place).exists()] == []
    text = "".join(file.read_text(encoding="utf-8") for file in here.rglob("*.py"))
    missing = [name for name in (*conftest.SLOW_FIXTURES, *conftest.SLOW_TESTS) if f"def {name}(" not in text]
    assert missing == []
