"""`sql compile`: what it prints runs, and gives what ONNX Runtime gives; a view keeps the model's sha256."""

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import onnxruntime as ort
import pytest
import sqlfluff
import sqlglot
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor
from typer.testing import CliRunner

from onnx_pipeline.base.errors import PoolError, SignatureError, SpecError
from onnx_pipeline.cli.app import app

ROWS = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
COLUMNS = ["--key", "id", "--feature", "a", "--feature", "b", "--feature", "the c"]
SERVERS = ("mssql", "synapse", "fabric")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    forest = RandomForestRegressor(2, max_depth=2, random_state=1).fit(
        ROWS, ROWS[:, 0] ** 2 + ROWS[:, 1] + 3 * ROWS[:, 2]
    )
    file = tmp_path_factory.mktemp("model") / "forest.onnx"
    file.write_bytes(to_onnx(forest, ROWS[:1]).SerializeToString())
    return file


@pytest.fixture
def pool(tmp_path, monkeypatch) -> Path:
    file = tmp_path / "pool.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute('CREATE TABLE rows (id BIGINT, a REAL, b DOUBLE, "the c" REAL)')
        connection.executemany(
            "INSERT INTO rows VALUES (?, ?, ?, ?)", [(place, *map(float, row)) for place, row in enumerate(ROWS)]
        )
    monkeypatch.setenv("ONNX_PIPELINE_POOL", f"duckdb:///{file}")
    return file


def compiled(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["sql", "compile", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def answers(model: Path) -> list[float]:
    session = ort.InferenceSession(model.read_bytes())
    return session.run(None, {session.get_inputs()[0].name: ROWS})[0][:, 0].tolist()


def test_what_is_printed_for_duckdb_gives_the_models_answers(model, pool):
    text = compiled(model, "--table", "rows", *COLUMNS)
    with duckdb.connect(str(pool)) as connection:
        found = connection.sql(f"SELECT variable FROM ({text}) ORDER BY id").fetchall()
    assert [row[0] for row in found] == pytest.approx(answers(model), rel=1e-5)
    assert "-- ai.onnx.ml.TreeEnsembleRegressor" in text


def test_a_view_is_made_and_made_anew_and_says_which_model_it_is(model, pool):
    for _ in range(2):
        told = compiled(model, "--table", "main.rows", *COLUMNS, "--view", "scored", "--apply")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    assert told == f"view main.scored in duckdb:{pool.name} scores the rows of main.rows with model {sha256}\n"
    with duckdb.connect(str(pool)) as connection:
        found = connection.sql("SELECT variable FROM scored ORDER BY id").fetchall()
        (comment,) = connection.sql("SELECT comment FROM duckdb_views() WHERE view_name = 'scored'").fetchall()
    assert [row[0] for row in found] == pytest.approx(answers(model), rel=1e-5)
    assert comment == (f"model sha256 {sha256}",)


@pytest.mark.parametrize("dialect", SERVERS)
def test_what_is_printed_for_servers_is_t_sql(model, dialect):
    text = compiled(model, "--table", "dbo.rows", *COLUMNS, "--dialect", dialect, "--view", "reports.scored")
    verb = {"mssql": "CREATE OR ALTER VIEW", "synapse": "CREATE VIEW", "fabric": "CREATE VIEW"}[dialect]
    assert text.startswith(f"{verb} reports.scored AS\n-- model sha256 ")
    assert "[the c]" in text
    sqlglot.parse_one(text, read="fabric" if dialect == "fabric" else "tsql")
    faults = [fault for fault in sqlfluff.lint(text, dialect="tsql") if fault["code"] == "PRS"]
    assert faults == []


def test_no_pool_is_asked_where_the_dialect_is_named(model, monkeypatch):
    monkeypatch.setenv("ONNX_PIPELINE_POOL", "mssql+pyodbc://nobody@nowhere.invalid/nothing")
    assert compiled(model, "--table", "t", *COLUMNS, "--dialect", "duckdb").startswith('SELECT "features"."id"')


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--dialect", "oracle"], SpecError, "there is no dialect 'oracle'; there are: duckdb, mssql, synapse, fabric"),
        (["--dialect", "duckdb", "--feature", "a"], SignatureError, r"takes 3 columns, but features lists 1 \(a\)"),
        (["--dialect", "duckdb", "--apply"], SpecError, "name it by --view"),
        ([*COLUMNS, "--dialect", "mssql", "--view", "v", "--apply"], SpecError, "speaks duckdb, and not mssql"),
    ],
)
def test_what_cannot_work_is_told(model, pool, arguments, error, message):
    with pytest.raises(error, match=message):
        compiled(model, "--table", "rows", *arguments)


def test_a_key_that_is_a_feature_is_kept_as_it_is_and_cast_for_the_model(model, pool):
    ends = ["--feature", "a", "--feature", "b", "--feature", "the c"]
    rounded = np.nextafter(ROWS[:, 2].astype(np.float64), np.inf)  # doubles that round onto the REAL
    with duckdb.connect(str(pool)) as connection:
        connection.execute('ALTER TABLE rows ALTER "the c" TYPE DOUBLE')
        connection.executemany(
            'UPDATE rows SET "the c" = ? WHERE id = ?', [(c, k) for k, c in enumerate(rounded.tolist())]
        )
        for key in ("the c", "The C"):
            text = compiled(model, "--table", "rows", "--key", "id", "--key", key, *ends, "--dialect", "duckdb")
            found = connection.sql(f'SELECT variable, "{key}" FROM ({text}) ORDER BY id').fetchall()
            assert [row[0] for row in found] == pytest.approx(answers(model), rel=1e-5)
            assert [row[1] for row in found] == rounded.tolist()
            assert 'CAST("rows"."the c" AS REAL) AS "the c (feature)"' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "id", "--key", "ID"], "key 'id' and key 'ID' would be two columns of one name"),
        (["--key", "Variable"], "key 'Variable' and output 'variable' would be two columns of one name"),
    ],
)
def test_two_columns_of_one_name_are_refused(model, pool, arguments, message):
    with pytest.raises(SignatureError, match=message):
        compiled(model, "--table", "rows", *COLUMNS[2:], *arguments)


def test_a_view_that_somebody_wrote_is_left_as_it_is(model, pool):
    with duckdb.connect(str(pool)) as connection:
        connection.execute("CREATE VIEW theirs AS SELECT id FROM rows; COMMENT ON VIEW theirs IS 'of the ward'")
    with pytest.raises(PoolError, match=r"main\.theirs stands in .* and is no view that `sql compile` made"):
        compiled(model, "--table", "rows", *COLUMNS, "--view", "Theirs", "--apply")
    with duckdb.connect(str(pool)) as connection:
        assert connection.sql("DESCRIBE theirs").fetchall()[0][0] == "id"


@pytest.mark.parametrize(("table", "view"), [("rows", "Rows"), ("rows", "main.rows"), ("main.rows", "rows")])
def test_a_view_that_would_read_itself_is_refused(model, pool, table, view):
    with pytest.raises(SpecError, match="would read itself"):
        compiled(model, "--table", table, *COLUMNS, "--view", view)
