"""The engine `predict`: whole scorings on an imitated Synapse pool, whose PREDICT is ONNX Runtime row by row."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from onnx_pipeline.base.errors import FeatureValueError, PoolError, PoolPausedError, PredictionError, SpecError
from onnx_pipeline.engines.predict import probe
from onnx_pipeline.engines.predict.engine import PredictEngine
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.pools.synapse import predict
from onnx_pipeline.scoring.readiness import refuse_unsupported
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.scoring.validation import Level, validate
from onnx_pipeline_tests.engines.parity import CASES, PARTS, Case, Scored, graph, rows
from onnx_pipeline_tests.pools.grounds import Ground, ImitatedGround, ground_of
from onnx_pipeline_tests.pools.imitation import Fault
from onnx_pipeline_tests.pools.test_statements import assert_parses
from onnx_pipeline_tests.scoring.landing_contract import COUNT, House, visits

PREDICT = {"kind": "predict"}


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every imitated pool has the same name, and a process asks a pool once."""
    monkeypatch.setattr(probe, "_answers", set())


@pytest.fixture
def ground(tmp_path: Path) -> ImitatedGround:
    ground = ImitatedGround("synapse", tmp_path)
    ground.server.answers_predict = True
    return ground


def scored(ground: Ground, folder: Path, case: Case, **attributes: Any) -> Scored:
    return Scored(ground, folder / "staging", case, PREDICT, **attributes)


def in_column(table: pa.Table, name: str, values: Mapping[int, Any]) -> pa.Table:
    """The table with some values of a column in place of others."""
    kept = [values.get(place, value) for place, value in enumerate(table[name].to_pylist())]
    return table.set_column(table.column_names.index(name), name, pa.array(kept, table.schema.field(name).type))


def landed(ground: ImitatedGround) -> set[str]:
    return {name for name in ground.tables() if name.startswith("onnx_landing")}


# What is sent


