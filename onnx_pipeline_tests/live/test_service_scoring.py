"""`sp_onnx_service_scoring` on a server: what it sends is taken by the real service, and what that answers is landed.

A stub of the test's own takes the place of `sp_invoke_external_rest_endpoint`: it keeps what it is sent, and answers what
the service answered to it, in the form that Microsoft's page gives. A wait is kept, and not waited. On a server that is
compatible with Microsoft's, what it has not is replaced by the same in other words.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.base import paths
from onnx_pipeline.pools.scripts import statements_of
from onnx_pipeline.sample import MODELS
from onnx_pipeline.sample.encounters import generate
from onnx_pipeline.serving import ServingSettings, create_app
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.serving.conftest import Service, features_of, feeds_of, truth_of

ROWS = 23
MODEL = MODELS / "readmission.onnx"
URL = "https://scoring.example/models/readmission/score"
KEY = "a-key-of-the-service"

CALLS = """CREATE TABLE calls (
    id INT IDENTITY(1, 1), url NVARCHAR(4000), method NVARCHAR(6), headers NVARCHAR(4000), payload NVARCHAR(MAX), waited INT,
    credential NVARCHAR(128)
)"""
STUB = """CREATE PROCEDURE stub_endpoint
    @url NVARCHAR(4000), @method NVARCHAR(6), @headers NVARCHAR(4000), @payload NVARCHAR(MAX), @timeout SMALLINT,
    @credential NVARCHAR(128) = NULL, @response NVARCHAR(MAX) OUTPUT
AS
BEGIN
    DECLARE @id INT, @status INT
    INSERT INTO calls (url, method, headers, payload, waited, credential) VALUES (@url, @method, @headers, @payload, @timeout, @credential)
    SELECT TOP (1) @id = id, @status = status, @response = response FROM answers WHERE payload = @payload AND used = 0 ORDER BY id
    IF @id IS NULL
        SET @status = 599
    UPDATE answers SET used = 1 WHERE id = @id
    RETURN @status
