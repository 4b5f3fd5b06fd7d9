"""By each driver: a session serves one use after the other within a look, as long as each left it whole."""

import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.tsql.pool import MssqlPool

NUMBER = sa.select(sa.cast(sa.literal_column("@@SPID"), sa.Integer).label("n"))
MANY = sa.select(sa.literal_column("a.object_id").label("n")).select_from(
    sa.text("sys.all_columns AS a CROSS JOIN sys.all_columns AS b")
)


def _session_of(pool: MssqlPool) -> int:
    """The server's number of the session that moves rows."""
    return int(pool.fetch(NUMBER)["n"][0].as_py())


def _asked(pool: MssqlPool) -> int:
    return int(pool.retried("asking", lambda session: session.scalar("SELECT @@SPID AS n")))


def test_it_serves_rows_and_statements_one_after_the_other(pool: MssqlPool) -> None:
    with pool.looking("a test") as held:
        first = _session_of(held)
        assert [_session_of(held), _session_of(held)] == [first, first]
        if held._rows_driver is held._driver:
            assert _asked(held) == first
        assert held.columns_of(NUMBER).names == ["n"]
        assert _session_of(held) == first


def test_one_that_was_left_in_the_middle_of_rows_or_failed_is_another(pool: MssqlPool) -> None:
    with pool.looking("a test") as held:
        with held.read(MANY) as reader:
            assert reader.read_next_batch().num_rows > 0
        assert _session_of(held) > 0
        with pytest.raises(PoolError, match="there_is_none"):
            held.fetch(sa.select(sa.text("*")).select_from(sa.table("there_is_none")))
        assert _session_of(held) > 0
        assert _asked(held) > 0
