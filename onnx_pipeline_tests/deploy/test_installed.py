"""The package as `pip install onnx-pipeline` gives it, in a project that `create-dagster` makes.

The wheel lies in an environment of its own, which sees this one's packages but not its editable installs. Nothing of
this checkout is on the path.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from onnx_pipeline_tests.dagster.conftest import linear_model

pytest.importorskip("hatchling", reason="builds the wheel; `pip install hatchling`, or `make test`")
maker = pytest.importorskip("create_dagster", reason="makes the project; `pip install create-dagster`, or `make test`")

pytestmark = pytest.mark.timeout(1800)  # some 25 processes that import Dagster, one after the other

ROOT = Path(__file__).parents[2]

VISITS = """\
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: model.onnx
  source: {table: visits, changed: touched}
  key: [id]
  partitions: {column: day, every: day, start: 2026-01-01}
  target: visits_scored

requirements:
  env: [CARE_TEAM]

post_processing:
  assets:
    - target: kind:duckdb
      attributes: {owners: [team:care]}
"""

OWN = """\
import dagster as dg

from onnx_pipeline.orchestration.executor import in_process_executor
from onnx_pipeline.orchestration.resources import StagingResource

own = dg.Definitions(resources={"staging": StagingResource(folder="elsewhere")}, executor=in_process_executor)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_its_scripts_and_no_scoring_of_the_sample(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"onnx_pipeline/component.py", "onnx_pipeline/sql/duckdb/onnx_models.sql"} <= set(names)
    assert not [name for name in names if "/defs/" in name or name.endswith((".onnx", "defs.yaml"))]


@dataclass
class Installed:
    """A project `hospital` and the environment that it is developed in."""

    project: Path
    python: Path

    def __call__(self, *command: str, code: int = 0) -> str:
        """Run a command in the project's root; what it printed."""
        programs = {
            "create-dagster": ["-c", "from create_dagster.cli import main; main()"],
            "dagster": ["-m", "dagster"],
            "dg": ["-c", "from dagster_dg_cli.cli import main; main()"],
            "onnx-pipeline": [str(self.python.parent / "onnx-pipeline")],
        }
        program, *arguments = command
        ours = ("ONNX_PIPELINE_", "DAGSTER_", "PYTHONPATH", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # What `pip install --editable` of the project would do.
        environment["PYTHONPATH"] = str(self.project / "src")
        settings = {"DAGSTER_DISABLE_TELEMETRY": "1", "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0", "CARE_TEAM": "care"}
        done = subprocess.run(
            [str(self.python), *programs[program], *arguments],
            cwd=self.project, env=environment | settings | {"PYTHONWARNINGS": "ignore", "COLUMNS": "200"},
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def hashes(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.project)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.project.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.project / "data" / "pool.duckdb")) as pool:
            return pool.execute(statement).fetchall()


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    found = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--disable-pip-version-check", str(wheel)], check=True)
    # Folders that a .pth adds are searched, and the .pth files in them (editable installs) are not read.
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(Path(maker.__file__).parents[1])}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (environment / "lib" / version / "site-packages" / "packages.pth").write_text("\n".join(sorted(places)))
    return found


@pytest.fixture
def hospital(python: Path, tmp_path: Path) -> Installed:
    Installed(tmp_path, python)("create-dagster", "project", "hospital", "--no-uv-sync")
    made = Installed(tmp_path / "hospital", python)
    (made.project / "data").mkdir()
    made.query(
        "CREATE TABLE visits AS SELECT i AS id, DATE '2026-01-01' + (i % 3)::INT AS day, i::FLOAT AS a, "
        "(i / 2)::FLOAT AS b, TIMESTAMP '2026-01-01' AS touched FROM range(30) AS t(i)"
    )
    return made


@dataclass
class Scored:
    """The project after a run of `onnx-pipeline run`, and the hashes of what was generated."""

    hospital: Installed
    generated: dict[str, str]

    def assert_files_as_they_were(self) -> None:
        found = self.hospital.hashes()
        assert {name: found[name] for name in self.generated} == self.generated


@pytest.fixture
def scored(hospital: Installed) -> Scored:
    generated = hospital.hashes()
    del generated["data/pool.duckdb"]
    hospital("dg", "scaffold", "defs", "onnx_pipeline.OnnxScoring", "visits", "--table", "visits")
    folder = hospital.project / "src" / "hospital" / "defs" / "visits"
    assert "table: visits" in (folder / "defs.yaml").read_text()
    (folder / "defs.yaml").write_text(VISITS)
    (folder / "model.onnx").write_bytes(linear_model())
    assert "3 partitions need scoring." in hospital("onnx-pipeline", "pending")
    # By Dagster's own executor, a process for each asset.
    assert "visits: 3 partitions, 2026-01-01 to 2026-01-03, 30 rows" in hospital("onnx-pipeline", "run")
    return Scored(hospital, generated)


def test_a_project_that_create_dagster_made_scores_with_its_files_as_they_were(scored: Scored) -> None:
    hospital = scored.hospital
    assert "Multiprocess executor" in (hospital.project / "data" / "last_run" / "visits.log").read_text()
    assert hospital.query("SELECT count(*), count(DISTINCT run_id) FROM visits_scored") == [(30, 1)]
    wrong = "SELECT count(*) FROM visits JOIN visits_scored USING (id) WHERE abs(score - (2 * a - b / 2 + 1)) > 1e-4"
    assert hospital.query(wrong) == [(0,)]
    hospital("dg", "check", "defs")
    assert "Nothing is pending." in hospital("onnx-pipeline", "pending")
    scored.assert_files_as_they_were()


@pytest.mark.nightly
def test_every_way_to_score_it_is_the_same_and_takes_resources_of_its_own(scored: Scored) -> None:
    hospital = scored.hospital
    assert "visits" in hospital("onnx-pipeline", "status")
    assert "nothing was written" in hospital("onnx-pipeline", "preview", "visits", "--rows", "2")

    # By our executor, and with a resource of the project's own.
    (hospital.project / "src" / "hospital" / "defs" / "own.py").write_text(OWN)
    said = hospital("dagster", "job", "execute", "-m", "hospital.definitions", "-j", "visits", "--tags", '{"dagster/partition": "2026-01-02"}')  # fmt: skip
    assert "Multiprocess executor" not in said
    assert (hospital.project / "elsewhere").is_dir()
    assert hospital.query("SELECT count(*), count(DISTINCT run_id) FROM visits_scored") == [(30, 2)]
    hospital("dg", "launch", "--job", "visits", "--partition", "2026-01-03")
    assert hospital.query("SELECT count(*), count(DISTINCT run_id) FROM visits_scored") == [(30, 3)]
    scored.assert_files_as_they_were()


def test_outside_a_project_the_command_says_so(python: Path, tmp_path: Path) -> None:
    said = Installed(tmp_path, python)("onnx-pipeline", "pending", code=1)
    assert "there is no Dagster project here" in said and str(tmp_path) in said
