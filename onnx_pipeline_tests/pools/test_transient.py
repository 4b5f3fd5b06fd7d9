"""What passes by itself is tried again; what somebody has to change is told at once, with what to change."""

import socket

import pytest
import trustme

from onnx_pipeline.base.errors import PoolError, PoolPausedError, PoolUnavailableError, PoolUnopenedError
from onnx_pipeline.pools.tsql.connections import Address, parse_url
from onnx_pipeline.pools.tsql.drivers.open import open_driver
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.transient import Retries, classified
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.pools.conftest import Waits
from onnx_pipeline_tests.pools.untrusted import HalfServer

ODBC = "[Microsoft][ODBC Driver 18 for SQL Server]"
DRIVERS = ["pyodbc", "mssqlpython"]


FREE_MONTH = "This database has used its monthly free amount allowance for May 2026 up and is paused until June."
"""As Azure's free offer words it, near enough: its pages tell no number."""


def of_pyodbc(state, message, number, call="SQLDriverConnect"):
    """An error as pyodbc raises it."""
    return Exception(state, f"[{state}] {ODBC}{message} ({number}) ({call})")


def of_mssql_python(kind, message):
    """An error as mssql-python raises it: without SQLSTATE and number."""
    return Exception(f"Driver Error: {kind}; DDBC Error: [Microsoft]{message}")


def found(error, server="db.example.com"):
    return classified(error, "here", str(error), server=server)


NO_CONNECTION = "Client unable to establish connection"
UNVERIFIED = "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate]"
UNTRUSTED_ISSUER = "SSL Provider: The certificate chain was issued by an authority that is not trusted.\r\n"


@pytest.mark.parametrize(
    "error",
    [
        of_pyodbc("08001", UNVERIFIED, -1),
        of_pyodbc("08001", UNVERIFIED.replace("self-signed certificate", "subject name does not match host name"), -1),
        of_pyodbc("08001", UNTRUSTED_ISSUER, -2146893019),
        of_mssql_python(NO_CONNECTION, UNVERIFIED),
        of_mssql_python(NO_CONNECTION, UNTRUSTED_ISSUER),
        RuntimeError(
            "Failed to connect to SQL Server: TLS handshake failed while connecting to '192.0.2.1': error:0A000086:SSL "
            "routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889: "
            "(self-signed certificate). Certificate SANs: (unavailable)"
        ),
    ],
    ids=["pyodbc", "another host", "Windows", "mssql-python", "mssql-python on Windows", "bulk copy"],
)
def test_an_untrusted_certificate_is_no_broken_connection_and_names_both_ways_out(error):
    refused = found(error)
    assert type(refused) is PoolError
    assert not refused.transient
    for word in ("not trusted", "trust_server_certificate=yes", "update-ca-certificates", "SSL_CERT_FILE"):
        assert word in str(refused)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (of_pyodbc("08001", "Encryption not supported on SQL Server.", 20), "speaks no TLS.*`encrypt=no`"),
        (of_mssql_python(NO_CONNECTION, "Encryption not supported on SQL Server."), "speaks no TLS.*`encrypt=no`"),
        (
            of_pyodbc("08001", "SSL Provider: [error:0A000102:SSL routines::unsupported protocol]", -1),
            "no version or cipher of TLS in common",
        ),
        (of_pyodbc("08001", "TCP Provider: No such host is known.\r\n", 11001), "no host has the name"),
        (of_pyodbc("28000", "[SQL Server]Login failed for user 'sa'.", 18456), "Login failed for user"),
        (
            of_mssql_python("Invalid authorization specification", "[SQL Server]Login failed for user 'sa'."),
            "Login failed for user",
        ),
        (
            of_pyodbc("42000", '[SQL Server]Cannot open database "x" requested by the login. The login failed.', 4060),
            "does not exist, is offline, or this login may not open it",
        ),
        (
            of_mssql_python(
                "Server rejected the connection", '[SQL Server]Cannot open database "x" requested by the login.'
            ),
            "does not exist, is offline, or this login may not open it",
        ),
        (of_pyodbc("08004", '[SQL Server]database "x" does not exist', 911), "does not exist"),
        (
            of_pyodbc("42000", "[SQL Server]Cannot open server 'x' requested by the login. Client with IP address "
                      "'192.0.2.1' is not allowed to access the server.", 40615),
            "is not allowed to access",
        ),
        (of_pyodbc("IM002", "Data source name not found", 0), "Data source name not found"),
        # A row's own text says nothing of the connection.
        (
            of_pyodbc("23000", "[SQL Server]Violation of PRIMARY KEY constraint. The duplicate key value is (10054).",
                      2627, "SQLExecDirectW"),
            "duplicate key",
        ),
        (
            of_mssql_python("Integrity constraint violation", "[SQL Server]The duplicate key value is (Broken pipe)."),
            "duplicate key",
        ),
    ],
)  # fmt: skip
def test_what_another_try_would_meet_again_fails_at_once(error, says):
    refused = found(error)
    assert type(refused) is PoolError
    assert not refused.transient
    with pytest.raises(PoolError, match=says):
        raise refused


