"""One sign-in for all that is asked within `looking`, and a new one as soon as anything was not as it should be."""

import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits, load, rows_of, slice_of, target_of
from onnx_pipeline_tests.pools.imitation import Fault, ImitatedDriver, Server

SCORES = sa.select(sa.column("score")).select_from(sa.table("predictions", schema="dbo"))


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def pool(server):
    made = MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=Waits()))
    load(made, slice_of(rows_of(0, 100, 1.0), "new"))
    server.statements.clear()
    return made


def sign_ins(server):
    return server.statements.count("connect")


def score(pool, key="new"):
    (loaded,) = pool.load(target_of(), iter([slice_of(rows_of(0, 90, 2.0), key, "run-2")]), "replace", lambda _: None)
    return loaded.present


def test_all_that_a_load_asks_is_asked_by_one_session(server, pool):
    with pool.looking("loading") as held:
        assert held.scored("s", "predictions").target.exists
        assert held.standing("predictions").exists
        held.ensure_target(target_of())
        assert [score(held), score(held, "another")] == [90, 90]
        assert held.fetch(SCORES).num_rows == 180
    assert sign_ins(server) == 1

    assert pool.standing("predictions").exists
    assert sign_ins(server) == 2


def test_it_is_closed_at_the_end(server, pool):
    with pool.looking("looking") as held:
        with held.session("a test") as session:
            pass
        with held.session("another") as again:
            assert again is session and again.purpose == "another"
        closed = []
        session._connection.close = lambda: closed.append(True)
    assert closed == [True]
    with held.session("after it"):
        pass
    assert sign_ins(server) == 2


@pytest.mark.parametrize("number", [None, 547], ids=["broken", "refused"])
def test_one_that_failed_is_not_used_again(server, pool, number):
    with pool.looking("looking") as held:
        held.standing("predictions")
        server.fault = Fault(len(server.statements) + 1, number, after=False)
        if number is None:
            assert held.standing("predictions").exists
        else:
            with pytest.raises(PoolError, match="error 547"):
                held.standing("predictions")
        server.fault = None
        assert held.standing("predictions").exists
    assert sign_ins(server) == 2


def test_one_whose_rows_were_not_read_to_the_end_is_not_used_again(server, pool):
    with pool.looking("looking") as held:
        with held.read(SCORES) as reader:
            assert reader.read_next_batch().num_rows > 0
        assert held.fetch(SCORES).num_rows == 100
    assert sign_ins(server) == 2


def test_one_that_was_left_by_an_error_is_not_used_again(server, pool):
    def refuse(_):
        raise ZeroDivisionError

    with pool.looking("looking") as held:
        with pytest.raises(ZeroDivisionError):
            list(held.load(target_of(), iter([slice_of(rows_of(0, 90, 2.0), "new", "run-2")]), "replace", refuse))
        assert held.fetch(SCORES).num_rows == 100
    assert sign_ins(server) == 2


def test_two_at_once_are_two(server, pool):
    with pool.looking("looking") as held:
        with held.session("one") as one, held.session("two") as two:
            assert one is not two
        assert held.standing("predictions").exists
    assert sign_ins(server) == 2