def test_a_slice_is_a_table_of_exact_types_and_predict_over_it(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    scored(ground, tmp_path, CASES["one-hot"]).run(["p"])
    sent = [
        text for text in ground.server.statements if re.match("SELECT .* INTO|INSERT INTO .*PREDICT", text, re.DOTALL)
    ]
    first, second = sent
    for statement in sent:
        assert_parses(statement)
    assert "CAST(features.a AS REAL) END AS f0" in first and "AS VARCHAR(8000)) END AS f2" in first
    assert re.search(
        r"FROM PREDICT\(MODEL = \(SELECT TOP 1 model FROM onnx_models WHERE id = \d+ AND sha256 = '", second
    )
    assert re.search(
        r"DATA = \[dbo\]\.\[onnx_landing_\w+s1\] AS \[d\], RUNTIME = ONNX\) "
        r"WITH \(\[p0\] REAL, \[number0\] INTEGER\) AS \[p\]",
        second,
    )


def test_the_form_is_registered_once_and_names_its_original(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    for run in ("run-1", "run-2"):
        one = scored(ground, tmp_path, CASES["tree"])
        one.run(run_id=run)
    ((name, sha256, form, data),) = ground.query("SELECT name, sha256, form, model FROM onnx_models")
    model = CASES["tree"].model()
    assert (name, sha256) == ("parity", model.sha256)
    assert form.startswith("scalars ") and bytes(data) != model.normalised
    (origin,) = onnx.load_model_from_string(bytes(data)).metadata_props
    assert (origin.key, origin.value) == ("scalar_form_of", model.sha256)
    assert ground.query("SELECT DISTINCT model_sha256 FROM scored") == [(model.sha256,)]


def test_other_columns_and_predictions_are_other_forms_of_the_same_model(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    ground.store("rows", rows(gaps=False))
    for outputs in ({"p": "probabilities"}, {"label": "label"}):
        Scored(ground, tmp_path / next(iter(outputs)), CASES["forest of text labels"], PREDICT, outputs=outputs,
               target=f"scored_{next(iter(outputs))}").run()  # fmt: skip
    assert len(ground.query("SELECT DISTINCT form FROM onnx_models")) == 2
    assert len(ground.query("SELECT DISTINCT sha256 FROM onnx_models")) == 1


# What the model gets and gives


KINDS = {
    "f": (TensorProto.FLOAT, pa.float32()), "d": (TensorProto.DOUBLE, pa.float64()), "h": (TensorProto.FLOAT16, pa.float32()),
    "l": (TensorProto.INT64, pa.int64()), "i": (TensorProto.INT32, pa.int32()), "s": (TensorProto.INT16, pa.int16()),
    "y": (TensorProto.UINT8, pa.int16()), "u": (TensorProto.UINT32, pa.int64()), "b": (TensorProto.BOOL, pa.bool_()),
    "t": (TensorProto.STRING, pa.string()),
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "f": [0.1, None, -3.4028234e38, 1e-38], "d": [0.1, 1.7e308, None, -2.0], "h": [0.5, 65504.0, None, -0.25],
    "l": [2**63 - 1, -(2**63), 0, 2**53 + 1], "i": [2**31 - 1, -5, 0, 7], "s": [-32768, 32767, 0, 1],
    "y": [0, 255, 7, 1], "u": [2**32 - 1, 0, 7, 1], "b": [True, False, True, False],
    "t": ["it's", "", "two words", "~"],
}  # fmt: skip


def test_every_type_goes_in_and_comes_out_as_it_is(ground: ImitatedGround, tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, (kind, _) in KINDS.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, [None, 1]) for name, (kind, _) in KINDS.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in KINDS]
    made = helper.make_model(
        helper.make_graph(nodes, "echo", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    table = pa.table({name: pa.array(VALUES[name], arrow) for name, (_, arrow) in KINDS.items()})
    ground.store("rows", table.add_column(0, "part", [["p"] * 4]).add_column(0, "id", pa.array(range(4), pa.int64())))
    case = Case(made.SerializeToString, attributes={"checks": {"nan_predictions": "allow"}})
    one = scored(ground, tmp_path, case)
    one.run(["p"])
    for name, values in zip(KINDS, one.predictions(), strict=True):
        wanted = [np.float32(value).item() if name == "f" and value is not None else value for value in VALUES[name]]
        assert values == wanted, name


def test_a_prediction_that_overflows_is_null_and_refused_as_by_every_engine(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    table = in_column(rows(gaps=False), "a", {10: 3e38})
    ground.store("rows", in_column(table, "b", {10: 1e30}))
    with pytest.raises(PredictionError, match="predictions are NULL, NaN or infinite: score in 1 of 120 rows"):
        scored(ground, tmp_path, replace(CASES["arithmetic"], attributes={})).run(["p"])
    one = scored(ground, tmp_path, CASES["arithmetic"])
    one.run(["p"])
    assert ground.query("SELECT score FROM scored WHERE id = 10") == [(None,)]


def test_several_inputs_with_nulls_of_every_kind(ground: ImitatedGround, tmp_path: Path) -> None:
    table = rows()
    ground.store("rows", table)
    one = scored(ground, tmp_path, replace(CASES["a matrix beside columns"], nulls={"n": -7, "word": "it's unknown"}))
    one.run()
    one.assert_right(table)


TEXTS = {
    "another alphabet": ({8: "é", 10: "зелёный"}, r"column 'word' holds 2 texts such as 'é'|such as 'зелёный'"),
    "a text that is too long": ({10: "x" * 8001}, "column 'word' holds 1 texts such as 'xxx"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_varchar_would_change_is_refused_and_named(
    name: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    values, message = TEXTS[name]
    ground.store("rows", in_column(rows(gaps=False), "word", values))
    with pytest.raises(FeatureValueError, match=message) as raised:
        scored(ground, tmp_path, CASES["one-hot"]).run(["p"])
    assert "score it with `engine: {kind: sql}`" in str(raised.value)
    assert not landed(ground) and "scored" not in ground.tables()


def test_a_text_of_8000_letters_and_blanks_at_ends_are_scored_as_they_are(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    table = in_column(rows(gaps=False), "word", {10: "x" * 8000, 12: "red ", 14: "\ttab\n"})
    ground.store("rows", table)
    one = scored(ground, tmp_path, CASES["one-hot"])
    one.run()
    one.assert_right(table)


def test_a_refused_column_is_named_as_the_source_has_it(ground: ImitatedGround, tmp_path: Path) -> None:
    table = in_column(rows(gaps=False), "word", {10: "é"})
    ground.store("rows", table.rename_columns(["colour" if name == "word" else name for name in table.column_names]))
    case = replace(CASES["one-hot"], nulls={"a": 0.5, "b": -0.5})
    one = scored(ground, tmp_path, case, features={"word": "colour"})
    with pytest.raises(FeatureValueError, match="column 'colour' holds 1 texts such as 'é'"):
        one.run(["p"])


# Loads, breaks and reruns


@pytest.fixture
def house(ground: ImitatedGround, staging: Staging, weighted_sum: Any) -> House:
    ground.store("visits", visits())
    return House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), "predict")


def wanted(ward: int = 0) -> dict[int, Any]:
    ids = range(ward, COUNT, 2)
    return {i: pytest.approx(np.float32(2) * np.float32(i / 7 - 3) + np.float32(i % 5), rel=1e-6) for i in ids}


@pytest.mark.parametrize("mode", ["replace", "upsert", "append"])
def test_every_load_mode_takes_what_landed(mode: str, house: House) -> None:
    loading = House(house.ground, house.staging, house.model, "predict", load_mode=mode)
    for ward in ("east", "west"):
        loading.land(ward)
    loading.load("east", "west")
    assert (loading.scores("east"), loading.scores("west")) == (wanted(), wanted(1))
    log = loading.ground.pool.scoring_log("house")
    assert {key: row.rows for key, row in log.items()} == dict.fromkeys(("east", "west"), COUNT // 2)
    assert {name for name in house.ground.tables() if name.startswith("onnx_")} == {"onnx_scoring_log", "onnx_models"}


EVERY = [False, pytest.param(True, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("every", EVERY, ids=["some", "every"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
def test_a_connection_that_breaks_at_a_statement_is_tried_again(
    after: bool, every: bool, house: House, ground: ImitatedGround
) -> None:
    house.land()
    ground.server.statements.clear()
    house.land()
    statements = list(ground.server.statements)
    assert sum("PREDICT(" in statement for statement in statements) == 1
    for at, statement in list(enumerate(statements, 1))[:: 1 if every else 6]:
        ground.server.statements.clear()
        ground.server.fault = Fault(at, None, after)
        assert house.land().rows == COUNT // 2, f"statement {at}: {statement}"
        ground.server.fault = None
        assert len(landed(ground)) == 1
    house.load()
    assert house.scores("east") == wanted()


class Killed(BaseException):
    """Ends everything where it stands, as the end of a process does."""


@pytest.mark.parametrize("every", EVERY, ids=["some", "every"])
def test_a_run_that_is_killed_at_a_statement_leaves_the_old_rows_or_the_new_ones(
    every: bool, house: House, ground: ImitatedGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(run_id: str) -> None:
        house.survey()
        house.land()
        house.load(run_id=run_id)

    def standing() -> str:
        assert house.scores("east") == wanted()
        ((run_id,),) = ground.query("SELECT DISTINCT run_id FROM house_scores")
        assert ground.query("SELECT run_id FROM onnx_scoring_log") == [(run_id,)]
        return str(run_id)

    run("first")
    ground.server.statements.clear()
    run("old")
    arrive, places = type(ground.server).arrive, range(1, len(ground.server.statements) + 1)
    seen = set()
    for at in places[:: 1 if every else 10]:

        def dying(server: Any, connection: Any, statement: str, carry_out: Any, at: int = at) -> Any:
            if len(server.statements) + 1 >= at:
                connection.rollback()
                raise Killed
            return arrive(server, connection, statement, carry_out)

        ground.server.statements.clear()
        monkeypatch.setattr(type(ground.server), "arrive", dying)
        with pytest.raises(Killed):
            run("new")
        monkeypatch.setattr(type(ground.server), "arrive", arrive)
        seen.add(standing())
        run("old")
        assert standing() == "old"
    assert "old" in seen


# Pools and models that it is not for


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("duckdb", "DuckDB has no PREDICT"),
        ("mssql", "PREDICT of SQL Server and Managed Instance takes models of RevoScale alone, and Azure SQL has none"),
        ("fabric", "a Fabric Warehouse has no PREDICT in T-SQL"),
        ("synapse", r"imitation\S* does not answer PREDICT \(.*Incorrect syntax near 'MODEL'"),
    ],
)
def test_a_pool_that_refuses_gets_one_error_that_names_the_engine_to_use(kind: str, why: str, tmp_path: Path) -> None:
    ground = ground_of(kind, tmp_path)
    ground.store("rows", rows(gaps=False))
    one = scored(ground, tmp_path, CASES["tree"])
    with pytest.raises(SpecError) as raised:
        refuse_unsupported(one.plan, ground.pool)
    message = str(raised.value)
    assert re.search(
        f"parity: the engine `predict` cannot run this model, since .*{why}.*: score it with `engine: {{kind: sql}}`, "
        "which scores in the pool, too, or `engine: {kind: onnxruntime}`. Nothing was scored", message,
    ), message  # fmt: skip
    assert "onnx_models" not in ground.tables()
    assert PredictEngine.unsupported(one.plan.model, ground.pool)


def test_a_model_that_sql_cannot_run_either_is_sent_to_onnxruntime(tmp_path: Path) -> None:
    nodes = [helper.make_node("Acos", ["a"], ["score"])]
    data = graph(nodes, {"a": TensorProto.FLOAT}, {"score": TensorProto.FLOAT}, ())
    ground = ground_of("duckdb", tmp_path)
    ((_, remedy),) = PredictEngine.unsupported(OnnxModel.from_bytes(data), ground.pool)
    assert remedy == "score it with `engine: {kind: onnxruntime}`, which runs every ONNX model"


def test_a_pool_is_asked_once_and_one_that_refused_again(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    one = scored(ground, tmp_path, CASES["tree"])
    model = one.plan.model

    def asked() -> int:
        return sum("PREDICT(" in statement for statement in ground.server.statements)

    ground.server.answers_predict = False
    assert PredictEngine.unsupported(model, ground.pool) and PredictEngine.unsupported(model, ground.pool)
    assert asked() == 2
    ground.server.answers_predict = True
    for _ in range(3):
        assert not PredictEngine.unsupported(model, ground.pool)
    assert asked() == 3


def test_a_pool_that_answers_wrongly_does_not_count_as_one_that_answers(
    ground: ImitatedGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_model_from_string(predict.ONE_MORE)
    model.graph.node[0].op_type = "Sub"
    one_less = predict.QUESTION.replace(predict.ONE_MORE.hex(), model.SerializeToString().hex())
    assert one_less != predict.QUESTION
    monkeypatch.setattr(predict, "QUESTION", one_less)
    assert "it answered [(40.0,)] where 42 is right" in str(probe.refused(ground.pool))


@pytest.mark.parametrize("number", [42108, 42109])
def test_a_pool_that_cannot_be_asked_has_not_refused(number: int, ground: ImitatedGround) -> None:
    ground.server.statements.clear()
    ground.server.fault = Fault(2, number)
    if number == 42108:
        with pytest.raises(PoolPausedError):
            probe.refused(ground.pool)
    else:
        assert probe.refused(ground.pool) is None  # it was warming up, and was asked again


def test_validate_tells_it(ground: ImitatedGround, tmp_path: Path) -> None:
    ground.store("rows", rows(gaps=False))
    file = tmp_path / "parity.onnx"
    file.write_bytes(CASES["tree"].make())
    one = scored(ground, tmp_path, CASES["tree"], onnx=str(file))
    (found,) = [finding for finding in validate(one.spec, ground.pool) if finding.about == "engine"]
    assert found.level is Level.OK
    assert "onnx_models" not in ground.tables()
    ground.server.answers_predict = False
    probe._answers.clear()
    (found,) = [finding for finding in validate(one.spec, ground.pool) if finding.about == "engine"]
    assert found.level is Level.FAILED and "does not answer PREDICT" in found.text


def labelled(label: str) -> bytes:
    """The same label for every row."""
    word = helper.make_tensor("word", TensorProto.STRING, [2], [b"plain", label.encode()])
    nodes = [
        helper.make_node("ArgMax", ["a"], ["best"], axis=1),
        helper.make_node("Gather", ["word", "best"], ["score"]),
    ]
    return graph(nodes, {"a": TensorProto.FLOAT}, {"score": TensorProto.STRING}, [word])


def with_batch(size: int) -> bytes:
    """A batch of that size, in which rows are mixed where it is more than 1."""
    model = onnx.load_model_from_string(CASES["arithmetic"].make())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return bytes(model.SerializeToString())


MODELS = {
    "a label beyond ASCII": (Case(lambda: labelled("añejo")), "holds 'añejo', and of what PREDICT gives back only ASCII"),
    "a stand-in beyond ASCII": (
        replace(CASES["one-hot"], nulls={"word": "unbekannt ü"}), "nulls puts 'unbekannt ü' in place of NULL in column 'word'"
    ),
    "infinity for NULL": (
        replace(CASES["arithmetic"], nulls={"a": float("inf")}), "nulls puts inf in place of NULL in column 'a', and T-SQL"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_task_that_has_no_form_is_refused_before_a_row_moves(
    name: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    case, message = MODELS[name]
    ground.store("rows", rows(gaps=False))
    one = scored(ground, tmp_path, case)
    with pytest.raises(SpecError, match=re.escape(message)):
        refuse_unsupported(one.plan, ground.pool)


def test_a_label_of_ascii_is_none_of_these(ground: ImitatedGround, tmp_path: Path) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    one = scored(ground, tmp_path, Case(lambda: labelled("other")))
    one.run()
    assert set(one.predictions()[0]) == {"plain"}


def test_a_batch_of_one_is_what_predict_takes(ground: ImitatedGround, tmp_path: Path) -> None:
    table = rows(gaps=False)
    ground.store("rows", table)
    one = scored(ground, tmp_path, replace(CASES["arithmetic"], make=lambda: with_batch(1)))
    one.run()
    session = ort.InferenceSession(CASES["arithmetic"].make(), providers=["CPUExecutionProvider"])
    feeds = {name: np.array(table[name].to_pylist(), np.float32)[:, None] for name in ("a", "b")}
    np.testing.assert_allclose(one.predictions()[0], session.run(None, feeds)[0][:, 0], rtol=1e-5)


def test_a_model_that_the_pools_runtime_is_too_old_for_is_told_so(
    ground: ImitatedGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline_tests.pools import predicting

    def too_old(model: bytes) -> Any:
        raise predicting._corrupt()

    ground.store("rows", rows(gaps=False))
    monkeypatch.setattr(predicting, "_session", too_old)
    with pytest.raises(PoolError, match="Model is corrupt or invalid.*operator set is 17; export it with an older one"):
        scored(ground, tmp_path, CASES["arithmetic"]).run(["p"])
    assert not landed(ground)


def test_more_columns_than_a_table_has_are_refused(ground: ImitatedGround, tmp_path: Path) -> None:
    width = 600
    names = [f"c{place}" for place in range(width)]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["score"])]
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [width, 1], [1.0] * width)]
    made = helper.make_graph(
        nodes, "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])], weights,
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ground.store(
        "rows", pa.table({"id": [1], "part": ["p"], **{name: pa.array([1.0], pa.float32()) for name in names}})
    )
    one = scored(ground, tmp_path, Case(model.SerializeToString, names))
    with pytest.raises(SpecError, match=r"PREDICT would read 1,200 columns, and a table of the pool has at most 1,024"):
        refuse_unsupported(one.plan, ground.pool)


def test_a_materialization_says_how_the_model_runs(ground: ImitatedGround, tmp_path: Path) -> None:
    from contextlib import closing

    from onnx_pipeline.engines import open_engine
    from onnx_pipeline.models import RuntimeOptions
    from onnx_pipeline.scoring.slices import feature_slices, predict_slices

    ground.store("rows", rows(gaps=False))
    one = scored(ground, tmp_path, CASES["tree"])
    list(feature_slices(one.plan, ground.pool, one.staging, PARTS, say=print))
    with closing(open_engine(one.spec.engine, one.plan.task, RuntimeOptions())) as engine:
        assert engine.facts() == {}
        (piece, _) = predict_slices(one.plan, engine, ground.pool, one.staging, PARTS, say=print)
    assert "which answered 288 made-up rows as the model does" in piece.engine["model_runs"]
    assert piece.engine["model_form"].startswith("scalars ")
