"""What `tools/install.py` prints while an installer works: pip and uv are scripts here, which print what those print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import install

BEGIN = (
    "import pathlib, sys, time\nsite = pathlib.Path(__file__).parent.parent / 'lib' / 'python3.11' / 'site-packages'\n"
)


@pytest.fixture
def environment(tmp_path):
    """`environment(text)`: an environment whose Python is that script, and its Python's path."""

    def make(text: str, name: str = "python") -> str:
        program = tmp_path / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!{sys.executable}\n{BEGIN}{text}")
        program.chmod(0o755)
        return str(program)

    return make


def test_pips_hundreds_of_lines_become_those_that_tell_how_far_it_is(tmp_path):
    progress = install.Progress(tmp_path / ".venv" / "bin" / "python")
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    assert progress.standing() == "still finding and downloading packages"
    lines = {
        "Obtaining file:///somewhere": None,
        "Collecting small>=1 (from onnx-pipeline==0.1.0)": None,
        "  Downloading small-1.0-py3-none-any.whl (74 kB)": None,
        "Collecting large": None,
        "  Downloading large-2.5.1-cp311-cp311-manylinux_2_28_x86_64.whl (17.6 MB)": "downloading large (17.6 MB)",
    }
    assert {line: progress.read(line) for line in lines} == lines
    assert progress.standing() == "2 packages found, the last download was large (17.6 MB)"
    said = progress.read("Installing collected packages: small, large")
    assert said == "2 packages are downloaded; writing them into .venv"
    (packages / "small-1.0.dist-info").mkdir(parents=True)
    assert progress.standing() == "1 of 2 packages are written"
    assert progress.read("Successfully installed large-2.5.1 small-1.0") == "2 packages are installed"


def test_a_pip_that_says_nothing_is_spoken_for(environment, capsys):
    assert install.by_pip(environment("time.sleep(0.5)\n"), ["-e", ".[ui]"], quiet_seconds=0.1) == 0
    assert "s: still finding and downloading packages\n" in capsys.readouterr().out


def test_so_is_one_whose_many_lines_are_not_worth_telling(environment, capsys):
    chatty = 'for n in range(40):\n    print(f"Collecting p{n}", flush=True)\n    time.sleep(0.02)\n'
    assert install.by_pip(environment(chatty), ["-e", ".[ui]"], quiet_seconds=0.1) == 0
    assert re.search(r"s: \d+ packages found\n", capsys.readouterr().out)


def test_when_pip_fails_its_words_are_shown_and_its_status_is_passed_on(environment, capfd):
    failing = 'print("Collecting nothing==9")\nprint("ERROR: No matching distribution", file=sys.stderr)\nsys.exit(3)\n'
    assert install.by_pip(environment(failing), ["nothing==9"]) == 3
    shown = capfd.readouterr()
    assert shown.out == "Collecting nothing==9\n"
    assert shown.err == "ERROR: No matching distribution\n"


def test_uv_is_silent_no_longer_where_there_is_no_terminal(environment, capfd):
    python = environment("")
    uv = environment("print(sys.argv[1:], flush=True)\ntime.sleep(0.5)\nsys.exit(2)\n", name="uv")
    assert install.by_uv(uv, python, ["-e", "."], quiet_seconds=0.2) == 2
    lines = capfd.readouterr().out.splitlines()
    asked = str(["pip", "install", "--python", python, "-e", "."])
    assert asked in lines
    told = {line.partition(": ")[2] for line in lines if line != asked}
    assert told == {"still finding and downloading packages"}


@pytest.mark.nightly
def test_the_real_pip_is_understood(tmp_path):
    """Lines of pip may change: what it says of a package without dependencies is read as well."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text("")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "one"\nversion = "1"\n[tool.hatch.build.targets.wheel]\ninclude = ["one.py"]\n'
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "lib")]
    script = Path(install.__file__)
    done = subprocess.run(
        [sys.executable, str(script), sys.executable, *options, str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(": ")[2] for line in done.stdout.splitlines()] == [
        f"1 packages are downloaded; writing them into {Path(sys.executable).parents[1].name}",
        "1 packages are installed",
    ]
