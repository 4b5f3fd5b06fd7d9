"""What a server is found to offer, against what it says when it is asked plainly."""

from collections.abc import Callable

import pytest

from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline_tests.live.server import Server


def test_what_is_found_is_what_the_server_says(server: Server, pool: MssqlPool) -> None:
    offers = pool.offers()
    assert offers[what.VERSION].value == server.scalar("SELECT @@VERSION").partition("\n")[0].strip()
    edition = server.scalar("SELECT CAST(SERVERPROPERTY('EngineEdition') AS INT)")
    assert str(offers[what.ENGINE_EDITION].value).startswith(f"{edition}, ")
    facts = "SELECT compatibility_level, snapshot_isolation_state, is_read_committed_snapshot_on FROM sys.databases "
    ((level, snapshot, read_committed),) = server.rows(facts + "WHERE name = DB_NAME()")
    assert offers[what.COMPATIBILITY].value == int(level)
    assert offers[what.SNAPSHOT].value is (int(snapshot) == 1)
    assert offers[what.READ_COMMITTED_SNAPSHOT].value is bool(read_committed)
    named = "SELECT COUNT(*) FROM sys.system_objects WHERE name = 'sp_invoke_external_rest_endpoint'"
    assert offers[what.REST_PROCEDURE].value is bool(server.scalar(named))
    assert "dbo" in offers[what.OWN_SCHEMAS].value


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        (what.LANGUAGES, "SELECT language FROM sys.external_languages"),
        (what.MAY_CREATE_TABLE, "SELECT HAS_PERMS_BY_NAME(NULL, 'DATABASE', 'CREATE TABLE')"),
    ],
)
def test_what_a_server_cannot_say_is_not_known_and_says_why(
    server: Server, pool: MssqlPool, name: str, statement: str
) -> None:
    offer = pool.offers()[name]
    if server.takes(statement) and server.rows(statement) not in ([], [(None,)]):
        assert offer.value is not None
    elif offer.value is None:
        assert offer.told.startswith("not known: ") and offer.why
        assert pool.display_name not in offer.why


def test_rights_on_our_tables_are_those_of_the_user_who_asks(
    server: Server, open_with: Callable[[str], MssqlPool]
) -> None:
    pool = open_with("mssqlpython")
    assert pool.offers()[what.MAY_WRITE_MODELS].told == "it does not stand yet, and whoever loads first makes it"
    pool.register_model("offers", "ab" * 32, b"model", "{}")
    assert open_with("mssqlpython").offers()[what.MAY_WRITE_MODELS].value is True
