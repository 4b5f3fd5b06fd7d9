"""The engine `external_language`: whole scorings on an imitated SQL Server, whose language is the built extension.

No SQL Server of Microsoft's took part: what is played, and by whom, says `pools/external_scripts.py`.
"""

import datetime
import decimal
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import helper

from onnx_pipeline.base.errors import PoolError, SpecError
from onnx_pipeline.engines import engine_of, open_engine
from onnx_pipeline.engines.external.offers import lacks
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.tsql.dialect import literal
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.readiness import refuse_unsupported
from onnx_pipeline.scoring.slices import feature_slices, predict_slices
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.engines.external_language import ExternalLanguageOptions
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.engines.conftest import ground_of_engine
from onnx_pipeline_tests.engines.parity import CASES, PARTS, Case, Scored, rows
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.as_language import BuiltExtension
from onnx_pipeline_tests.pools.external_scripts import Answered, Call, ScriptError, Task, insert_exec
from onnx_pipeline_tests.pools.grounds import IMITATED, DuckDBGround, ImitatedGround
from onnx_pipeline_tests.pools.test_statements import assert_parses

KIND = "external_language"


@pytest.fixture
def ground(tmp_path: Path, request: pytest.FixtureRequest) -> ImitatedGround:
    ground = ground_of_engine(KIND, tmp_path, request)
    assert isinstance(ground, ImitatedGround)
    return ground


def scored(ground: ImitatedGround, folder: Path, case: str | Case = "tree", **options: Any) -> Scored:
    made = CASES[case] if isinstance(case, str) else case
    return Scored(ground, folder / "staging", made, {"kind": KIND, **options})


def run(ground: ImitatedGround, folder: Path, model: bytes, table: pa.Table, **attributes: Any) -> None:
    """Scores a table without partitions into `scored`."""
    ground.store("rows", table)
    given = {
        "name": "one",
        "onnx": "one.onnx",
        "source": "rows",
        "key": ["id"],
        "target": "scored",
        "engine": {"kind": KIND},
    }
    spec = ScoringSpec.model_validate({**given, **attributes})
    plan = ScoringPlan(spec, OnnxModel.from_bytes(model), ground.pool.source(spec))
    staging, keys = Staging(folder / "staging"), list(plan.partitioning.keys())
    list(feature_slices(plan, ground.pool, staging, keys, say=print))
    engine = open_engine(spec.engine, plan.task, RuntimeOptions())
    list(predict_slices(plan, engine, ground.pool, staging, keys, say=print))
    list(load(plan, ground.pool, staging, keys, run_id="run-1"))


# How the server runs it


def test_rows_go_to_two_tasks_in_chunks_and_come_back_by_their_keys(
    ground: ImitatedGround, onnx_language: BuiltExtension, tmp_path: Path
) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    one = scored(ground, tmp_path, rows_per_read=17)
    one.run()
    assert {task for task, _ in onnx_language.chunks} == {0, 1}
    assert max(count for _, count in onnx_language.chunks) == 17
    assert sum(count for _, count in onnx_language.chunks) == table.num_rows
    one.assert_right(table)


def test_one_task_reads_all_where_parallel_is_switched_off(
    ground: ImitatedGround, onnx_language: BuiltExtension, tmp_path: Path
) -> None:
    ground.store("rows", rows(gaps=False))
    scored(ground, tmp_path, parallel=False).run()
    assert onnx_language.chunks == [(0, 120), (0, 120)]


SNAPSHOT = Path(__file__).parent / "snapshots" / "external_language.sql"


