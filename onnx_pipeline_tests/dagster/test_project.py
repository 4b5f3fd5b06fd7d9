"""`OnnxScoring` in a Dagster project of somebody else's, whose definitions.py is the one that `create-dagster` writes."""

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster.components.component_scaffolding import scaffold_object

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.run import show_pending
from onnx_pipeline.orchestration.resources import OnnxRuntimeResource, PoolResource, concurrency_pool, pool_url
from onnx_pipeline.project import current_project, find_scoring, found_scorings, scorings
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.dagster.conftest import DAYS, Project, linear_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*parse_obj_as.*:DeprecationWarning"),
    # Dagster's, where a resource is subclassed.
    pytest.mark.filterwarnings("ignore:.*__fields__.*:DeprecationWarning"),
]

PYPROJECT = """\
[project]
name = "hospital"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "hospital"
"""

DEFINITIONS = """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""

LOADER = (
    "from dagster import definitions, load_from_defs_folder",
    "from dagster import definitions\n\nfrom onnx_pipeline import load_from_defs_folder",
)
"""Dagster's function, and the one of the same name that passes by what it cannot read."""

VISITS = """\
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: model.onnx
  source: {table: visits, changed: touched}
  key: [id]
  partitions: {column: day, every: day, start: 2026-01-01}
  target: visits_scored
"""


VALIDATING = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""What `dg check defs` sets."""


def validating(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of `dg check defs`, whose tracebacks end with it."""
    monkeypatch.setenv(VALIDATING, "1")
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)


class Hospital:
    """The project `hospital`, with its root as working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = root / "src" / "hospital"
        self.write("definitions.py", DEFINITIONS)
        self.write("__init__.py", "")
        self.write("defs/__init__.py", "")
        (root / "pyproject.toml").write_text(PYPROJECT)

    def write(self, name: str, text: str) -> None:
        file = self.package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def scoring(self, text: str = VISITS, name: str = "visits") -> None:
        self.write(f"defs/{name}/defs.yaml", text)
        (self.package / "defs" / name / "model.onnx").write_bytes(linear_model())

    def load(self) -> dg.Definitions:
        return importlib.import_module("hospital.definitions").defs()

    def specs(self) -> Mapping[str, dg.AssetSpec]:
        return {spec.key.to_user_string(): spec for spec in self.load().resolve_all_asset_specs()}


@pytest.fixture
def hospital(tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    """An empty project; its pool is the test's own."""
    made = Hospital(tmp_path / "hospital")
    monkeypatch.delenv("ONNX_PIPELINE_HOME")
    monkeypatch.syspath_prepend(str(made.root / "src"))
    monkeypatch.chdir(made.root)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "hospital"]:
        del sys.modules[name]


def score(defs: dg.Definitions, instance: dg.DagsterInstance, job: str = "visits") -> dg.ExecuteInProcessResult:
    tags = {"dagster/partition": DAYS[0]}
    return defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, sensor: str) -> tuple[int, str | None]:
    """One tick, as a daemon takes it: run requests, and the reason where there are none."""
    repository = defs.get_repository_def()
    with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
        data = repository.get_sensor_def(sensor).evaluate_tick(context)
    return len(data.run_requests or []), data.skip_message


def test_a_project_that_defines_no_resource_scores_and_looks_for_new_rows(
    hospital: Hospital, project: Project, instance: dg.DagsterInstance
) -> None:
    hospital.scoring()
    hospital.scoring(VISITS.replace("target: visits", "target: again"), name="again")
    defs = hospital.load()
    assert tick(defs, instance, "visits_new_rows") == (1, None)
    assert tick(defs, instance, "visits_new_model") == (1, None)
    assert score(defs, instance).success
    assert score(defs, instance, job="again").success
    project.assert_scored(f"day = DATE '{DAYS[0]}'")
    assert project.target("again_scored").keys() == project.target().keys()


