"""What `validate` finds of a scoring: all of it at once, against counts in the database, and without writing anything."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.scoring.validation import Level, validate
from onnx_pipeline.spec.scoring import ScoringSpec


@pytest.fixture
def events(sql):
    """Nine rows at the sites a, b and c, one without a site, two elsewhere; x is NULL in two of them, y in none."""
    sql("CREATE TABLE events (id BIGINT, site VARCHAR, x FLOAT, y FLOAT, t VARCHAR)")
    sql("INSERT INTO events SELECT range, ['a', 'b', 'c'][range // 3 + 1], range, range, 'text' FROM range(9)")
    sql(
        "INSERT INTO events VALUES (10, NULL, NULL, 1, ''), (11, 'elsewhere', NULL, 1, ''), (12, 'elsewhere', 1, 1, '')"
    )


@pytest.fixture
def model(weighted_sum, tmp_path):
    """The path of score = x + 2·y."""
    file = tmp_path / "model.onnx"
    file.write_bytes(weighted_sum({"x": 1.0, "y": 2.0}).normalised)
    return file


@pytest.fixture
def spec_of(model):
    def make(**options):
        values = {
            "name": "s", "onnx": str(model), "source": "events", "key": ["id"], "target": "scores",
            "partitions": {"column": "site", "values": ["a", "b", "c", "d"]},
        }  # fmt: skip
        return ScoringSpec(**values | options)

    return make


@pytest.fixture
def found(events, pool):
    """`found(spec)` → the failures and warnings as `{about: [texts]}`."""

    def run(spec, level=Level.FAILED, others=()):
        texts = {}
        for finding in validate(spec, pool, others):
            if finding.level is level:
                texts.setdefault(finding.about, []).append(finding.text)
        return texts

    return run


def test_a_scoring_that_can_run_has_no_failure_and_says_what_was_looked_at(found, spec_of):
    spec = spec_of(schedule="0 6 * * *")
    assert found(spec) == {}
    ok = found(spec, Level.OK)
    assert list(ok) == ["model", "source", "columns", "engine", "nulls", "target", "partitions", "schedule"]
    assert ok["columns"] == ["2 inputs from 2 columns; key id"]
    assert ok["nulls"] == ["NULLs that have a form: x 2 in 12 rows of table events"]
    assert ok["target"] == ["scores does not stand; the first run makes it"]
    assert ok["partitions"] == ["9 rows in 3 of 4 partitions, a to d"]


def test_rows_of_no_partition_are_counted_with_why(found, spec_of):
    assert found(spec_of(), Level.WARNING) == {
        "partitions": [
            (
                "3 rows have no partition, and are never scored: 1 with NULL in the partition column, 2 with a value "
                "that `values` does not list"
            )
        ]
    }


def test_rows_before_the_first_and_after_the_last_partition_are_counted(found, spec_of, sql):
    sql("CREATE TABLE days AS SELECT *, DATE '2025-12-30' + INTERVAL 1 DAY * id AS day FROM events WHERE id < 9")
    by_day = {"column": "day", "every": "day", "start": "2026-01-01"}
    warned = found(spec_of(source="days", partitions=by_day), Level.WARNING)
    assert warned == {"partitions": ["2 rows have no partition, and are never scored: 2 before the first partition"]}
    sql("UPDATE days SET day = DATE '2100-01-01' WHERE id > 5")
    warned = found(spec_of(source="days", partitions=by_day), Level.WARNING)
    assert warned["partitions"][1:] == ["3 rows after the last partition are not scored yet"]


def test_everything_that_is_wrong_is_said_at_once(found, spec_of, sql):
    sql("CREATE TABLE scores (id BIGINT)")
    bare = sql("SELECT count(*) FROM duckdb_tables()")
    failed = found(
        spec_of(
            key=["idd"],
            features={"x": "xx", "y": "yy"},
            source={"table": "events", "changed": "updated"},
            outputs={"p": "nothing"},
            partitions={"column": "sites", "values": ["a"]},
        )
    )
    columns = "\n".join(failed["columns"])
    for name in ("idd", "updated", "xx", "yy"):
        assert f"{name!r}" in columns
    assert len(failed["columns"]) == 4
    assert "outputs reads 'nothing'" in failed["target"][0]
    assert "'sites'" in failed["partitions"][0]
    assert sql("SELECT count(*) FROM duckdb_tables()") == bare


def test_every_column_of_a_wrong_type_and_every_strange_null_rule_is_named(found, spec_of):
    failed = found(spec_of(key=["x"], features={"x": "t", "y": "site"}, nulls={"z": 0, "w": 1}))
    columns = failed["columns"]
    assert len(columns) == 5
    for text, words in zip(columns, ("'x' is float", "'t' is string", "'site' is string", "'z'", "'w'"), strict=True):
        assert words in text


def test_nulls_are_held_against_the_rules_of_every_column(found, spec_of, sql, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    named = [helper.make_tensor_value_info(name, TensorProto.INT64, [None, 1]) for name in ("x", "y")]
    total = helper.make_tensor_value_info("total", TensorProto.INT64, [None, 1])
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["total"])], "g", named, [total])
    file = tmp_path / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    sql("CREATE TABLE holes AS SELECT CASE WHEN id = 3 THEN NULL ELSE id END AS id, site, "
        "CASE WHEN id < 2 THEN NULL ELSE id END AS x, CASE WHEN id < 5 THEN NULL ELSE id END AS y FROM events")  # fmt: skip
    ((x, y),) = sql("SELECT count(*) - count(x), count(*) - count(y) FROM holes")
    failed = found(spec_of(onnx=str(file), source="holes"))["nulls"]
    assert failed[0] == "key id is NULL in 1 of 12 rows; none may be"
    assert f"column 'x' has {x} NULL" in failed[1] and f"column 'y' has {y} NULL" in failed[2]
    assert len(failed) == 3
    assert found(spec_of(onnx=str(file), source="holes", nulls={"x": 0, "y": 0}))["nulls"] == failed[:1]
    assert "1.5" in found(spec_of(onnx=str(file), source="holes", nulls={"x": 1.5}))["nulls"][0]


@pytest.mark.parametrize("cut", [0, 10, -20])
def test_a_truncated_model_is_a_failure_and_the_rest_is_looked_at_all_the_same(found, spec_of, model, cut):
    model.write_bytes(model.read_bytes()[:cut])
    failed = found(spec_of(key=["idd"]))
    assert "InvalidModelError" in failed["model"][0]
    assert "'idd'" in failed["columns"][0]


def test_a_model_that_is_not_beside_its_spec_is_named_as_looked_for_there(found, spec_of, tmp_path):
    (tmp_path / "defs" / "events").mkdir(parents=True)
    failed = found(spec_of(onnx="../models/nowhere.onnx", directory=str(tmp_path / "defs" / "events")))
    assert f"no model lies at {tmp_path}/defs/models/nowhere.onnx;" in failed["model"][0]


def test_a_missing_model_and_a_missing_source_are_both_named(found, spec_of):
    failed = found(spec_of(onnx="nowhere.onnx", source="event"))
    assert "no model lies at" in failed["model"][0]
    assert "did you mean 'events'" in failed["source"][0]


def test_a_target_with_other_columns_and_one_that_is_shared_fail(found, spec_of, sql):
    sql("CREATE TABLE scores (id BIGINT, other VARCHAR)")
    failed = found(spec_of(), others=[spec_of(), spec_of(name="other", target="Scores")])
    assert "score is missing" in failed["target"][0]
    assert "other has the same target" in failed["target"][1]
    assert len(failed["target"]) == 2


def test_a_target_that_stands_with_fitting_columns_is_fine_and_stays_as_it_is(
    found, spec_of, score, model, sql, events
):
    score(spec_of(), OnnxModel.load(model))
    before = sql("SELECT * FROM scores ORDER BY id"), sql("SELECT * FROM onnx_scoring_log ORDER BY ALL")
    assert found(spec_of(), Level.OK)["target"] == ["scores stands, with columns that fit"]
    assert (sql("SELECT * FROM scores ORDER BY id"), sql("SELECT * FROM onnx_scoring_log ORDER BY ALL")) == before


def test_nothing_is_made_where_nothing_was(events, found, spec_of, sql, project_home):
    found(spec_of())
    assert sql("SELECT table_name FROM duckdb_tables()") == [("events",)]
    assert [file.name for file in (project_home / "data").iterdir() if file.suffix != ".lock"] == ["pool.duckdb"]


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("kind", ["house_sql", "house_stream", "onnxruntime"])
def test_every_engine_is_asked_in_the_same_way(found, spec_of, kind):
    assert found(spec_of(engine={"kind": kind})) == {}
    assert found(spec_of(engine={"kind": kind}), Level.OK)["engine"] == [kind]


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("kind", ["house_sql", "house_stream"])
def test_what_an_engine_has_against_a_model_is_a_failure_with_its_remedy(found, spec_of, kind, monkeypatch):
    import house_engines

    from onnx_pipeline.engines.base import Reason

    engine = {"house_sql": house_engines.HouseSql, "house_stream": house_engines.HouseStream}[kind]
    reasons = [Reason("it has two inputs", "export it with one"), Reason("it is a sum", "train a tree")]
    monkeypatch.setattr(engine, "unsupported", classmethod(lambda *_: reasons))
    assert found(spec_of(engine={"kind": kind}))["engine"] == [
        f"`{kind}` cannot run this model, since it has two inputs: export it with one",
        f"`{kind}` cannot run this model, since it is a sum: train a tree",
    ]


@pytest.fixture
def service():
    """A service whose page about the model states a sha256, which tests may change."""

    class Page(BaseHTTPRequestHandler):
        sha256 = ""

        def do_GET(self):
            self.send_response(200)
            self.send_header("x-onnx-model-sha256", self.sha256)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Page, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_is_asked_and_one_with_another_model_fails(found, spec_of, service, model):
    page, url = service
    spec = spec_of(engine={"kind": "remote", "url": f"{url}/v2/models/m/infer", "wire": "v2"})
    sha256 = page.sha256 = OnnxModel.load(model).sha256
    assert found(spec) == {}
    assert found(spec, Level.OK)["engine"] == [f"remote: {url}/v2/models/m answers, with model {sha256[:12]}"]
    page.sha256 = "ab" * 32
    assert f"has model {'ab' * 6}, and the scoring's is {sha256[:12]}" in found(spec)["engine"][0]


def test_a_service_that_is_down_fails_and_one_that_describes_nothing_is_said_not_to_be_asked(found, spec_of, service):
    _, url = service
    down = spec_of(engine={"kind": "remote", "url": "http://127.0.0.1:9/v2/models/m/infer", "wire": "v2"})
    assert "ServiceUnavailableError: http://127.0.0.1:9/v2/models/m" in found(down)["engine"][0]
    elsewhere = spec_of(engine={"kind": "remote", "url": f"{url}/score", "wire": "v2"})
    assert found(elsewhere) == {}
    assert "not asked" in found(elsewhere, Level.OK)["engine"][0]
