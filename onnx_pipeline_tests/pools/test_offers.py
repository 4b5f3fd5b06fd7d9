"""What a pool offers: each question has its answer or says why not, and no refusal ends the asking."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import sqlglot

from onnx_pipeline.base.errors import PoolError, PoolUnavailableError
from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools import open_pool
from onnx_pipeline.pools.fabric import offers as fabric
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.offers import ABOUT, Offer, Offers
from onnx_pipeline.pools.synapse import offers as synapse
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.synapse.predict import ONE_MORE, QUESTION
from onnx_pipeline.pools.tsql import offers as tsql
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits, synapse_on
from onnx_pipeline_tests.pools.imitation import Fault, ImitatedDriver, ImitatedError, Server
from onnx_pipeline_tests.pools.test_statements import assert_parses

QUESTIONS = list(dict.fromkeys([*tsql._MSSQL, *synapse._PROBES, *fabric._PROBES]))


@dataclass
class AnsweringServer(Server):
    """A server that answers what it is asked: `answers` by a word of the statement, and a refusal of everything else."""

    answers: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def arrive(self, connection: Any, statement: str, carry_out: Any) -> Any:
        def answered() -> Any:
            if statement == "connect":
                return carry_out()
            for word, rows in self.answers.items():
                if word in statement:
                    return rows
            raise ImitatedError(f"Invalid object name in {ADDRESS.password}. (208) (SQLExecDirectW)", 208)

        return super().arrive(connection, statement, answered)


class AnsweringDriver(ImitatedDriver):
    def connect(self, address: Any, login_seconds: int = 0) -> Any:
        connection = super().connect(address, login_seconds)
        connection.cursor = lambda: AnsweredCursor(connection)
        return connection


class AnsweredCursor:
    description = "rows"

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def execute(self, statement: str, values: Sequence[str] = ()) -> None:
        asked = " ".join([statement, *values])
        self.rows = self.connection.server.arrive(self.connection, asked, None)

    def fetchall(self) -> Any:
        return self.rows

    def close(self) -> None:
        pass


SERVER_2025 = {
    "@@VERSION": [("Microsoft SQL Server 2025 (RTM) - 17.0.1000.7 (X64) \n\tOct 21 2025",)],
    "'Edition'": [("Enterprise Developer Edition (64-bit)",)],
    "'EngineEdition'": [(3,)],
    "compatibility_level": [(170,)],
    "snapshot_isolation_state = 1": [(0,)],
    "is_read_committed_snapshot_on": [(1,)],
    "IsAdvancedAnalyticsInstalled": [(1,)],
    "external scripts enabled": [(1,)],
    "external rest endpoint enabled": [],
    "EXTERNAL LANGUAGE": [("ONNX", 1), ("Python", 0)],
    "language FROM sys.external_languages": [("ONNX",), ("Python",)],
    "EXECUTE ANY EXTERNAL SCRIPT": [(0,)],
    "sys.system_objects": [("sp_invoke_external_rest_endpoint",)],
    "EXECUTE ANY EXTERNAL ENDPOINT": [(None,)],
    "CREATE TABLE": [(1,)],
    "sys.schemas": [("dbo", 0), ("onnx", 1)],
    "onnx_scoring_log": [(77, 1, 1, 0)],
    "onnx_models": [(None, 0, 0, 0)],
}


def answering(answers: dict[str, list[tuple[Any, ...]]], **more: Any) -> MssqlPool:
    server = AnsweringServer(answers=answers, **more)
    return MssqlPool(ADDRESS, driver=AnsweringDriver(server), retries=Retries(sleep=Waits()))


def test_each_answer_is_read_as_what_it_means() -> None:
    offers = answering(SERVER_2025).offers()
    assert {offer.name: offer.value for offer in offers} == {
        "version": "Microsoft SQL Server 2025 (RTM) - 17.0.1000.7 (X64)",
        "edition": "Enterprise Developer Edition (64-bit)",
        "engine edition": "3, Enterprise or Developer",
        "compatibility level": 170,
        "snapshot isolation": False,
        "read committed snapshot": True,
        "PREDICT with ONNX": False,
        "ML Services": True,
        "external scripts enabled": True,
        "external languages": ("ONNX", "Python"),
        "external languages that this user may run": ("ONNX",),
        "right EXECUTE ANY EXTERNAL SCRIPT": False,
        "sp_invoke_external_rest_endpoint": True,
        "external rest endpoint enabled": False,
        "right EXECUTE ANY EXTERNAL ENDPOINT": None,
        "right CREATE TABLE": True,
        "schemas that this user may make tables in": ("onnx",),
        "rights on onnx_scoring_log": False,
        "rights on onnx_models": "it does not stand yet, and whoever loads first makes it",
    }
    told = {offer.name: offer.told for offer in offers}
    assert told["PREDICT with ONNX"] == "no: in SQL Server and Managed Instance it takes models of RevoScale alone"
    assert told["right EXECUTE ANY EXTERNAL ENDPOINT"] == "not known: the server gives no answer"
    assert told["external rest endpoint enabled"] == "no: the server has no such setting"
    assert told["rights on onnx_scoring_log"] == "no: DELETE is missing"
    assert told["external languages"] == "ONNX, Python" and told["read committed snapshot"] == "yes"


def test_what_is_refused_is_not_known_and_holds_no_secret() -> None:
    pool = answering({"@@VERSION": SERVER_2025["@@VERSION"]})
    offers = list(pool.offers())
    assert offers[0].value == "Microsoft SQL Server 2025 (RTM) - 17.0.1000.7 (X64)"
    refused = "Invalid object name in ***. (208) (SQLExecDirectW)"
    assert {offer.told for offer in offers[1:-1]} == {f"not known: {refused}"}


def test_a_pool_is_asked_once() -> None:
    pool = answering(SERVER_2025)
    first = pool.offers()
    asked = len(pool._driver.server.statements)
    assert pool.offers() is first
    assert len(pool._driver.server.statements) == asked


@pytest.mark.parametrize("number", [None, 208, 40613], ids=["broken", "refused", "transient"])
def test_whatever_breaks_the_other_questions_are_answered(number: int | None) -> None:
    pool = answering(SERVER_2025)
    whole = {offer.name: offer for offer in pool.offers()}
    sent = pool._driver.server.statements
    for name, place in {
        probe.name: 1 + sent.index(" ".join([probe.statement, *probe.values])) for probe in tsql._MSSQL
    }.items():
        found = {offer.name: offer for offer in answering(SERVER_2025, fault=Fault(place, number)).offers()}
        assert found.pop(name).value is None, name
        assert found == {other: offer for other, offer in whole.items() if other != name}


def test_a_server_that_went_away_is_not_waited_for_at_every_question() -> None:
    pool = answering(SERVER_2025, fault=Fault(3))
    server = pool._driver.server
    connect = pool._driver.connect

    def gone(address: Any, login_seconds: int = 0) -> Any:
        if len(server.statements) > 2:
            server.statements.append("connect")
            raise ImitatedError("08001: TCP Provider")
        return connect(address, login_seconds)

    pool._driver.connect = gone
    first, *rest, _ = pool.offers()
    assert first.value is not None
    assert {offer.value for offer in rest} == {None} and "TCP Provider" in rest[-1].why
    assert server.statements.count("connect") == 2


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(PoolUnavailableError, match="asking what it offers"):
        answering(SERVER_2025, fault=Fault(1)).waiting_at_most(1).offers()
    with pytest.raises(PoolError, match="error 18456|asking what it offers"):
        answering(SERVER_2025, fault=Fault(1, 18456)).waiting_at_most(1).offers()


@pytest.mark.parametrize("kind", ["synapse", "fabric"])
def test_a_pool_of_synapse_or_fabric_is_asked_what_it_can_know(kind: str, tmp_path: Any) -> None:
    pool = synapse_on(Server(storage=tmp_path), made={"synapse": SynapsePool, "fabric": FabricPool}[kind])
    offers = pool.offers()
    assert offers[what.LANGUAGES].value is False and "no external scripts" in offers[what.LANGUAGES].why
    assert offers[what.MAY_COPY].value is None
    assert (what.SERVICE_OBJECTIVE in {offer.name for offer in offers}) == (kind == "synapse")
    asked = " ".join(pool._driver.server.statements)
    assert ("FROM PREDICT(" in asked) == (kind == "synapse")
    # A pool that refuses the statement has no PREDICT, whatever it says.
    assert offers[what.PREDICT].value is False and offers[what.PREDICT].why
    assert "sys.configurations" not in asked


def test_a_duckdb_pool_is_not_opened(tmp_path: Any) -> None:
    file = tmp_path / "p.duckdb"
    assert "does not stand yet" in open_pool(f"duckdb:///{file}").offers()[what.WRITABLE].told
    file.write_bytes(b"no database, and nobody looks")
    assert open_pool(f"duckdb:///{file}").offers()[what.WRITABLE].told.startswith("stands, and this user may")
    assert open_pool(f"duckdb:///{tmp_path}").offers()[what.WRITABLE].told == f"no: {tmp_path} is no file"


def test_what_nobody_asked_is_not_known() -> None:
    assert Offers([Offer("a", 1)])["b"] == Offer("b", None, "pools of this kind are not asked for it")
    names = {value for name, value in vars(what).items() if name.isupper() and isinstance(value, str)}
    assert set(ABOUT) <= names


@pytest.mark.parametrize("probe", QUESTIONS, ids=[probe.name for probe in QUESTIONS])
def test_every_question_is_t_sql(probe: tsql.Probe) -> None:
    # PREDICT's clause stands in no grammar but Microsoft's; what it is made of does.
    statement = re.sub(
        r"PREDICT\(MODEL = 0x[0-9a-f]+, DATA = \[one\] AS \[d\], RUNTIME = ONNX\) WITH \(\[y\] REAL\)",
        "[one]",
        probe.statement,
    )
    assert (statement != probe.statement) == (probe.name == what.PREDICT)
    assert_parses(statement)
    assert len(sqlglot.parse(statement, read="tsql")) == 1


def test_the_model_that_predict_is_tried_with_is_one() -> None:
    (y,) = ort.InferenceSession(ONE_MORE).run(["y"], {"x": np.float32([[41]])})
    assert y.tolist() == [[42]]
    assert ONE_MORE.hex() in QUESTION