END"""
EVERYWHERE = [
    ("EXEC @status = sp_invoke_external_rest_endpoint", "EXEC @status = stub_endpoint"),
    ("WAITFOR DELAY @delay", "INSERT INTO waits (delay) VALUES (@delay)"),
]
ELSEWHERE = [
    ("CREATE OR ALTER", "CREATE"),
    ("#onnx_", "onnx_kept_"),
    ("EXEC (@query)'", "' + @query"),
    (" N''$.\"'", " ''$.\"'"),
    ("sys.dm_exec_describe_first_result_set(@query, NULL, 0)", "described_query"),
    ("sys.dm_exec_describe_first_result_set(@statement, NULL, 0)", "described_target"),
]
DESCRIBED = (
    "(column_ordinal INT, name NVARCHAR(128), system_type_name NVARCHAR(256), collation_name NVARCHAR(128), "
    "is_hidden BIT, error_message NVARCHAR(4000))"
)
TYPES = {
    pa.int64(): "bigint",
    pa.float64(): "float",
    pa.float32(): "real",
    pa.bool_(): "bit",
    pa.string(): "nvarchar(100)",
}


class Recipe:
    """A database with the procedure, a table of encounters, a target, and the service that answers."""

    def __init__(self, server: Server, service: Service) -> None:
        self.server, self.service = server, service
        self.is_microsofts = server.takes(
            "SELECT * FROM sys.dm_exec_describe_first_result_set(N'SELECT 1 AS a', NULL, 0)"
        )
        (procedure,) = statements_of((paths.sql_folder() / "sqlserver/sp_onnx_service_scoring.sql").read_text("utf-8"))
        for found, instead in EVERYWHERE if self.is_microsofts else [*EVERYWHERE, *ELSEWHERE]:
            assert found in procedure, found
            procedure = procedure.replace(found, instead)
        for statement in (
            CALLS,
            "CREATE TABLE answers (id INT IDENTITY(1, 1), payload NVARCHAR(MAX), status INT, response NVARCHAR(MAX), used INT)",
            "CREATE TABLE waits (delay NVARCHAR(8))",
            STUB,
            procedure,
        ):
            server.execute(statement)
        table = pa.Table.from_batches(list(generate(1, ROWS)))
        self.features = features_of(MODEL, table)
        self.ids = table["encounter_id"].to_pylist()
        columns = {"encounter_id": pa.int64(), **{field.name: field.type for field in self.features.schema}}
        self.columns = {name: TYPES[arrow] for name, arrow in columns.items()}
        server.execute(f"CREATE TABLE visits ({', '.join(f'[{name}] {kind}' for name, kind in self.columns.items())})")
        cells = [self.ids, *(column.to_pylist() for column in self.features.columns)]
        server.insert("visits", [f"[{name}]" for name in self.columns], list(zip(*cells, strict=True)))
        self.query = f"SELECT {', '.join(f'[{name}]' for name in self.columns)} FROM visits"

    def target(self, name: str, columns: Mapping[str, str]) -> str:
        self.server.execute(
            f"CREATE TABLE {name} ({', '.join(f'[{column}] {kind}' for column, kind in columns.items())})"
        )
        self._describe("described_target", columns)
        return name

    def _describe(self, table: str, columns: Mapping[str, str], problem: str | None = None) -> None:
        if self.is_microsofts:
            return
        self.server.execute(f"DROP TABLE IF EXISTS {table}")
        self.server.execute(f"CREATE TABLE {table} {DESCRIBED}")
        for place, (name, kind) in enumerate(columns.items(), start=1):
            self.server.execute(f"INSERT INTO {table} VALUES (?, ?, ?, NULL, 0, ?)", [place, name, kind, problem])

    def call(self, target: str, query: str | None = None, columns: Mapping[str, str] | None = None, **more: Any) -> str:
        """What it says: empty where it did its work."""
        import mssql_python

        if not self.is_microsofts:
            self._describe("described_query", columns or self.columns)
            for table in ("onnx_kept_rows", "onnx_kept_answers"):
                self.server.execute(f"DROP TABLE IF EXISTS {table}")
        arguments = {"url": URL, "query": query or self.query, "keys": '["encounter_id"]', "target": target, **more}
        marks = ", ".join(f"@{name} = ?" for name in arguments)
        try:
            self.server.execute(f"EXEC sp_onnx_service_scoring {marks}", list(arguments.values()))
        except mssql_python.Error as error:
            return str(error)
        return ""

    def calls(self) -> list[dict[str, Any]]:
        rows = self.server.rows("SELECT url, method, headers, payload, waited, credential FROM calls ORDER BY id")
        return [
            dict(zip(("url", "method", "headers", "payload", "timeout", "credential"), row, strict=True))
            for row in rows
        ]

    def answer(self, call: Mapping[str, Any], status: int | None = None, body: Any = None, **headers: str) -> None:
        """Give what the service answers to a call, or another answer."""
        if status is None:
            sent = {
                "x-functions-key": KEY,
                "content-type": "application/json; charset=utf-8",
                **json.loads(call["headers"]),
            }
            found = self.service.post("/models/readmission/score", content=call["payload"].encode(), headers=sent)
            status, body, headers = found.status_code, found.json(), dict(found.headers)
        response = {
            "response": {"status": {"http": {"code": status, "description": "?"}}, "headers": headers},
            "result": body,
        }
        self.server.execute(
            "INSERT INTO answers (payload, status, response, used) VALUES (?, ?, ?, 0)",
            [call["payload"], 0 if status == 200 else status, json.dumps(response)],
        )

    def scored(self, target: str, **more: Any) -> None:
        """Call until every batch has its answer: each call stops at the first one that has none yet."""
        for _ in range(ROWS + 1):
            self.server.execute("UPDATE answers SET used = 0")
            before = len(self.calls())
            problem = self.call(target, **more)
            if not problem:
                return
            assert "The service answered 599" in problem, problem
            assert self.server.scalar(f"SELECT COUNT(*) FROM {target}") == 0
            self.answer(self.calls()[-1])
            assert len(self.calls()) > before
        pytest.fail("it never came to an end")

    def clear(self) -> None:
        for table in ("calls", "answers", "waits"):
            self.server.execute(f"DELETE FROM {table}")


@pytest.fixture(scope="module")
def whole() -> Iterator[Recipe]:
    app = create_app(ServingSettings(models=(str(MODELS),), reload_seconds=600, keys=frozenset({KEY})))
    app.catalogue.refresh()
    service = Service(app, "203.0.113.9")
    with Server.made() as server:
        yield Recipe(server, service)
    service.close()


@pytest.fixture
def recipe(whole: Recipe) -> Recipe:
    whole.clear()
    return whole


def test_every_row_gets_the_predictions_of_its_features(recipe: Recipe) -> None:
    target = recipe.target(
        "scored", {"probabilities_1": "real", "encounter_id": "bigint", "note": "nvarchar(10) NULL", "label": "bigint"}
    )
    recipe.scored(target, batch_rows=5, credential="https://scoring.example")
    labels, probabilities = truth_of(MODEL, feeds_of(MODEL, recipe.features))
    found = recipe.server.rows("SELECT encounter_id, label, probabilities_1, note FROM scored ORDER BY encounter_id")
    assert [(row[0], row[1], row[3]) for row in found] == [
        (key, int(label), None) for key, label in sorted(zip(recipe.ids, labels, strict=True))
    ]
    by_id = dict(zip(recipe.ids, (classes[1] for classes in probabilities), strict=True))
    assert [row[2] for row in found] == pytest.approx([by_id[row[0]] for row in found], rel=1e-6)
    last = recipe.calls()[-5:]
    assert [len(json.loads(call["payload"])) for call in last] == [5, 5, 5, 5, 3]
    assert {(call["url"], call["method"], call["credential"], call["timeout"]) for call in last} == {
        (URL, "POST", "https://scoring.example", 120)
    }
    assert not any("encounter_id" in call["payload"] for call in last)
    first, *others = [json.loads(call["headers"]) for call in last]
    # What the first batch was scored by is asked of the others.
    assert first == {} and {call["x-onnx-model-sha256"] for call in others} == {
        recipe.service.get("/models/readmission", **{"x-functions-key": KEY}).json()["sha256"]
    }


def test_a_row_that_is_refused_is_named_by_its_key_and_nothing_is_written(recipe: Recipe) -> None:
    target = recipe.target("refused", {"encounter_id": "bigint", "label": "bigint"})
    beyond = f"CASE WHEN encounter_id = {recipe.ids[7]} THEN 1e300 ELSE CAST([age] AS FLOAT) END AS [age]"
    query = f"{recipe.query.replace('[age]', beyond)} ORDER BY encounter_id"
    columns = {**recipe.columns, "age": "float"}
    recipe.call(target, query, columns, batch_rows=5)
    recipe.answer(recipe.calls()[-1])
    recipe.call(target, query, columns, batch_rows=5)
    recipe.answer(recipe.calls()[-1])
    recipe.server.execute("UPDATE answers SET used = 0")
    problem = recipe.call(target, query, columns, batch_rows=5)
    assert "The service answered 400 to rows 6 to 10 of the query, after 1 tries: row 2, column 'age'" in problem
    assert f'the keys of that row: [{{"encounter_id":{recipe.ids[7]}}}]. Nothing was written.' in problem.replace(
        '": ', '":'
    )
    assert recipe.server.scalar("SELECT COUNT(*) FROM refused") == 0


def test_what_may_pass_is_asked_again_when_the_service_says(recipe: Recipe) -> None:
    target = recipe.target("patient", {"encounter_id": "bigint", "label": "bigint"})
    recipe.call(target)
    (call,) = recipe.calls()
    busy = {"error": {"message": "all threads are busy", "code": "too_many_requests"}}
    recipe.answer(call, 429, busy, **{"retry-after": "7"})
    recipe.answer(call, 503, busy, **{"Retry-After": "3600"})
    recipe.answer(call, 503, busy)
    recipe.answer(call)
    assert recipe.call(target) == ""
    assert [row[0] for row in recipe.server.rows("SELECT delay FROM waits")] == ["00:00:07", "00:01:00", "00:00:08"]
    assert recipe.server.scalar("SELECT COUNT(*) FROM patient") == ROWS


def test_a_service_that_stays_busy_is_given_up_with_its_words(recipe: Recipe) -> None:
    target = recipe.target("busy", {"encounter_id": "bigint", "label": "bigint"})
    recipe.call(target)
    for _ in range(3):
        recipe.answer(
            recipe.calls()[0], 503, {"error": {"message": "it loads", "code": "loading"}}, **{"Retry-After": "1"}
        )
    problem = recipe.call(target, tries=2)
    assert (
        "The service answered 503 to rows 1 to 23 of the query, after 2 tries: it loads (loading). Nothing was written."
        in problem
    )
    assert len(recipe.calls()) == 3 and recipe.server.scalar("SELECT COUNT(*) FROM busy") == 0


def test_a_batch_that_would_be_too_large_is_sent_in_parts(recipe: Recipe) -> None:
    target = recipe.target("parts", {"encounter_id": "bigint", "label": "bigint"})
    recipe.call(target)
    # Where a text is kept as UTF-8, that is what DATALENGTH counts.
    bytes_of_one = 3 if recipe.is_microsofts else 1.5
    whole = int(len(recipe.calls()[0]["payload"]) * bytes_of_one)
    recipe.clear()
    recipe.scored(target, payload_bytes=whole // 3)
    assert recipe.server.scalar("SELECT COUNT(*) FROM parts") == ROWS
    sizes = [len(call["payload"]) * bytes_of_one for call in recipe.calls()]
    assert max(sizes) <= whole // 3
    problem = recipe.call(target, payload_bytes=100)
    assert "Row 1 of the query alone is above @payload_bytes. Nothing was written." in problem


def test_another_model_is_refused_by_the_service(recipe: Recipe) -> None:
    target = recipe.target("pinned", {"encounter_id": "bigint", "label": "bigint"})
    recipe.call(target, sha256="0" * 64)
    recipe.answer(recipe.calls()[-1])
    problem = recipe.call(target, sha256="0" * 64)
    assert "The service answered 409" in problem and "(model_differs)" in problem


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"target": "nowhere"}, "There is no table nowhere in this database that you may see"),
        ({"target": "bad; DROP TABLE visits"}, "There is no table bad; DROP TABLE visits in this database"),
        ({"target": "other.dbo.visits"}, "There is no table other.dbo.visits in this database"),
        ({"keys": "encounter_id"}, "@keys is no JSON: name the key columns as"),
        ({"keys": '["visit"]'}, 'A key is no column of the query: ["visit"]'),
        ({"headers": "x-onnx-nulls"}, "@headers is no JSON"),
        ({"batch_rows": 0}, "@batch_rows and @tries are 1 or more"),
        ({"keys": '["age"]'}, 'lacks a key column: ["age"]'),
    ],
)
def test_bad_input_is_told_before_anything_is_sent(recipe: Recipe, more: dict[str, Any], told: str) -> None:
    if not recipe.server.rows("SELECT 1 FROM sys.tables WHERE name = 'bad_input'"):
        recipe.target("bad_input", {"encounter_id": "bigint", "label": "bigint"})
    problem = recipe.call(**{"target": "bad_input", **more})
    assert told in problem and "Nothing was sent." in problem
    assert recipe.calls() == []


def test_a_target_without_a_column_for_any_prediction_and_an_answer_of_something_else_are_told(recipe: Recipe) -> None:
    target = recipe.target("mute", {"encounter_id": "bigint", "score": "float"})
    recipe.call(target)
    (call,) = recipe.calls()
    recipe.answer(call)
    assert (
        "mute has no column for any prediction. The service gives label, probabilities_0, probabilities_1."
        in recipe.call(target)
    )
    recipe.clear()
    recipe.answer(call, 200, {"status": "fine"})
    assert "with another number of predictions: is @url the address of a model" in recipe.call(target)


def test_a_query_without_rows_sends_and_writes_nothing(recipe: Recipe) -> None:
    target = recipe.target("none_of_them", {"encounter_id": "bigint", "label": "bigint"})
    assert recipe.call(target, f"{recipe.query} WHERE 1 = 0") == ""
    assert recipe.calls() == [] and recipe.server.scalar("SELECT COUNT(*) FROM none_of_them") == 0
