"""What a spec refuses, and how it says so."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.spec.checks import CheckSpec
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.source import SourceSpec
from onnx_pipeline.spec.target import PROVENANCE, TargetSpec

MINIMAL = {"onnx": "model.onnx", "source": "encounters", "key": ["id"], "target": "scores", "name": "risk"}


def spec(**changes):
    return ScoringSpec(**{**MINIMAL, **changes})


def test_four_attributes_are_enough_and_the_defaults_are_the_careful_ones():
    made = spec()
    assert made.load_mode == "replace"
    assert made.partition_spec is None
    assert made.rescore_latest == 0
    assert made.source_spec == SourceSpec(table="encounters")
    assert made.target_table == "scores"
    assert made.engine.kind == "onnxruntime"
    assert (made.checks.null_rate, made.checks.psi, made.checks.nan_predictions) == (0.2, 0.25, "fail")
    assert made.checks.blocking == ()


@pytest.mark.parametrize("missing", ["source", "key", "target"])
def test_what_has_no_default_is_required(missing):
    given = {name: value for name, value in MINIMAL.items() if name != missing}
    with pytest.raises(ValidationError, match=rf"(?s){missing}.*Field required"):
        ScoringSpec(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": []}, r"key must be one or more distinct columns; got \[\]"),
        ({"key": ["id", "ID"]}, r"key must be one or more distinct columns; got \['id', 'ID'\]"),
        ({"key": ["run_id"]}, r"key column 'run_id' has the name of a provenance column: rename it in a query"),
        ({"key": ["Partition_Key"]}, r"key column 'partition_key' has the name of a provenance column"),
        ({"rescore": "latest"}, r"rescore must be `none`, `all` or `latest <n>`, e.g. `latest 7`; got 'latest'"),
        ({"rescore": "latest 0"}, r"got 'latest 0'"),
        ({"rescore": "some"}, r"got 'some'"),
        ({"name": "length of stay"}, r"name 'length of stay' may hold letters, digits and underscores only"),
        ({"name": ""}, r"name '' may hold letters"),
        ({"outputs": {}}, r"outputs is empty: name at least one, or leave it out for all of them"),
        ({"outputs": {"ID": "variable"}}, r"outputs: 'ID' is a key or provenance column of the target"),
        ({"outputs": {"model_sha256": "variable"}}, r"outputs: 'model_sha256' is a key or provenance column"),
        ({"schedule": "every morning"}, r"schedule 'every morning' is not a cron expression; five fields"),
        ({"schedule": "61 * * * *"}, r"schedule '61 \* \* \* \*' is not a cron expression"),
        ({"partitions_per_run": 0}, r"(?s)partitions_per_run.*greater than or equal to 1"),
        ({"partitions": "all"}, r"(?s)partitions.*'none'"),
        ({"load_mode": "merge"}, r"(?s)load_mode.*'replace', 'append' or 'upsert'"),
        ({"engine": {"kind": "abacus"}}, r"(?s)engine.kind.*no engine 'abacus'; there are: onnxruntime, remote"),
        ({"feature": {}}, r"(?s)feature\n.*Extra inputs are not permitted"),
        ({"target": {"table": "t", "indexes": "heap"}}, r"(?s)indexes\n.*Extra inputs are not permitted"),
        ({"target": {"table": "t", "index": "btree"}}, r"(?s)index\n.*'heap' or 'columnstore'"),
        ({"target": {"table": "t", "distribution": "hash"}}, r"distribution 'hash' must be `hash\(<column>\)` or"),
        ({"checks": {"psi": 0}}, r"(?s)checks.psi.*greater than 0"),
        ({"checks": {"null_rate": 1.5}}, r"(?s)checks.null_rate.*less than or equal to 1"),
        ({"checks": {"blocking": ["speed"]}}, r"(?s)checks.blocking.*'null_rate' or 'psi'"),
        ({"checks": {"nan_predictions": "ignore"}}, r"(?s)nan_predictions.*'fail' or 'allow'"),
    ],
)
def test_a_wrong_attribute_is_named_with_its_value(changes, message):
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "exactly one of table, query and file; got none of them"),
        ({"table": "t", "query": "SELECT 1"}, r"exactly one of table, query and file; got \['table', 'query'\]"),
        ({"changed": "updated_at"}, "got none of them"),
    ],
)
def test_a_source_is_one_thing(source, message):
    with pytest.raises(ValidationError, match=message):
        SourceSpec(**source)


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ({}, r"exactly one of every, values and buckets; got none of them. Leave partitions out"),
        ({"column": "day"}, r"got none of them"),
        (
            {"column": "day", "every": "day", "start": "2026-01-01", "values": ["a"]},
            r"got \['every', 'values'\]",
        ),
        ({"column": "day", "values": ["a"], "buckets": 4}, r"got \['values', 'buckets'\]"),
        ({"every": "day", "start": "2026-01-01"}, r"partitions with `every` needs `column`"),
        ({"values": ["a"]}, r"partitions with `values` needs `column`"),
        ({"buckets": 4, "column": "day"}, r"partitions with `buckets` hashes the key: leave `column` out"),
        ({"column": "day", "every": "day"}, r"needs `start`, the first instant: start: 2026-01-01"),
        ({"buckets": 4, "start": "2026-01-01"}, r"`start` belongs to partitions with `every`"),
        (
            {"column": "day", "every": "day", "start": "2026-01-01", "day_offset": 1},
            r"`day_offset` belongs to weeks and months",
        ),
        *(
            ({"column": "day", "every": "month", "start": "2026-01-01", "day_offset": day}, message)
            for day, message in (
                (28, "day_offset 28 is no day that every month has.*Write one of 0 to 27"),
                (30, "day_offset 30 is no day that every month has"),
                (-1, "day_offset -1 is no day that every month has"),
            )
        ),
        ({"column": "d", "every": "week", "start": "2026-01-01", "day_offset": 7}, "day_offset 7 is no day of a week"),
        (
            {"column": "d", "every": "week", "start": "2026-01-01", "day_offset": -1},
            "day_offset -1 is no day of a week",
        ),
        ({"buckets": 4, "until": "2026-01-01"}, "`until` belongs to partitions with `every`"),
        *(
            (
                {"column": "d", "every": every, "start": "2026-01-01", "until": until},
                f"until '{until}' is not after start '2026-01-01', so there is no partition between them",
            )
            for every, until in (("week", "2026-01-01"), ("day", "2025-01-01"), ("hour", "2026-01-01-00:00"))
        ),
        ({"column": "site", "values": []}, r"values must be distinct and at least one; got \[\]"),
        ({"column": "site", "values": [1, "1"]}, r"values must be distinct and at least one; got \['1', '1'\]"),
        ({"buckets": 0}, r"greater than or equal to 1"),
        ({"buckets": 10_001}, r"less than or equal to 10000"),
        ({"column": "day", "every": "minute", "start": "2026-01-01"}, r"'hour', 'day', 'week' or 'month'"),
        (
            {"column": "day", "every": "day", "start": "2026-01-01", "timezone": "Europe/Berln"},
            r"unknown time zone 'Europe/Berln': use an IANA name, e.g. Europe/Berlin or UTC",
        ),
        (
            {"column": "day", "every": "day", "start": "2026-01-01", "timezone": "../etc/passwd"},
            r"unknown time zone '../etc/passwd'",
        ),
    ],
)
def test_partitions_are_of_one_kind(partitions, message):
    with pytest.raises(ValidationError, match=message):
        PartitionSpec(**partitions)


def test_the_kind_of_partitions_follows_from_what_is_given():
    assert PartitionSpec(column="d", every="day", start="2026-01-01").kind == "time"
    assert PartitionSpec(column="d", values=["a", "b"]).kind == "values"
    assert PartitionSpec(buckets=8).kind == "buckets"


@pytest.mark.parametrize(("text", "latest"), [("none", 0), ("all", None), ("latest 7", 7), ("latest 120", 120)])
def test_rescore_says_how_many_of_the_latest_partitions(text, latest):
    assert spec(rescore=text).rescore_latest == latest


def test_a_spec_cannot_be_changed_once_it_is_checked():
    with pytest.raises(ValidationError, match="frozen"):
        spec().key = ["other"]
    with pytest.raises(ValidationError, match="frozen"):
        CheckSpec().psi = 1.0


def test_a_placed_spec_takes_the_folders_name_and_place():
    given = {name: value for name, value in MINIMAL.items() if name != "name"}
    folder = Path("/defs/length_of_stay")
    placed = ScoringSpec(**given, rescore="latest 3").placed(name="length_of_stay", directory=folder)
    assert placed.scoring == "length_of_stay"
    assert placed.base == folder
    assert placed.rescore == "latest 3"


def test_what_a_spec_says_of_itself_wins_over_the_folder():
    placed = spec(directory="/elsewhere").placed(name="folder", directory=Path("/defs/folder"))
    assert placed.scoring == "risk"
    assert placed.base == Path("/elsewhere")


def test_a_folder_whose_name_cannot_be_a_scorings_name_is_refused():
    given = {name: value for name, value in MINIMAL.items() if name != "name"}
    with pytest.raises(SpecError, match=r"'length-of-stay' holds other characters.*Rename the folder, or give `name:`"):
        ScoringSpec(**given).placed(name="length-of-stay", directory=Path("/defs/length-of-stay"))


def test_a_scoring_outside_a_folder_needs_a_name():
    given = {name: value for name, value in MINIMAL.items() if name != "name"}
    with pytest.raises(SpecError, match="needs `name`"):
        _ = ScoringSpec(**given).scoring


def test_a_target_may_be_a_name_or_a_mapping():
    assert spec(target={"table": "mart.scores"}).target_table == "mart.scores"
    assert spec(target=TargetSpec(table="mart.scores")).target_table == "mart.scores"


@pytest.mark.parametrize("name", PROVENANCE)
def test_no_output_takes_the_name_of_a_provenance_column(name):
    with pytest.raises(ValidationError, match=f"'{name}' is a key or provenance column"):
        spec(outputs={name: "variable"})


def test_a_misspelt_value_is_answered_with_the_nearest_ones_or_all():
    assert closest("encountrs", ["encounters", "patients"]) == "did you mean 'encounters'?"
    assert closest("zzz", ["encounters", "patients"]) == "there are: encounters, patients"
    assert closest("zzz", []) == "there are none"
    assert closest("zzz", list(range(50))).endswith("38, 39, ...")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's
def test_a_stand_in_is_the_text_in_its_quotes() -> None:
    from onnx_pipeline.component import OnnxScoring

    text = (
        "{onnx: m.onnx, source: visits, key: [id], target: scores, "
        "nulls: {code: '1_0', word: '1.0', flag: 'true', age: 40, share: 0.5, gone: nan, half: '{{ 1 / 2 }}'}}"
    )
    nulls = OnnxScoring.resolve_from_yaml(text).nulls
    assert dict(nulls) == {
        "code": "1_0", "word": "1.0", "flag": "true", "age": 40, "share": 0.5, "gone": "nan", "half": 0.5
    }  # fmt: skip
