"""`OnnxScoring`: what one `defs.yaml` becomes, and what a wrong one says."""

import hashlib
import importlib
import io
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from dagster.components.testing.utils import create_defs_folder_sandbox

from onnx_pipeline import OnnxScoring
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.assets.build import build_assets
from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.orchestration.scaffold import OnnxScoringScaffolder
from onnx_pipeline.orchestration.together import source_assets
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, definitions, linear_model

GOOD = """\
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: model.onnx
  source: {table: visits, changed: touched}
  key: [id]
  partitions: {column: day, every: day, start: 2026-01-01}
  target: visits_scored
"""


def load(text: str) -> dg.Definitions:
    """The definitions of a folder `visits` with this defs.yaml."""
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(OnnxScoring, defs_path="visits")
        (folder / "defs.yaml").write_text(text)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (_, defs):
            return dg.Definitions.merge(defs, dg.Definitions(resources=default_resources()))


def reason(text: str) -> str:
    """Everything that `dg check defs` says of a wrong defs.yaml."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
        with pytest.raises(Exception) as raised:
            load(text)
    parts, error = [], raised.value
    while error is not None:
        parts.append(str(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return "\n".join(parts)


def test_the_samples_definitions_load_with_their_jobs_sensors_and_schedule() -> None:
    from onnx_pipeline.definitions import defs

    loaded = defs() if callable(defs) else defs
    repository = loaded.get_repository_def()
    names = {job.name for job in repository.get_all_jobs()}
    assert {"length_of_stay", "readmission", "score_all"} <= names
    assert {sensor.name for sensor in repository.sensor_defs} >= {
        f"{scoring}_{what}" for scoring in ("length_of_stay", "readmission") for what in ("new_rows", "new_model")
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {"length_of_stay_schedule"}
    for name, resource in repository.get_top_level_resources().items():
        assert resource.description, name
        fields = resource.config_schema.config_type.fields.items()
        assert all(field.description for _, field in fields), name
    specs = {spec.key.to_user_string(): spec for spec in loaded.resolve_all_asset_specs()}
    assert set(specs) == {"encounters"} | {
        f"{scoring}/{asset}"
        for scoring in ("length_of_stay", "readmission")
        for asset in ("model", "features", "predictions", "pool_predictions")
    }


def test_loading_the_project_says_nothing_of_beta_and_preview() -> None:
    """The log of `dagster dev` is for what happens."""
    from onnx_pipeline import definitions as module

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        importlib.reload(module).defs()
    assert not [text for text in said if issubclass(text.category, (dg.BetaWarning, dg.PreviewWarning))]


def test_a_folder_becomes_four_assets_named_after_it() -> None:
    specs = {spec.key.to_user_string(): spec for spec in load(GOOD).resolve_all_asset_specs()}
    assert {key for key in specs if key.startswith("visits/")} == {
        "visits/model", "visits/features", "visits/predictions", "visits/pool_predictions",
    }  # fmt: skip
    assert specs["visits/model"].partitions_def is None
    assert isinstance(specs["visits/features"].partitions_def, dg.DailyPartitionsDefinition)
    assert {dep.asset_key.to_user_string() for dep in specs["visits/features"].deps} == {"visits", "visits/model"}


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        (
            "target: visits_scored",
            "target: visits_scored\n  shedule: daily",
            9,
            "shedule: there is no such attribute; did you mean 'schedule'?",
        ),
        ("  onnx: model.onnx\n", "", 3, "onnx is missing: name the model's path or URI"),
        ("  source: {table: visits, changed: touched}\n", "", 3, "source: is missing, and has no default"),
        ("key: [id]", "key: []", 6, "key must be one or more distinct columns"),
        (
            "every: day",
            "every: dya",
            7,
            "partitions.every: Input should be 'hour', 'day', 'week' or 'month', and it is",
        ),
        ("start: 2026-01-01", "start: soon", 7, "partitions.start 'soon' cannot begin day partitions"),
        ("start: 2026-01-01", "start: 2026-01-01, until: soon", 7, "partitions.until 'soon' cannot end day partitions"),
        (", start: 2026-01-01", "", 7, "partitions with `every` needs `start`"),
        ("start: 2026-01-01", "start: 2026-01-01, timezone: Mars", 7, "partitions.timezone: unknown time zone 'Mars'"),
        (
            "target: visits_scored",
            "target: visits_scored\n  load: merge",
            9,
            "load must be `replace`, `append` or `upsert`; got 'merge'",
        ),
        (
            "target: visits_scored",
            'target: visits_scored\n  schedule: "6 o\'clock"',
            9,
            "schedule \"6 o'clock\" is not a cron expression; five fields, e.g. '0 6 * * *'",
        ),
        ("target: visits_scored", "target: visits_scored\n  rescore: latest", 9, "rescore must be `none`, `all` or"),
        (
            "target: visits_scored",
            "target: visits_scored\n  outputs: {ID: s}",
            9,
            "outputs: 'ID' is a key or provenance",
        ),
        (
            "target: visits_scored",
            "target: visits_scored\n  checks: {psi: 0}",
            9,
            "checks.psi: Input should be greater",
        ),
        (
            "target: visits_scored",
            "target: visits_scored\n  partitions_per_run: many",
            9,
            "partitions_per_run is 'many': ",
        ),
        ("table: visits", "tabel: visits", 5, "source.tabel: there is no such attribute"),
        ("table: visits", "column: table", 5, "source.column: there is no such attribute"),
        ("table: visits", "query: SELECT 1, table: visits", 5, "source takes exactly one of table, query and file"),
    ],
)
def test_a_wrong_attribute_is_reported_with_its_file_and_line_and_no_address_on_the_web(
    before: str, after: str, line: int, said: str
) -> None:
    assert before in GOOD
    message = reason(GOOD.replace(before, after))
    assert f"defs.yaml:{line}: {said}" in message
    assert "errors.pydantic.dev" not in message
    assert "validation error" not in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'x...y'", "'x...y' holds `...`, which in a range of Dagster's stands between two keys"),
        (r'"a\tb"', r"'a\tb' holds the character '\t', which no partition key of Dagster's may"),
        ("'  '", "'  ' is empty, and Dagster knows no empty partition key"),
        ("1.0", "1.0 is a float, and a value is a text or a whole number"),
        (f"'{'x' * 451}'", "has 451 characters, and a partition key has at most 450"),
    ],
)
def test_a_listed_value_that_can_be_no_partition_key_is_reported_with_its_file_and_line(value: str, words: str) -> None:
    listed = f"  partitions:\n    column: ward\n    values:\n      - north\n      - {value}\n"
    before = next(line for line in GOOD.splitlines(keepends=True) if "partitions:" in line)
    text = GOOD.replace(before, listed)
    line = next(number for number, written in enumerate(text.splitlines(), 1) if written == f"      - {value}")
    message = reason(text)
    assert f"defs.yaml:{line}: partitions.values: " in message and words in message


@pytest.mark.parametrize(
    ("value", "reading"),
    [("010", "8"), ("0x1F", "31"), ("1_000", "1000"), ("12:30", "750"), ("+1", "1"), ("-0", "0"), ("no", "false"),
     ("Yes", "true"), ("on", "true")],
)  # fmt: skip
def test_a_listed_value_that_yaml_reads_otherwise_is_refused(value: str, reading: str) -> None:
    before = next(line for line in GOOD.splitlines(keepends=True) if "partitions:" in line)
    message = reason(GOOD.replace(before, f"  partitions: {{column: ward, values: [7, {value}, 'é']}}\n"))
    assert re.search(r"defs\.yaml:\d+: partitions\.values: ", message)
    assert f"YAML reads {value} as {reading}, " in message and f"Put it in quotes, or write {reading}" in message


def test_a_listed_value_without_quotes_is_what_is_written() -> None:
    listed = "  partitions: {column: ward, values: [7, -8, 1e3, True, FALSE, 2013-01-01, 2013-1-1, 0o10, ö,-9]}\n"
    before = next(line for line in GOOD.splitlines(keepends=True) if "partitions:" in line)
    specs = {spec.key.to_user_string(): spec for spec in load(GOOD.replace(before, listed)).resolve_all_asset_specs()}
    partitions = specs["visits/features"].partitions_def
    assert partitions is not None
    assert list(partitions.get_partition_keys()) == [
        "7", "-8", "1e3", "true", "false", "2013-01-01", "2013-1-1", "0o10", "ö", "-9"
    ]  # fmt: skip


def test_a_listed_value_is_the_text_in_its_quotes() -> None:
    listed = "  partitions: {column: ward, values: ['1.0', '+1', '1_000', 7, true, 'a,b']}\n"
    before = next(line for line in GOOD.splitlines(keepends=True) if "partitions:" in line)
    specs = {spec.key.to_user_string(): spec for spec in load(GOOD.replace(before, listed)).resolve_all_asset_specs()}
    partitions = specs["visits/features"].partitions_def
    assert partitions is not None
    assert list(partitions.get_partition_keys()) == ["1.0", "+1", "1_000", "7", "true", "a,b"]


@pytest.mark.parametrize(
    ("partitions", "said"),
    [
        ("every: day, start: 2026-01-01, until: 2025-12-31", "until '2025-12-31' is not after start '2026-01-01'"),
        ("every: month, start: 2026-01-01, day_offset: 28", "day_offset 28 is no day that every month has"),
        ("every: week, start: 2026-01-01, day_offset: -1", "day_offset -1 is no day of a week"),
    ],
)
def test_partitions_that_cannot_be_name_file_and_line(partitions: str, said: str) -> None:
    message = reason(GOOD.replace("every: day, start: 2026-01-01", partitions))
    assert re.search(r"defs\.yaml:\d+", message) and said in message


def failing(runner: Runner, project: Project, spec: Any, message: list[str]) -> None:
    result = runner.run(spec, **({"partition": DAYS[0]} if spec.partitions != "none" else {}))
    said = runner.failure(result)
    for part in message:
        assert part in said
    assert runner.materialized(result, "model") == {}
    assert project.tables() == {"visits"}
    artifacts = project.home / "data" / "artifacts"
    assert not artifacts.exists() or not list(artifacts.rglob("*.onnx"))
    assert not (artifacts / "current" / "visits.json").exists()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"features": {"a": "hight", "b": "b"}}, ["SignatureError: visits: ", "'hight'"]),
        ({"key": ["visit_id"]}, ["key: table visits has no column 'visit_id'"]),
        (
            {"features": {"a": "kind"}},
            ["column 'kind' is string, and the model reads float ", "Cast the column to a number in the source query"],
        ),
        ({"outputs": {"ID": "score"}, "key": ["id"]}, ["'ID'"]),
        ({"outputs": {"score": "scores"}}, ["'scores'", "score"]),
        (
            {"source": {"table": "visits", "changed": "updated"}},
            ["source.changed: table visits has no column 'updated'"],
        ),
        ({"nulls": {"agee": 4}}, ["nulls: 'agee' is no feature"]),
        ({"target": "visits"}, ["target 'visits' is the source itself; name another table"]),
        ({"onnx": "linaer.onnx"}, ["ModelNotFoundError", "linear.onnx"]),
    ],
)
def test_what_does_not_fit_fails_at_the_model_asset_and_writes_nothing(
    attributes: dict[str, Any], message: list[str], project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    try:
        spec = make_spec(**attributes)
    except ValueError as error:
        # Found even earlier, when definitions load.
        assert message[0] in str(error)
        return
    failing(runner, project, spec, message)


def test_a_model_input_that_no_column_feeds_is_named(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.execute("ALTER TABLE visits RENAME COLUMN b TO bb")
    failing(runner, project, make_spec(), ["SignatureError: visits: ", "'b'", "features"])


def test_bytes_that_are_no_model_fail_and_write_nothing(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.put_model(linear_model()[:80])
    failing(runner, project, make_spec(), ["InvalidModelError", "linear.onnx"])


def test_two_scorings_with_one_target_are_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="scorings .* both have the target 'Visits_Scored'|'visits_scored'"):
        definitions(make_spec(), make_spec(name="again", target="Visits_Scored"))


def test_two_scorings_of_one_table_share_one_external_asset(make_spec: MakeSpec) -> None:
    defs = definitions(make_spec(), make_spec(name="again", target="again_scored"))
    specs = [spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("visits")]
    assert len(specs) == 1
    assert specs[0].metadata["dagster/table_name"] == "visits"
    assert not defs.resolve_asset_graph().get(dg.AssetKey("visits")).is_materializable


def test_score_all_scores_every_scoring_of_one_partitioning(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    both = make_spec(), make_spec(name="again", target="again_scored")
    assert runner.run(*both, job="score_all", partition=DAYS[0]).success
    assert project.target().keys() == project.target("again_scored").keys() == set(range(50))


def test_score_all_is_one_job_for_each_way_to_partition(make_spec: MakeSpec) -> None:
    defs = definitions(
        make_spec(),
        make_spec(name="monthly", target="m", partitions={"column": "day", "every": "month", "start": "2026-01-01"}),
        make_spec(name="whole", target="w", partitions=None),
    )
    jobs = over_all(defs)
    assert set(jobs) == {"score_all_visits", "score_all_monthly"}
    for name, job in jobs.items():
        scorings = {key.path[0] for key in job.asset_layer.executable_asset_keys}
        assert scorings == {name.removeprefix("score_all_"), "whole"}


def over_all(defs: dg.Definitions) -> dict[str, dg.JobDefinition]:
    return {job.name: job for job in defs.get_repository_def().get_all_jobs() if job.name.startswith("score_all")}


def test_no_job_over_all_is_another_name_of_a_scorings_own(make_spec: MakeSpec) -> None:
    """One scoring alone keeps `score_all`, whose name stays when others join it."""
    monthly = make_spec(
        name="monthly", target="m", partitions={"column": "day", "every": "month", "start": "2026-01-01"}
    )
    both = make_spec(), make_spec(name="again", target="again_scored")
    assert set(over_all(definitions(*both, monthly))) == {"score_all_again"}
    assert not over_all(definitions(both[0], monthly))
    assert set(over_all(definitions(monthly))) == {"score_all"}


def test_groups_kinds_tags_and_code_versions(make_spec: MakeSpec) -> None:
    def versions(**attributes: Any) -> set[str | None]:
        return {spec.code_version for asset in build_assets(make_spec(**attributes)) for spec in asset.specs}

    specs = {spec.key.path[-1]: spec for asset in build_assets(make_spec()) for spec in asset.specs}
    assert {spec.group_name for spec in specs.values()} == {"visits"}
    assert {spec.group_name for asset in build_assets(make_spec(group="care")) for spec in asset.specs} == {"care"}
    assert {name: spec.kinds for name, spec in specs.items()} == {
        "model": {"onnx"}, "features": {"duckdb", "arrow"},
        "predictions": {"onnxruntime", "arrow"}, "pool_predictions": {"duckdb", "table"},
    }  # fmt: skip
    in_pool = {
        spec.key.path[-1]: spec for asset in build_assets(make_spec(engine={"kind": "sql"})) for spec in asset.specs
    }
    assert (in_pool["features"].kinds, in_pool["predictions"].kinds) == ({"duckdb"}, {"sql", "duckdb"})
    assert "as the SELECT that the engine `sql` reads by" in str(in_pool["features"].description)
    assert "landed beside the target" in str(in_pool["predictions"].description)
    assert versions() == versions() and len(versions()) == 1
    assert versions(outputs={"points": "score"}) != versions()
    for deciding_nothing in (
        {"schedule": "0 6 * * *"}, {"partitions_per_run": 7}, {"rescore": "all"}, {"checks": {"psi": 0.5}},
        {"outputs": None, "nulls": {}, "load_mode": "replace", "engine": {"kind": "onnxruntime"}},
    ):  # fmt: skip
        assert versions(**deciding_nothing) == versions(), deciding_nothing
    assert versions(checks={"nan_predictions": "allow"}) != versions()


def test_the_code_version_changes_with_the_file_that_holds_the_query(make_spec: MakeSpec, project: Project) -> None:
    def version() -> set[str | None]:
        spec = make_spec(source={"file": "visits.sql"})
        return {spec.code_version for asset in build_assets(spec) for spec in asset.specs}

    missing = version()
    (project.home / "visits.sql").write_text("SELECT * FROM visits")
    first = version()
    (project.home / "visits.sql").write_text("SELECT * FROM visits WHERE id > 3")
    assert len(missing | first | version()) == 3


def test_definitions_of_the_checkout_keep_the_models_sha256(project_home: Path) -> None:
    from onnx_pipeline.project import find_scoring
    from onnx_pipeline.sample import MODELS
    from onnx_pipeline.scoring.artifact import model_origin

    store = default_resources()["artifacts"].open()  # type: ignore[attr-defined]
    for scoring in ("length_of_stay", "readmission"):
        data = (MODELS / f"{scoring}.onnx").read_bytes()
        assert model_origin(find_scoring(scoring)).latest(store).sha256 == hashlib.sha256(data).hexdigest()


def test_what_is_scaffolded_loads() -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            OnnxScoring, defs_path="my_table", scaffold_params={"table": "orders", "key": "order_id"}
        )
        written = yaml.safe_load((folder / "defs.yaml").read_text())
        assert written["type"] == "onnx_pipeline.OnnxScoring"
        assert written["attributes"]["source"] == {"table": "orders"}
        assert written["attributes"]["target"] == "orders_predictions"
        with sandbox.load_component_and_build_defs(defs_path=folder) as (_, defs):
            defs = dg.Definitions.merge(defs, dg.Definitions(resources=default_resources()))
            assert dg.AssetKey(["my_table", "pool_predictions"]) in {
                spec.key for spec in defs.resolve_all_asset_specs()
            }


def test_what_is_scaffolded_is_yaml_for_any_name_and_says_what_was_not_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"table": "dbo.[My Table]", "key": "no"}
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(OnnxScoring, defs_path="my_table", scaffold_params=given)
        written = yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]
    assert (written["source"], written["key"]) == ({"table": "dbo.[My Table]"}, ["no"])
    assert written["target"] == "dbo.[My Table_predictions]"
    said = capsys.readouterr().err
    assert f"By default --onnx is model.onnx: correct that in {folder / 'defs.yaml'}" in said
    assert "--table is" not in said


class Terminal(io.StringIO):
    """A terminal on which these lines are typed."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_the_scaffolder_asks_for_what_no_option_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("az://models/visits.onnx\n\n"))
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(OnnxScoring, defs_path="visits", scaffold_params={"table": "visits"})
        written = yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]
    # Nothing was typed for the key, so it is what was offered.
    assert (written["onnx"], written["key"]) == ("az://models/visits.onnx", ["id"])
    assert (written["source"], written["target"]) == ({"table": "visits"}, "visits_predictions")
    said = capsys.readouterr()
    assert "--onnx: The model" in said.out and "--key: The column that identifies a row [id]" in said.out
    assert "--table" not in said.out and "By default" not in said.err


def test_whoever_ends_the_questions_finds_no_folder_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    with create_defs_folder_sandbox() as sandbox:
        with pytest.raises(click.Abort):
            sandbox.scaffold_component(OnnxScoring, defs_path="visits")
        assert not (sandbox.defs_folder_path / "visits").exists()


def test_the_help_of_the_scaffolder_lists_its_options() -> None:
    options = OnnxScoringScaffolder.get_scaffold_params().model_fields
    assert set(options) == {"onnx", "table", "key", "target"}
    for name in options:
        # `dg` prints the description; of options it lists none with Typer 0.29.
        assert f"--{name} (" in str(OnnxScoring.get_description())


def test_the_source_is_an_asset_of_its_own_unless_the_project_has_one(make_spec: MakeSpec) -> None:
    specs = {spec.key: spec for spec in definitions(make_spec()).resolve_all_asset_specs()}
    source = specs[dg.AssetKey(["visits"])]
    assert (source.group_name, source.description) == ("sources", "Table `visits` of the pool.")
    own = dg.Definitions(assets=[dg.AssetSpec("visits", group_name="elsewhere")])
    scored = dg.Definitions.merge(own, dg.Definitions(assets=build_assets(make_spec())))
    assert source_assets(scored) == []