@pytest.mark.parametrize("place", ["defs/resources.py", "definitions.py"])
def test_what_the_project_defines_goes_before_what_comes_with_the_component(
    place: str, hospital: Hospital, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    hospital.scoring()
    own = (
        "import dagster as dg\n"
        "from onnx_pipeline.orchestration.resources import PoolResource, StagingResource\n"
        "class OwnPool(PoolResource):\n"
        "    def open(self):\n"
        "        with open(__file__ + '.opened', 'a') as seen:\n"
        "            seen.write('x')\n"
        "        return super().open()\n"
        f"own = dg.Definitions(resources={{'pool': OwnPool(), 'staging': StagingResource(folder={str(tmp_path / 'here')!r})}})\n"
    )
    if place == "definitions.py":
        loaded = "load_from_defs_folder(path_within_project=Path(__file__).parent)"
        own += DEFINITIONS.replace(loaded, f"dg.Definitions.merge(own, {loaded})")
    hospital.write(place, own)
    defs = hospital.load()
    opened = hospital.package / f"{place}.opened"
    assert tick(defs, instance, "visits_new_rows") == (1, None)
    assert opened.read_text() == "x", "the sensor asks the project's own pool"
    assert score(defs, instance).success
    assert opened.read_text() == "xxxxx", "and so does each of the four assets"
    assert (tmp_path / "here").is_dir() and not (hospital.root / "data" / "staging").exists()


def test_another_kind_of_resource_under_our_key_is_refused_by_name(hospital: Hospital) -> None:
    hospital.scoring()
    hospital.write(
        "defs/resources.py",
        "import dagster as dg\n"
        "class Stage(dg.ConfigurableResource):\n"
        "    pass\n"
        "defs = dg.Definitions(resources={'staging': Stage()})\n",
    )
    with pytest.raises(SpecError, match="resource 'staging' is a Stage, and OnnxScoring needs a StagingResource"):
        hospital.load().get_repository_def()


def test_relative_paths_start_at_the_projects_root_wherever_the_process_does(
    hospital: Hospital, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.scoring()
    monkeypatch.chdir(tmp_path)
    assert score(hospital.load(), instance).success
    assert (hospital.root / "data" / "staging").is_dir()


def test_a_subclass_says_more_of_its_assets_does_more_and_has_attributes_of_its_own(
    hospital: Hospital, project: Project, instance: dg.DagsterInstance
) -> None:
    hospital.write(
        "lib.py",
        "from onnx_pipeline import OnnxScoring\n"
        "class CareScoring(OnnxScoring):\n"
        "    team: str\n"
        "    def get_asset_spec(self, spec, step):\n"
        "        of_ours = super().get_asset_spec(spec, step)\n"
        "        return of_ours.replace_attributes(owners=[f'team:{self.team}'], tags={'step': step.name})\n"
        "    def execute(self, work):\n"
        "        work.context.log.info('before')\n"
        "        yield from super().execute(work)\n"
        "        with open(__file__ + '.done', 'a') as done:\n"
        "            done.write(work.step.name + ' ')\n",
    )
    hospital.scoring(VISITS.replace("onnx_pipeline.OnnxScoring", "hospital.lib.CareScoring") + "  team: care\n")
    assert [spec.scoring for spec in scorings()] == ["visits"]
    specs = hospital.specs()
    assert all(specs[f"visits/{name}"].owners == ["team:care"] for name in ("model", "pool_predictions"))
    assert specs["visits/model"].tags["step"] == "model"
    assert score(hospital.load(), instance).success
    assert (hospital.package / "lib.py.done").read_text() == "model features predictions pool_predictions "
    project.assert_scored(f"day = DATE '{DAYS[0]}'")


def test_what_is_scaffolded_of_a_subclass_is_of_its_type(hospital: Hospital) -> None:
    hospital.write("lib.py", "from onnx_pipeline import OnnxScoring\nclass CareScoring(OnnxScoring):\n    team: str\n")
    folder = hospital.package / "defs" / "visits"
    scaffold_object(folder, "hospital.lib.CareScoring", None, "yaml", hospital.root)
    assert (folder / "defs.yaml").read_text().startswith("type: hospital.lib.CareScoring\n")


def test_a_subclass_cannot_take_an_asset_where_nothing_finds_it(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    validating(monkeypatch)
    hospital.write(
        "lib.py",
        "from onnx_pipeline import OnnxScoring\n"
        "class Moved(OnnxScoring):\n"
        "    def get_asset_spec(self, spec, step):\n"
        "        return super().get_asset_spec(spec, step).replace_attributes(key='elsewhere')\n",
    )
    hospital.scoring(VISITS.replace("onnx_pipeline.OnnxScoring", "hospital.lib.Moved"))
    with pytest.raises(Exception) as raised:
        hospital.load()
    assert "get_asset_spec changes the key of visits/model" in str(raised.value)


def test_post_processing_and_requirements_in_yaml_change_assets_and_keep_their_resources(
    hospital: Hospital, project: Project, instance: dg.DagsterInstance
) -> None:
    hospital.scoring(
        VISITS
        + "requirements: {env: [HOSPITAL_TEAM]}\n"
        + "post_processing:\n"
        + "  assets:\n"
        + "    - target: 'key:\"visits/pool_predictions\"'\n"
        + "      attributes: {owners: [team:care], deps: [visits/predictions, calendar]}\n"
        + "    - attributes: {tags: {tier: gold}, group_name: care}\n"
    )
    assert [(spec.scoring, spec.group) for spec in scorings()] == [("visits", None)]
    specs = hospital.specs()
    assert specs["visits/pool_predictions"].owners == ["team:care"] and not specs["visits/model"].owners
    assert "calendar" in {dep.asset_key.to_user_string() for dep in specs["visits/pool_predictions"].deps}
    assert {specs[f"visits/{name}"].tags["tier"] for name in ("model", "features", "predictions")} == {"gold"}
    assert specs["visits/model"].group_name == "care"
    assert score(hospital.load(), instance).success
    project.assert_scored(f"day = DATE '{DAYS[0]}'")


def test_dependencies_that_replace_those_of_the_scoring_are_refused(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = "post_processing: {assets: [{target: 'key:\"visits/pool_predictions\"', attributes: {deps: [calendar]}}]}\n"
    hospital.scoring(VISITS + only)
    with pytest.raises(SpecError, match="visits/pool_predictions no longer depends on visits/predictions"):
        hospital.load().get_repository_def()
    validating(monkeypatch)
    with pytest.raises(SpecError, match="visits/pool_predictions no longer depends on visits/predictions") as raised:
        hospital.load().get_repository_def()
    assert not serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)).stack


def test_a_folder_post_processes_its_scorings_and_they_are_still_found(hospital: Hospital) -> None:
    hospital.write(
        "defs/defs.yaml",
        "type: dagster.DefsFolderComponent\npost_processing:\n  assets:\n    - attributes: {tags: {tier: gold}}\n",
    )
    hospital.scoring(name="care/visits")
    assert [spec.scoring for spec in scorings()] == ["visits"]
    assert hospital.specs()["visits/model"].tags["tier"] == "gold"


def test_scorings_are_read_although_another_component_of_the_project_is_broken(hospital: Hospital) -> None:
    hospital.scoring()
    hospital.write(
        "lib.py",
        "import dagster as dg\n"
        "class Broken(dg.Component, dg.Model, dg.Resolvable):\n"
        "    host: str\n"
        "    def build_defs(self, context):\n"
        "        raise RuntimeError('nobody asked')\n",
    )
    hospital.write("defs/broken/defs.yaml", "type: hospital.lib.Broken\nattributes: {port: 1}\n")
    assert [spec.scoring for spec in scorings()] == ["visits"]


def test_a_component_that_python_makes_is_a_scoring_too(hospital: Hospital, instance: dg.DagsterInstance) -> None:
    hospital.write(
        "defs/visits/scoring.py",
        "import dagster as dg\n"
        "from onnx_pipeline import OnnxScoring\n"
        "@dg.component_instance\n"
        "def scoring(context):\n"
        "    return OnnxScoring(onnx='model.onnx', source='visits', key=['id'], target='visits_scored',\n"
        "        partitions={'column': 'day', 'every': 'day', 'start': '2026-01-01'})\n",
    )
    (hospital.package / "defs" / "visits" / "model.onnx").write_bytes(linear_model())
    assert [spec.scoring for spec in scorings()] == ["visits"]
    assert score(hospital.load(), instance).success


def test_two_scorings_with_one_target_are_refused_here_too(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    validating(monkeypatch)
    hospital.scoring()
    hospital.scoring(VISITS.replace("visits_scored", "Visits_Scored"), name="again")
    with pytest.raises(Exception) as raised:
        hospital.load()
    assert "both have the target 'visits_scored'" in str(raised.value)


BROKEN = {
    "schedule": (VISITS + "  schedule: daily\n", "defs.yaml:9: schedule 'daily' is not a cron expression"),
    "typo": (
        VISITS + "  shedule: daily\n",
        "defs.yaml:9: shedule: there is no such attribute; did you mean 'schedule'?",
    ),
    "start": (VISITS.replace("2026-01-01", "soon"), "defs.yaml:7: partitions.start 'soon' cannot begin day partitions"),
    "template": (VISITS.replace("visits_scored", "'{{ nowhere }}'"), "nowhere"),
    "nothing": ("type: onnx_pipeline.OnnxScoring\n", "defs.yaml:1: key: is missing, and has no default"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_defs_yaml_leaves_the_other_scorings_as_they_are_and_says_what_is_wrong(
    broken: str, hospital: Hospital, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, said = BROKEN[broken]
    hospital.scoring()
    hospital.scoring(text, name="broken")
    found = found_scorings()
    assert [spec.scoring for spec in found.whole] == ["visits"]
    assert set(found.broken) == {"broken"} and said in str(found.broken["broken"])
    defs = hospital.load()
    assert tick(defs, instance, "visits_new_rows") == (1, None)
    assert score(defs, instance).success
    assert not [key for key in hospital.specs() if key.startswith("broken")]
    with pytest.raises(Exception, match=re.escape("SpecError: ")) as raised:
        tick(defs, instance, "broken_new_rows")
    assert said in str(raised.value.__cause__ or raised.value)
    failed = score(defs, instance, job="broken")
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert said in str(failure.step_failure_data.user_failure_data.description)
    validating(monkeypatch)
    with pytest.raises(SpecError) as raised:
        hospital.load()
    printed = serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)).to_string()
    assert said in printed
    # What `dg check defs` prints of it: no frame, no picture of the project's components, no error around it.
    assert printed == f"onnx_pipeline.orchestration.broken.InvalidScoringError: {found.broken['broken']}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: [\n", "defs.yaml:2: this is not YAML: expected the node content"),
        ("typo: onnx_pipeline.OnnxScoring\n", "defs.yaml: type"),
        ("type: onnx_pipeline.OnnxScorin\n", "defs.yaml: Module `onnx_pipeline` has no attribute `OnnxScorin`"),
        ("type: onnx_pipelin.OnnxScoring\n", "defs.yaml: "),
    ],
)
def test_a_file_that_dagster_cannot_read_hides_no_other_scoring(text: str, said: str, hospital: Hospital) -> None:
    hospital.scoring(name="group/visits")
    hospital.scoring(text, name="group/broken")
    found = found_scorings()
    assert [spec.scoring for spec in found.whole] == ["visits"]
    assert set(found.broken) == {"broken"} and said in str(found.broken["broken"])
    with pytest.raises(SpecError, match=re.escape(said)):
        find_scoring("broken")
    assert find_scoring("visits").target_table == "visits_scored"


def test_a_project_goes_on_where_a_file_is_no_yaml_and_its_definitions_take_this_loader(
    hospital: Hospital, project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.scoring(name="group/visits")
    hospital.write("defs/calendar.py", "import dagster as dg\n@dg.asset\ndef calendar(): ...\n")
    of_dagster, specs = hospital.load(), hospital.specs()
    hospital.write("definitions.py", DEFINITIONS.replace(*LOADER))
    del sys.modules["hospital.definitions"]
    of_ours = hospital.load()
    assert of_ours.component_tree is not None and of_ours.metadata == of_dagster.metadata
    assert hospital.specs().keys() == specs.keys() > {"calendar", "visits/model"}
    hospital.scoring("type: [\n", name="group/broken")
    hospital.scoring("type: [\n", name="other/broken")
    defs = hospital.load()
    assert tick(defs, instance, "visits_new_rows") == (1, None)
    assert score(defs, instance).success
    project.assert_scored(f"day = DATE '{DAYS[0]}'")
    for job in ("group_broken", "other_broken"):
        failed = score(defs, instance, job=job)
        (failure,) = [event for event in failed.all_events if event.is_step_failure]
        assert "defs.yaml:2: this is not YAML" in str(failure.step_failure_data.user_failure_data.description)
        with pytest.raises(Exception, match="SpecError: "):
            tick(defs, instance, f"{job}_new_rows")
    validating(monkeypatch)
    with pytest.raises(SpecError, match=r"broken/defs\.yaml:2: this is not YAML"):
        hospital.load()


def test_the_project_is_that_of_the_working_directory_or_of_the_environment(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hospital.package / "defs")
    assert current_project().root == hospital.root
    assert current_project().definitions_module == "hospital.definitions"
    monkeypatch.chdir(tmp_path)
    assert current_project().root != hospital.root
    monkeypatch.setenv("ONNX_PIPELINE_HOME", str(hospital.root))
    assert current_project().root == hospital.root
    (hospital.root / "dg.toml").write_text('directory_type = "project"\n[project]\nroot_module = "clinic"\n')
    assert current_project().definitions_module == "clinic.definitions"


def test_a_project_without_a_scoring_says_how_to_make_one(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    show_pending([], as_json=True)
    out, error = capsys.readouterr()
    assert json.loads(out) == []
    assert f"There is no scoring in {hospital.root}; `dg scaffold defs onnx_pipeline.OnnxScoring <name>`" in error


def test_where_there_is_no_project_the_message_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onnx_pipeline.base.paths._PACKAGE", tmp_path / "site-packages" / "onnx_pipeline")
    with pytest.raises(SpecError, match="there is no Dagster project here: .*create-dagster project"):
        scorings()


def test_a_pool_of_another_url_than_the_environments_is_refused_without_saying_its_password(
    hospital: Hospital, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.driver("pyodbc")
    assert PoolResource(url=pool_url()).open().display_name == PoolResource().open().display_name
    with pytest.raises(SpecError, match="mssql:s/d, and the environment says duckdb") as raised:
        PoolResource(url="mssql+pyodbc://scorer:hush@s/d").open()
    assert "hush" not in str(raised.value) and "ONNX_PIPELINE_POOL" in str(raised.value)
    hospital.scoring()
    hospital.write(
        "defs/resources.py",
        "import dagster as dg\n"
        "from onnx_pipeline.orchestration.resources import PoolResource\n"
        "defs = dg.Definitions(resources={'pool': PoolResource(url='duckdb:///data/other.duckdb')})\n",
    )
    defs = hospital.load()
    result = score(defs, instance)
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "the resource `pool` has a URL of its own" in str(failed.user_failure_data)
    assert "has a URL of its own" in str(tick(defs, instance, "visits_new_rows")[1])


def test_slots_kinds_and_resource_are_of_one_pool(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.driver("pyodbc")
    hospital.scoring()
    monkeypatch.setenv("ONNX_PIPELINE_POOL", "mssql+pyodbc://server.example/warehouse")
    assets = {
        asset.key.path[-1]: asset for asset in hospital.load().assets or [] if isinstance(asset, dg.AssetsDefinition)
    }
    opened = PoolResource().open().display_name
    assert opened == "mssql:server.example/warehouse"
    assert assets["features"].op.pool == concurrency_pool(pool_url()) == "mssql_server_example_warehouse"
    assert "mssql" in assets["pool_predictions"].specs_by_key[assets["pool_predictions"].key].kinds


def test_a_run_configuration_reaches_a_resource_that_the_project_did_not_define(
    hospital: Hospital, instance: dg.DagsterInstance
) -> None:
    hospital.scoring()
    job = hospital.load().resolve_job_def("visits")
    wrong = {"resources": {"onnx_runtime": {"config": {"providers": ["NoSuchProvider"]}}}}
    result = job.execute_in_process(
        run_config=wrong, instance=instance, tags={"dagster/partition": DAYS[0]}, raise_on_error=False
    )
    assert not result.success
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "NoSuchProvider" in str(failed.user_failure_data)
    assert OnnxRuntimeResource().options().providers != ("NoSuchProvider",)


def test_the_files_of_the_page_about_projects_work_together(
    hospital: Hospital, project: Project, instance: dg.DagsterInstance
) -> None:
    page = Path(__file__).parents[2] / "docs" / "project.md"
    files = re.findall(r"<!-- file: src/hospital/(.+?) -->\n```\w+\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert [name for name, _ in files] == ["scorings.py", "defs/visits/defs.yaml", "defs/resources.py"]
    for name, text in files:
        hospital.write(name, text)
    (hospital.package / "defs" / "visits" / "model.onnx").write_bytes(linear_model())
    assert hospital.specs()["visits/features"].owners == ["team:care"]
    assert score(hospital.load(), instance).success
    assert (hospital.root / "data" / "elsewhere").is_dir()
    project.assert_scored(f"day = DATE '{DAYS[0]}'")