@pytest.mark.parametrize(
    "error",
    [
        of_pyodbc("08001", "TCP Provider: Error code 0x2749", 10061),
        of_pyodbc("HYT00", "Login timeout expired", 0),
        of_pyodbc("08S01", "Communication link failure", 10054, "SQLExecDirectW"),
        of_pyodbc("08S01", "TCP Provider: Error code 0x68", 104, "SQLExecDirectW"),
        of_pyodbc("08001", "SSL Provider: [error:0A000126:SSL routines::unexpected eof while reading]", -1),
        of_pyodbc("40001", "[SQL Server]Transaction (Process ID 52) was deadlocked on lock resources", 1205),
        of_pyodbc("42000", "[SQL Server]Database 'x' on server 'y' is not currently available.", 40613),
        of_mssql_python(NO_CONNECTION, "TCP Provider: Error code 0x2749"),
        # A name server that does not answer: the driver says the same of a name that it denies, which is asked before.
        of_mssql_python(NO_CONNECTION, "TCP Provider: Error code 0x2AF9"),
        of_mssql_python("Communication link failure", "TCP Provider: Error code 0x2746"),
    ],
)
def test_what_may_pass_is_tried_again(error):
    assert isinstance(found(error), PoolUnavailableError)


UNOPENED = of_pyodbc("42000", '[SQL Server]Cannot open database "x" requested by the login.', 4060)


@pytest.mark.parametrize(
    "server", ["x.database.windows.net", "X.sql.azuresynapse.net", "x.database.fabric.microsoft.com"]
)
def test_azure_says_also_of_a_database_on_the_move_that_it_cannot_be_opened(server):
    waited = found(UNOPENED, server)
    assert type(waited) is PoolUnopenedError
    for cause in ("Azure moves the database, which passes", "none of that name", "correct the pool's URL"):
        assert cause in str(waited)
    # One that was open a moment ago is there: it is waited for as for every other failover.
    before = classified(UNOPENED, "here", str(UNOPENED), server=server, was_open=True)
    assert type(before) is PoolUnavailableError


def test_a_database_that_was_never_open_is_not_waited_for_as_long_as_one_that_was():
    waits = Waits()

    def attempt(_):
        raise found(UNOPENED, "x.database.windows.net")

    with pytest.raises(PoolError, match=r"Given up after 4 attempts") as raised:
        Retries(sleep=waits).run(attempt)
    assert not raised.value.transient
    assert len(waits.seconds) == 3 and sum(waits.seconds) <= 1.25 * 35
    waits.seconds.clear()
    with pytest.raises(PoolUnavailableError, match="Given up after 7 attempts"):
        Retries(sleep=waits).run(lambda _: (_ for _ in ()).throw(PoolUnavailableError("broken")))


