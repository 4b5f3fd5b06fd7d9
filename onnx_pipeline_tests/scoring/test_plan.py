"""Spec, model and source brought together: what is refused before a row moves, and what is read."""

import datetime
import decimal
import json

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.base.errors import (
    FeatureValueError,
    KeyColumnError,
    NullFeatureError,
    PoolError,
    SignatureError,
    SpecError,
    StagingError,
)
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.landing import survey
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec


@pytest.fixture
def patients(sql):
    sql(
        "CREATE TABLE patients AS SELECT range AS id, 'ward ' || range % 2 AS ward, range::SMALLINT AS age, "
        "(range / 2)::DECIMAL(9, 3) AS weight, (range / 3)::DOUBLE AS pulse, range % 2 = 0 AS smoker, "
        "DATE '2026-01-01' + range::INTEGER AS seen, 'unused' AS note FROM range(10)"
    )


def spec_of(**options):
    return ScoringSpec(**{"name": "s", "onnx": "m", "source": "patients", "key": ["id"], "target": "scores", **options})


@pytest.fixture
def plan(pool):
    return lambda spec, model: ScoringPlan(spec, model, pool.source(spec))


def typed_model(dtype, *, name="age", output="score"):
    """score = the input, in the input's own dtype."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [output])], "g",
        [helper.make_tensor_value_info(name, dtype, [None, 1])], [helper.make_tensor_value_info(output, dtype, [None, 1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel.from_bytes(model.SerializeToString())


def matrix_model(weights, names=None):
    """score = rows · weights, from one [N, F] input."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["score"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.float32(weights).reshape(-1, 1), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names:
        helper.set_model_props(model, {"feature_names": json.dumps(names)})
    return OnnxModel.from_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": ["idd"]}, "s: key: table patients has no column 'idd'; did you mean 'id'"),
        (
            {"features": {"age": "agee"}},
            r"s: input .*age.* reads the column 'agee', which the source does not have.*'age'",
        ),
        ({"features": {"agge": "age"}}, "s: features names 'agge', which is no input of the model; did you mean 'age'"),
        ({"features": {"age": "ward"}}, "column 'ward' is string, and the model reads float from it"),
        ({"features": {"age": "seen"}}, r"column 'seen' is date32\[day\], and the model reads float from it"),
        ({"key": ["pulse"]}, "key: column 'pulse' is double, and fractions identify no row"),
        (
            {"outputs": {"risk": "scores"}},
            "outputs reads 'scores' into 'risk', but the model has no such output; did you mean",
        ),
        ({"nulls": {"wieght": 1}}, "nulls: 'wieght' is no feature; "),
        (
            {"source": {"table": "patients", "changed": "updated"}},
            "source.changed: table patients has no column 'updated'",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_a_hint(patients, plan, weighted_sum, options, message):
    with pytest.raises(SignatureError, match=message):
        plan(spec_of(**options), weighted_sum({"age": 1.0}))


def test_a_model_input_that_no_column_feeds(patients, plan, weighted_sum):
    with pytest.raises(
        SignatureError, match=r"reads the column 'height', which the source does not have.*It has id, ward, age"
    ):
        plan(spec_of(), weighted_sum({"age": 1.0, "height": 1.0}))


@pytest.mark.parametrize("table", ["patients", "PATIENTS"])
def test_the_source_is_not_its_own_target(patients, plan, weighted_sum, table):
    with pytest.raises(SpecError, match=f"target '{table}' is the source itself; name another table"):
        plan(spec_of(target=table), weighted_sum({"age": 1.0}))


@pytest.mark.parametrize("output", ["id", "ID", "run_id", "Scored_At"])
def test_an_output_named_like_a_key_or_provenance_column(patients, plan, weighted_sum, output):
    model = weighted_sum({"age": 1.0}, output=output)
    with pytest.raises(
        SignatureError, match=f"model output '{output}' would be column '{output}' of scores.*Rename it: outputs"
    ):
        plan(spec_of(), model)
    assert [column.name for column in plan(spec_of(outputs={"risk": output}), model).outputs] == ["risk"]


def test_a_table_that_does_not_exist(patients, pool):
    with pytest.raises(PoolError, match="table patient cannot be read; did you mean 'patients'"):
        pool.source(spec_of(source="patient"))
    with pytest.raises(PoolError, match=r"query of s cannot be read; .*nowhere"):
        pool.source(spec_of(source={"query": "SELECT * FROM nowhere"}))


def test_a_query_that_is_no_sql(patients, pool):
    with pytest.raises(PoolError, match=r"(?i)syntax error"):
        pool.source(spec_of(source={"query": "SELEC * FROM patients"}))


def test_a_query_file_that_is_missing(patients, pool, tmp_path):
    with pytest.raises(SpecError, match=r"source.file: there is no .*features\.sql"):
        pool.source(spec_of(source={"file": "features.sql"}, directory=str(tmp_path)))


def test_a_name_with_too_many_parts(pool):
    with pytest.raises(SpecError, match=r"table 'a\.b\.c' must be `table` or `schema\.table`"):
        pool.source(spec_of(source="a.b.c"))


def test_names_are_compared_without_case(patients, score, sql, weighted_sum):
    spec = spec_of(key=["ID"], features={"x": "AGE"}, nulls={"Age": 0}, source={"table": "Patients", "changed": "SEEN"})
    score(spec, weighted_sum({"x": 2.0}))
    assert sql("SELECT id, score FROM scores ORDER BY id") == [(index, 2.0 * index) for index in range(10)]


def test_a_column_is_read_once_and_nothing_else_is_read(patients, plan, pool, weighted_sum):
    spec = spec_of(key=["id", "ward"], source={"table": "patients", "changed": "seen"})
    made = plan(spec, weighted_sum({"age": 1.0, "pulse": 1.0}))
    statement = made.statement(pool, ["all"], marked=False)
    assert [column.name for column in statement.selected_columns] == ["id", "ward", "age", "pulse", "__changed"]
    text = pool.render(statement)
    for unread in ("weight", "smoker", "note", "*"):
        assert unread not in text
    assert pool.fetch(statement).num_rows == 10


def test_what_is_staged_has_the_models_dtypes(patients, plan, pool, staging):
    made = plan(spec_of(features={"age": "age"}), typed_model(TensorProto.INT64))
    assert made.features_schema == pa.schema([("id", pa.int64()), ("age", pa.int64())])
    list(extract(made, pool, staging, ["all"], say=print))
    with staging.open("s", "features", "all") as (staged, reader):
        table = reader.read_all()
    assert table.schema == made.features_schema
    assert table["age"].to_pylist() == list(range(10))
    assert (staged.facts["rows"], staged.facts["null_counts"], staged.facts["keys_ascend"]) == (10, {"age": 0}, True)


@pytest.mark.parametrize(
    ("dtype", "column", "expected"),
    [
        (TensorProto.FLOAT, "age", float),
        (TensorProto.DOUBLE, "weight", lambda i: i / 2),
        (TensorProto.FLOAT, "weight", lambda i: i / 2),
        (TensorProto.DOUBLE, "pulse", lambda i: i / 3),
        (TensorProto.INT64, "age", lambda i: i),
        (TensorProto.INT32, "age", lambda i: i),
        (TensorProto.FLOAT, "smoker", lambda i: float(i % 2 == 0)),
        (TensorProto.BOOL, "smoker", lambda i: i % 2 == 0),
        (TensorProto.STRING, "ward", lambda i: f"ward {i % 2}"),
    ],
)
def test_columns_of_every_kind_reach_the_model_and_come_back(patients, score, sql, dtype, column, expected):
    score(spec_of(features={"age": column}), typed_model(dtype))
    assert sql("SELECT score FROM scores ORDER BY id") == [(pytest.approx(expected(index)),) for index in range(10)]


def test_a_key_may_be_a_feature_too(patients, score, sql, weighted_sum):
    score(spec_of(features={"x": "id"}), weighted_sum({"x": 0.5}))
    assert sql("SELECT id, score FROM scores ORDER BY id") == [(index, index / 2) for index in range(10)]


def test_a_list_orders_the_columns_of_a_matrix(patients, score, sql):
    score(spec_of(features=["pulse", "age"]), matrix_model([3.0, 1.0]))
    assert sql("SELECT score FROM scores ORDER BY id") == [(pytest.approx(2.0 * index),) for index in range(10)]


def test_a_model_that_names_its_columns_needs_no_list(patients, score, sql):
    score(spec_of(features={"heart": "pulse"}), matrix_model([3.0, 1.0], ["heart", "AGE"]))
    assert sql("SELECT score FROM scores ORDER BY id") == [(pytest.approx(2.0 * index),) for index in range(10)]


def test_a_query_and_a_file_are_sources_like_a_table(patients, score, sql, weighted_sum, tmp_path):
    query = "-- ages in months;\nSELECT id, 12 * age AS months, 'a;b' AS x FROM patients WHERE id <> 3;\n"
    (tmp_path / "months.sql").write_text(query, encoding="utf-8")
    model = weighted_sum({"months": 1.0})
    expected = [(index, 12.0 * index) for index in range(10) if index != 3]
    for number, source in enumerate([{"query": query}, {"file": "months.sql"}]):
        score(spec_of(name=f"s{number}", source=source, target=f"t{number}", directory=str(tmp_path)), model)
        assert sql(f"SELECT id, score FROM t{number} ORDER BY id") == expected


def test_a_view_in_another_schema_is_a_source(patients, score, sql, weighted_sum):
    sql('CREATE SCHEMA "the mart"')
    sql('CREATE VIEW "the mart"."old ones" AS SELECT * FROM patients WHERE age > 7')
    score(spec_of(source="the mart.old ones"), weighted_sum({"age": 1.0}))
    assert sql("SELECT id FROM scores ORDER BY id") == [(8,), (9,)]


def test_source_columns_may_have_any_name(sql, score, weighted_sum):
    names = ["at", "select", 'a "b"', "it's", "größe", "x;y--", "100%", ":c", "a?b", "$1", "qualify"]
    columns = ", ".join('range AS "{}"'.format(name.replace('"', '""')) for name in names)
    sql(f'CREATE TABLE "odd table" AS SELECT range AS "the key", {columns} FROM range(5)')
    model = weighted_sum({f"x{index}": 1.0 for index in range(len(names))})
    spec = spec_of(
        source="odd table", key=["the key"], features={f"x{index}": name for index, name in enumerate(names)}
    )
    score(spec, model)
    assert sql('SELECT "the key", score FROM scores ORDER BY ALL') == [(n, float(n * len(names))) for n in range(5)]


def test_null_is_nan_in_a_float_and_an_error_elsewhere(patients, score, sql):
    sql("UPDATE patients SET age = NULL WHERE id IN (2, 4)")
    with pytest.raises(NullFeatureError, match=r"column 'age' has 2 NULL or NaN.*nulls: {age: 0}"):
        score(spec_of(), typed_model(TensorProto.INT64))
    score(spec_of(nulls={"AGE": 40}), typed_model(TensorProto.INT64))
    assert sql("SELECT score FROM scores ORDER BY id")[:5] == [(0,), (1,), (40,), (3,), (40,)]


def test_nan_in_the_source_is_null(patients, pool, plan, staging, sql, score):
    sql("UPDATE patients SET pulse = CASE id WHEN 1 THEN NULL WHEN 2 THEN 'nan'::DOUBLE ELSE floor(pulse) END")
    (nan,) = sql("SELECT count(*) FROM patients WHERE pulse IS NULL OR isnan(pulse)")[0]
    spec, model = spec_of(features={"age": "pulse"}), typed_model(TensorProto.FLOAT)
    made = plan(spec, model)
    (piece,) = extract(made, pool, staging, made.partitioning.keys(), say=lambda text: None)
    (surveyed,) = survey(made, pool, staging, [piece.partition_key])
    assert piece.null_counts == surveyed.null_counts == {"pulse": nan} == {"pulse": 2}
    score(spec_of(features={"age": "pulse"}, nulls={"pulse": 7}), model)
    assert sql("SELECT score FROM scores ORDER BY id")[1:3] == [(7.0,), (7.0,)]
    with pytest.raises(NullFeatureError, match="'pulse' has 2 NULL or NaN"):
        score(spec_of(features={"age": "pulse"}, target="labels"), typed_model(TensorProto.INT64))


def test_a_value_that_the_model_cannot_hold_names_the_source_column(patients, score, sql):
    sql("UPDATE patients SET pulse = 1e39 WHERE id = 3")
    with pytest.raises(
        FeatureValueError, match=r"'pulse' of the row with id = 3 is 1e\+39, out of the range of float32"
    ):
        score(spec_of(features={"age": "pulse"}), typed_model(TensorProto.FLOAT))
    sql("UPDATE patients SET age = 300 WHERE id = 3")
    with pytest.raises(FeatureValueError, match="'age' of the row with id = 3 is 300, and int8 holds -128 to 127"):
        score(spec_of(), typed_model(TensorProto.INT8))


def test_a_decimal_is_the_nearest_double(sql, score):
    sql("CREATE TABLE prices AS SELECT range AS id, (range / 100)::DECIMAL(18, 2) AS age FROM range(20000)")
    score(spec_of(source="prices"), typed_model(TensorProto.DOUBLE))
    found = [value for (value,) in sql("SELECT score FROM scores ORDER BY id")]
    assert found == [number / 100 for number in range(20000)]


def test_nan_predictions_become_null_where_they_are_allowed(patients, score, sql):
    sql("UPDATE patients SET pulse = CASE id WHEN 1 THEN NULL WHEN 2 THEN 'inf'::DOUBLE ELSE pulse END")
    score(spec_of(features={"age": "pulse"}, checks={"nan_predictions": "allow"}), typed_model(TensorProto.DOUBLE))
    assert sql("SELECT score IS NULL FROM scores ORDER BY id")[:4] == [(False,), (True,), (True,), (False,)]


def test_decimal_keys_keep_their_digits(sql, score, weighted_sum):
    sql("CREATE TABLE patients (id DECIMAL(38, 2), age INTEGER)")
    keys = [decimal.Decimal("100000000000000000000.01"), decimal.Decimal("100000000000000000000.02")]
    for index, key in enumerate(keys):
        sql("INSERT INTO patients VALUES (?, ?)", [key, index])
    score(spec_of(), weighted_sum({"age": 1.0}))
    assert sql("SELECT id, score FROM scores ORDER BY id") == [(keys[0], 0.0), (keys[1], 1.0)]


@pytest.mark.parametrize(
    "kind",
    [
        "TINYINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "HUGEINT",
        "VARCHAR",
        "DATE",
        "TIME",
        "TIMESTAMP_S",
        "TIMESTAMPTZ",
        "UUID",
        "BOOLEAN",
    ],
)
def test_keys_of_any_type_are_scored_twice_into_the_same_table(sql, score, weighted_sum, kind):
    values = {
        "DATE": "DATE '2026-01-01' + range::INTEGER",
        "TIME": "TIME '01:02:03.000004' + INTERVAL 1 SECOND * range",
        "TIMESTAMP_S": "TIMESTAMP '2026-01-01' + INTERVAL 1 SECOND * range",
        "TIMESTAMPTZ": "TIMESTAMPTZ '2026-01-01 00:00:00+02' + INTERVAL 1 SECOND * range",
        "UUID": "('00000000-0000-0000-0000-00000000000' || range)::UUID",
    }.get(kind, "range")
    sql(f"CREATE TABLE patients AS SELECT ({values})::{kind} AS id, range::INTEGER AS age FROM range(2)")
    for run in ("run-1", "run-2"):
        score(spec_of(), weighted_sum({"age": 1.0}), run_id=run)
        assert sql("SELECT id, score, run_id FROM scores ORDER BY score") == [
            # DuckDB hands a UUID out as text.
            (str(key) if kind == "UUID" else key, float(age), run)
            for key, age in sql("SELECT id, age FROM patients ORDER BY age")
        ]


def test_a_key_of_a_type_that_identifies_nothing(sql, plan, weighted_sum):
    sql("CREATE TABLE patients AS SELECT [range] AS id, range AS age FROM range(2)")
    with pytest.raises(SignatureError, match="column 'id' has the type list"):
        plan(spec_of(), weighted_sum({"age": 1.0}))


def test_a_null_key_and_a_repeated_key_are_refused(patients, score, sql, weighted_sum):
    model = weighted_sum({"age": 1.0})
    with pytest.raises(KeyColumnError, match=r"key \(ward\) identifies no row: 2 of its values occur more than once"):
        score(spec_of(key=["ward"]), model)
    with pytest.raises(KeyColumnError, match="2 of its values occur more than once"):
        score(spec_of(key=["ward"], load_mode="upsert"), model)
    sql("UPDATE patients SET id = NULL WHERE id = 4")
    with pytest.raises(KeyColumnError, match="key column 'id' is NULL in 1 of 10 rows of partition 'all'"):
        score(spec_of(target="other"), model)
    assert sql("SELECT count(*) FROM scores") == [(0,)]


def test_several_key_columns_together_identify_a_row(patients, score, sql, weighted_sum):
    score(spec_of(key=["ward", "seen"]), weighted_sum({"age": 1.0}))
    assert sql("SELECT ward, seen, score FROM scores ORDER BY seen")[:2] == [
        ("ward 0", datetime.date(2026, 1, 1), 0.0), ("ward 1", datetime.date(2026, 1, 2), 1.0),
    ]  # fmt: skip


def test_features_that_were_staged_for_another_model_are_refused(patients, plan, pool, staging, weighted_sum):
    from onnx_pipeline.engines import open_engine
    from onnx_pipeline.models import RuntimeOptions
    from onnx_pipeline.scoring.predict import predict

    list(extract(plan(spec_of(), weighted_sum({"age": 1.0})), pool, staging, ["all"], say=print))
    other = plan(spec_of(), weighted_sum({"pulse": 1.0}))
    engine = open_engine(other.spec.engine, other.task, RuntimeOptions())
    with pytest.raises(StagingError, match=r"were made for another model or spec. Materialize features of s"):
        predict(other, engine, staging, "all", say=print)