def test_every_statement_is_t_sql_and_reads_as_it_did(ground: ImitatedGround, tmp_path: Path) -> None:
    """`ONNX_PIPELINE_SNAPSHOTS=write` writes the snapshot anew; read the difference before you commit it."""
    ground.store("rows", rows())
    case = CASES["a matrix beside columns"]
    one = Scored(ground, tmp_path / "staging", case, {"kind": KIND, "threads": 2, "rows_per_read": 5000})
    refuse_unsupported(one.plan, ground.pool)
    asked = [
        text
        for text in ground.server.statements
        if "SERVERPROPERTY" in text or "sys.configurations" in text or "sys.external_languages" in text
    ]
    assert len(asked) == 3
    one.run(["p"])
    (statement,) = (text for text in ground.server.statements if "sp_execute_external_script" in text)
    batch = insert_exec(statement).batch
    for text in (*asked, statement, batch, insert_exec(statement).values["input_query"]):
        assert_parses(text)
    told = re.sub(r"onnx_landing_\w+", "onnx_landing_...", statement)
    found = "\n\n".join([*asked, told.replace(literal(batch), "'...'"), f"-- the batch\n{batch}\n"])
    if os.environ.get("ONNX_PIPELINE_SNAPSHOTS") == "write":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8")


def test_the_model_is_registered_once_in_the_form_that_runs(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    case = CASES["forest with a ZipMap"]
    for run_id in ("run-1", "run-2"):
        one = scored(ground, tmp_path, case)
        one.run(run_id=run_id)
    found = ground.query("SELECT name, sha256, form, model FROM onnx_models")
    model = case.model()
    assert found == [("parity", model.sha256, "normalised", model.normalised)]
    assert model.normalised != case.make()
    assert ground.query("SELECT DISTINCT model_sha256, run_id FROM scored") == [(model.sha256, "run-2")]


def test_a_form_that_an_earlier_version_made_otherwise_is_not_what_scores(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    model = CASES["tree"].model()
    ground.pool.register_model("parity", model.sha256, b"what it was once", "{}", "normalised")
    for _ in range(2):
        one = scored(ground, tmp_path)
        one.run()
        one.assert_right(table)
    name = f"parity ({hashlib.sha256(model.normalised).hexdigest()[:12]})"
    found = ground.query("SELECT name, form, model FROM onnx_models ORDER BY id")
    assert found == [("parity", "normalised", b"what it was once"), (name, "normalised", model.normalised)]


# Whole scorings


@pytest.mark.parametrize("mode", ["replace", "upsert", "append"])
def test_slices_are_loaded_by_every_mode_and_again_after_a_change(
    mode: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    one = Scored(ground, tmp_path / "staging", CASES["tree"], {"kind": KIND, "rows_per_read": 50}, load_mode=mode)
    one.run(["p"] if mode == "append" else PARTS)
    if mode == "append":
        one.run(["q"], run_id="run-2")
    else:
        changed = table.slice(0, 200).set_column(2, "a", pa.array([0.5] * 200, pa.float32()))
        ground.store("rows", changed)
        one.run(run_id="run-2")
        # What left the source stays where rows are only put in and over, as it was scored.
        table = changed if mode == "replace" else pa.concat_tables([changed, table.slice(200)])
    assert ground.query("SELECT count(*), count(DISTINCT id) FROM scored") == [(table.num_rows, table.num_rows)]
    one.assert_right(table)
    assert not [name for name in ground.tables() if name.startswith(("onnx_landing", "onnx_staging"))]


# Model forms


def test_several_outputs_are_chosen_renamed_and_given_twice(ground: ImitatedGround, tmp_path: Path) -> None:
    model = models.classifier("logistic", "text", width=3)
    matrix = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    table = pa.table({"id": range(40), **{f"c{place}": matrix[:, place] for place in range(3)}})
    outputs = {"chance": "probabilities", "answer": "label", "again": "label"}
    run(
        ground,
        tmp_path,
        model,
        table,
        features=["c0", "c1", "c2"],
        outputs=outputs,
        engine={"kind": KIND, "rows_per_read": 9},
    )
    truth = models.truth(model, {"X": matrix})
    found = ground.query('SELECT "chance_hoch é", chance_low, chance_mittel, answer, again FROM scored ORDER BY id')
    np.testing.assert_allclose([row[:3] for row in found], truth["probabilities"], rtol=1e-5, atol=1e-6)
    assert [row[3:] for row in found] == [(label, label) for label in truth["label"]]


TYPES: Mapping[str, tuple[int, pa.DataType, Sequence[Any]]] = {
    "f": (models.FLOAT, pa.float32(), [1.5, None, -0.25]),
    "d": (models.DOUBLE, pa.float64(), [0.1, None, 1e300]),
    "s": (models.STRING, pa.string(), ["é'", "", "\U0001f600 "]),
    "flag": (models.BOOL, pa.bool_(), [True, False, True]),
    "big": (models.INT64, pa.int64(), [2**62 + 1, -1, 0]),
    "i": (models.INT32, pa.int32(), [-(2**31), 0, 7]),
    "h": (models.INT16, pa.int16(), [-5, 0, 32767]),
}


@pytest.mark.parametrize("flat", [True, False])
def test_every_type_goes_in_and_comes_out(flat: bool, ground: ImitatedGround, tmp_path: Path) -> None:
    model = models.echo({name: dtype for name, (dtype, _, _) in TYPES.items()}, flat=flat)
    table = pa.table({"id": [3, 1, 2], **{name: pa.array(values, arrow) for name, (_, arrow, values) in TYPES.items()}})
    run(ground, tmp_path, model, table, checks={"nan_predictions": "allow"})
    names = ", ".join(f"{name}_out" for name in TYPES)
    found = ground.query(f"SELECT {names} FROM scored ORDER BY id")
    given = list(zip(*(values for _, _, values in TYPES.values()), strict=True))
    assert found == [given[1], given[2], given[0]]


def test_a_column_feeds_two_places_and_names_of_the_model_meet_ours(ground: ImitatedGround, tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["X0", "w"], ["h"])
    added = helper.make_node("Add", ["h", "k1"], ["p0"])
    inputs = [("X0", models.FLOAT, [None, 3]), ("k1", models.FLOAT, [None, 1])]
    weights = {"w": np.array([[1], [10], [100]], np.float32)}
    model = models.build([node, added], inputs, [("p0", models.FLOAT, [None, 1])], weights)
    table = pa.table(
        {"id": [1, 2], "a": pa.array([1.0, 2.0], pa.float32()), 'b "x"': pa.array([3.0, 4.0], pa.float32())}
    )
    features = {"X0": ["a", 'b "x"', "a"], "k1": 'b "x"'}
    run(ground, tmp_path, model, table, features=features)
    assert ground.query("SELECT id, p0 FROM scored ORDER BY id") == [(1, 134.0), (2, 246.0)]


MOMENT = datetime.datetime(2026, 3, 4, 5, 6, 7, 89)
KEYS: Mapping[str, tuple[pa.DataType, Sequence[Any]]] = {
    "text": (pa.string(), ["a'b", "é ", "\U0001f600"]),
    "number": (pa.int64(), [2**62 + 1, -(2**62) - 1, 0]),
    "small": (pa.int16(), [-1, 0, 1]),
    "exact": (pa.decimal128(38, 4), [decimal.Decimal("1234567890123456789012345678901234.5678"), decimal.Decimal("-0.0001"), decimal.Decimal(0)]),
    "day": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(2026, 2, 28), datetime.date(9999, 12, 31)]),
    "moment": (pa.timestamp("us"), [MOMENT, MOMENT.replace(microsecond=0), MOMENT.replace(year=1800)]),
    "clock": (pa.time64("us"), [datetime.time(1, 2, 3, 4), datetime.time(0), datetime.time(23, 59, 59, 999999)]),
    "known": (pa.uuid(), [uuid.UUID(int=1).bytes, uuid.UUID(int=2**127).bytes, uuid.UUID(int=3).bytes]),
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_every_type_pass_through_unchanged(key: str, ground: ImitatedGround, tmp_path: Path) -> None:
    arrow, values = KEYS[key]
    table = pa.table({key: pa.array(values, arrow), "x": pa.array([1.0, 2.0, 3.0], pa.float32()), "at": [MOMENT] * 3})
    model = models.echo({"x": models.FLOAT})
    run(ground, tmp_path, model, table, key=[key], source={"table": "rows", "changed": "at"})
    found = dict(ground.query(f'SELECT "{key}", x_out FROM scored'))
    wanted = [str(uuid.UUID(bytes=value)) for value in values] if key == "known" else values
    assert found == dict(zip(wanted, [1.0, 2.0, 3.0], strict=True))
    (log,) = ground.pool.scoring_log("one").values()
    assert log.fingerprint.changed == MOMENT.isoformat()


# What does not work


class Playing:
    """A language of a test's own."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @contextmanager
    def task(self, call: Call, schema: pa.Schema, number: int, tasks: int) -> Iterator[Task]:
        yield self.answer


def assert_nothing_left(ground: ImitatedGround) -> None:
    assert not [name for name in ground.tables() if name.startswith("onnx_landing")]
    assert "scored" not in ground.tables()


def refused(ground: ImitatedGround, folder: Path) -> str:
    ground.store("rows", rows(gaps=False))
    with pytest.raises(PoolError) as raised:
        scored(ground, folder).run(["p"])
    assert_nothing_left(ground)
    return str(raised.value)


def test_a_language_that_answers_other_columns_is_error_11537_with_what_to_do(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    ground.server.languages["ONNX"] = Playing(lambda chunk: [Answered("BIGINT", chunk["k0"].to_pylist())])
    assert re.search(
        r"specified 4 column\(s\) for result set number 1, but the statement sent 1 column\(s\) at run time\. What is "
        "registered as the language is not of this version.*extension deploy",
        refused(ground, tmp_path),
    )


def test_what_cannot_become_the_declared_type_is_error_11538(ground: ImitatedGround, tmp_path: Path) -> None:
    def answer(chunk: pa.Table) -> list[Answered]:
        kinds = {"k0": "BIGINT", "k1": "INT", "k2": "INT"}
        keys = [Answered(kind, chunk[name].to_pylist()) for name, kind in kinds.items()]
        return [*keys, Answered("VARBINARY", [b"x"] * chunk.num_rows)]

    ground.server.languages["ONNX"] = Playing(answer)
    assert re.search(r"specified type 'real' for column #4.*extension deploy", refused(ground, tmp_path))


@pytest.mark.parametrize(
    ("number", "text", "remedy"),
    [
        (39023, "'sp_execute_external_script' is disabled on this instance of SQL Server.", "external scripts enabled', 1"),
        (39011, "SQL Server was unable to communicate with the LaunchPad service.", "start mssql-launchpadd"),
        (39012, "Unable to communicate with the runtime for 'ONNX' script.", "docs/external-language.md"),
        (39021, "Unable to launch runtime for 'ONNX' script.", "extension deploy"),
        (229, "The EXECUTE permission was denied on the object 'x'.", "external_language_roles.sql"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_is_told_with_what_to_do(
    number: int, text: str, remedy: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    def answer(chunk: pa.Table) -> list[Answered]:
        raise ScriptError(number, text)

    ground.server.languages["ONNX"] = Playing(answer)
    found = refused(ground, tmp_path)
    assert text.rstrip(".") in found
    assert remedy in found
    assert found.endswith("Nothing was staged.")


def test_a_language_that_goes_while_a_run_is_on_its_way_is_told(ground: ImitatedGround, tmp_path: Path) -> None:
    del ground.server.languages["ONNX"]
    assert re.search("'ONNX' is not registered.*onnx-pipeline extension deploy", refused(ground, tmp_path))


def test_a_model_that_somebody_removes_meanwhile_is_told(
    ground: ImitatedGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registering = type(ground.pool).register_model

    def and_gone(self: Any, *arguments: Any) -> int:
        number = registering(self, *arguments)
        ground.query("DELETE FROM onnx_models")
        return number

    monkeypatch.setattr(type(ground.pool), "register_model", and_gone)
    assert re.search(r"onnx_models holds no model 1 that you may read\. Somebody removed it", refused(ground, tmp_path))


OFFERED = [
    ({}, ""),
    ({"edition": 5}, "engine edition 5.*runs no external languages.*onnxruntime"),
    ({"edition": 8}, "engine edition 8.*runs no external languages"),
    ({"major": 14}, r"version 14.*SQL Server 2019 or later"),
    ({"enabled": 0}, "does not run external scripts.*sp_configure"),
    ({"may_run": 0}, "may run no external scripts.*GRANT EXECUTE ANY EXTERNAL SCRIPT"),
    (
        {"may_use": 0},
        "may not run the external language ONNX.*GRANT EXECUTE EXTERNAL SCRIPT ON EXTERNAL LANGUAGE::ONNX",
    ),
    # A server that does not know this kind of right says NULL.
    ({"may_run": None, "may_use": None}, ""),
]


@pytest.mark.parametrize(("offered", "reason"), OFFERED)
def test_what_the_server_lacks_is_told_before_a_row_moves(
    offered: Mapping[str, int | None], reason: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    ground.server.offers.update(offered)
    ground.store("rows", rows(gaps=False))
    plan = scored(ground, tmp_path).plan
    if not reason:
        refuse_unsupported(plan, ground.pool)
        return
    with pytest.raises(SpecError, match=f"{KIND}` cannot run this model, since .*{reason}.*Nothing was scored"):
        refuse_unsupported(plan, ground.pool)
    assert re.search(reason, str(engine_of(ExternalLanguageOptions).unsupported(plan.model, ground.pool)))


def test_a_language_that_is_not_registered_is_told_before_a_row_moves(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    refuse_unsupported(scored(ground, tmp_path).plan, ground.pool)
    for options in ({}, {"language": "ONNX_next"}):
        if not options:
            ground.server.languages.clear()
        plan = scored(ground, tmp_path, **options).plan
        with pytest.raises(SpecError, match=r"external language \w+ is not registered.*onnx-pipeline extension deploy"):
            refuse_unsupported(plan, ground.pool)


def test_a_server_that_does_not_answer_the_question_is_told(
    ground: ImitatedGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise PoolError("Invalid object name 'sys.external_languages'")

    monkeypatch.setattr("onnx_pipeline.engines.external.offers.offers", refuse)
    ((why, _),) = lacks(ground.pool, "ONNX", registers="deploys it")
    assert "does not say what external scripts it runs (Invalid object name" in why


@pytest.mark.parametrize("kind", ["duckdb", *IMITATED[1:]])
def test_other_pools_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    ground = DuckDBGround(tmp_path) if kind == "duckdb" else ImitatedGround(kind, tmp_path)
    ground.store("rows", rows(gaps=False))
    one = Scored(ground, tmp_path / "staging", CASES["tree"], {"kind": KIND})
    with pytest.raises(SpecError, match=f"a pool of the kind {kind} runs no external languages: score it with"):
        refuse_unsupported(one.plan, ground.pool)
    if kind == "duckdb":
        with pytest.raises(SpecError, match="a pool of the kind duckdb runs no external scripts, so nothing landed"):
            one.run(["p"])
        assert "scored" not in ground.tables()


def test_models_that_the_language_cannot_run_are_refused_with_why() -> None:
    engine = engine_of(ExternalLanguageOptions)
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in "xy"]
    tensors = [("x", models.FLOAT, [None, 2]), ("y", models.FLOAT, [None, 3])]
    two = models.build(nodes, tensors, [(f"{name}_out", dtype, shape) for name, dtype, shape in tensors])
    wide = models.echo({"x": models.UINT64})
    reasons = {
        name: [why for why, _ in engine.unsupported(OnnxModel.from_bytes(made), None)]
        for name, made in (("two", two), ("wide", wide))
    }
    assert reasons == {
        "two": ["it has 2 inputs of several columns (x, y), and the language fills one"],
        "wide": [
            "its input 'x' is uint64, which the language cannot fill",
            "its output 'x_out' is uint64, which the language cannot return",
        ],
    }


@pytest.mark.parametrize("language", ["", "a b", "Python", "x]"])
def test_a_name_that_is_no_languages_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="must be letters, digits and underscores, and none of R, Python, Java"):
        ExternalLanguageOptions(language=language)