def test_a_session_remembers_which_databases_were_open(monkeypatch):
    monkeypatch.setattr("onnx_pipeline.pools.tsql.session._opened", set())
    kinds = []
    driver = AzuresDriver(opens=[False, True, False])
    for database in ("there", "there", "There", "elsewhere"):
        address = Address("mssql", "x.database.windows.net", database, user="u", password="p")
        try:
            Session(driver, address, "looking")
        except PoolUnavailableError as error:
            kinds.append(type(error))
    assert kinds == [PoolUnopenedError, PoolUnavailableError, PoolUnopenedError]


class AzuresDriver:
    """Opens a database as often as it is told, and else says what Azure says."""

    name = "azures"
    errors = (Exception,)

    def __init__(self, opens):
        self.opens = opens

    def connect(self, address, login_seconds):
        if not self.opens or not self.opens.pop(0):
            raise UNOPENED
        return self


@pytest.mark.parametrize(
    "error",
    [
        of_pyodbc("42000", "[SQL Server]Cannot connect to the SQL pool since it is paused.", 42108),
        of_pyodbc("42000", "[SQL Server]Cannot connect to database when it is paused.", 49999),
        of_mssql_python("Server rejected the connection", "[SQL Server]Cannot connect to database when it is paused."),
        of_pyodbc("42000", "[SQL Server]Unable to complete the action because this Fabric capacity is currently paused.",
                  24800),
        of_pyodbc("42000", f"[SQL Server]{FREE_MONTH}", 49999),
        of_mssql_python("Server rejected the connection", f"[SQL Server]{FREE_MONTH}"),
        of_pyodbc("42000", "[SQL Server]Whatever it says in another language.", 24802, "SQLExecDirectW"),
    ],
)  # fmt: skip
def test_what_is_paused_is_named_whoever_paused_it(error):
    assert type(found(error, "x.sql.azuresynapse.net")) is PoolPausedError


def test_a_refused_row_that_speaks_of_a_pause_is_a_refused_row():
    error = of_pyodbc("23000", f"[SQL Server]Violation of UNIQUE KEY. The duplicate key value is ({FREE_MONTH}).", 2627)

    assert type(found(error, "x.sql.azuresynapse.net")) is PoolError


def pool_at(driver, address):
    needs.driver({"pyodbc": "pyodbc", "mssqlpython": "mssql_python"}[driver])
    waits = Waits()
    return MssqlPool(parse_url(address), driver=open_driver(driver), retries=Retries(sleep=waits)), waits


@pytest.fixture
def half_server(tmp_path):
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    servers = []

    def start(**options):
        servers.append(HalfServer(str(tmp_path / "server.pem"), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_whose_certificate_nobody_vouches_for_is_asked_once(driver, half_server):
    server = half_server()
    pool, waits = pool_at(driver, f"mssql+{driver}://u:secret-word@127.0.0.1:{server.port}/db")
    with pytest.raises(PoolError, match=r"certificate is not trusted.*`trust_server_certificate=yes`") as raised:
        pool.scoring_log("scoring")
    assert not raised.value.transient
    assert "secret-word" not in str(raised.value)
    assert (server.came, waits.seconds) == (1, [])


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_without_tls_is_asked_once(driver, half_server):
    server = half_server(encrypts=False)
    pool, waits = pool_at(driver, f"mssql+{driver}://u:p@127.0.0.1:{server.port}/db")
    with pytest.raises(PoolError, match="speaks no TLS"):
        pool.scoring_log("scoring")
    assert (server.came, waits.seconds) == (1, [])


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_name_that_no_host_has_fails_at_once(driver, monkeypatch):
    def denied(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", denied)
    pool, waits = pool_at(driver, f"mssql+{driver}://u:p@db.example.invalid/db")
    with pytest.raises(PoolError, match=r"no host has the name 'db\.example\.invalid'\. Correct it in the pool's URL"):
        pool.scoring_log("scoring")
    assert waits.seconds == []
