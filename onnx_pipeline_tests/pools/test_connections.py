"""Who signs in where, and that no secret is ever said."""

import ctypes
import struct
import sys

import pytest

from onnx_pipeline.base.errors import OnnxPipelineError, PoolError, SpecError
from onnx_pipeline.pools import open_pool
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.connections import access_token, odbc_string, parse_url
from onnx_pipeline.pools.tsql.drivers.open import open_driver
from onnx_pipeline_tests import needs

SECRET = "p@ss;w}rd=/ü'1"
IN_URL = "p%40ss%3Bw%7Drd%3D%2F%C3%BC%271"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    monkeypatch.delenv("ONNX_PIPELINE_SQL_USER", raising=False)
    monkeypatch.delenv("ONNX_PIPELINE_SQL_PASSWORD", raising=False)


def test_a_sql_login_is_quoted_as_odbc_wants_it():
    address = parse_url(f"mssql+pyodbc://scorer:{IN_URL}@db.example.com:1433/ware house")
    assert odbc_string(address, driver="ODBC Driver 18 for SQL Server") == (
        "Driver={ODBC Driver 18 for SQL Server};Server=db.example.com,1433;Database={ware house};Encrypt=yes;"
        "TrustServerCertificate=no;UID={scorer};PWD={p@ss;w}}rd=/ü'1};"
    )


def test_the_certificate_is_verified_unless_the_url_says_otherwise():
    assert "TrustServerCertificate=no" in odbc_string(parse_url("mssql://a:b@s/d"))
    assert "TrustServerCertificate=yes" in odbc_string(parse_url("mssql://a:b@s/d?trust_server_certificate=yes"))
    assert "Encrypt=no" in odbc_string(parse_url("mssql://a:b@s/d?encrypt=no"))


def test_user_and_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ONNX_PIPELINE_SQL_USER", "scorer")
    monkeypatch.setenv("ONNX_PIPELINE_SQL_PASSWORD", SECRET)
    address = parse_url("mssql+pyodbc://db.example.com/warehouse")
    assert (address.user, address.password, address.authentication) == ("scorer", SECRET, "SqlPassword")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("synapse://s/d?authentication=ActiveDirectoryMSI", "Authentication=ActiveDirectoryMSI;"),
        ("synapse://11-22@s/d?authentication=activedirectorymsi", "Authentication=ActiveDirectoryMSI;UID={11-22};"),
        ("synapse://id:key@s/d?authentication=ActiveDirectoryServicePrincipal",
         "Authentication=ActiveDirectoryServicePrincipal;UID={id};PWD={key};"),
        ("synapse://s/d", "Authentication=ActiveDirectoryDefault;"),
    ],
)  # fmt: skip
def test_entra_id_signs_in_as_the_url_says(url, expected):
    assert odbc_string(parse_url(url)).endswith(f"TrustServerCertificate=no;{expected}")


def test_a_token_has_the_form_that_odbc_reads(monkeypatch):
    import azure.identity

    class Credential:
        def __init__(self, **options):
            assert options == {"managed_identity_client_id": "11-22"}

        def get_token(self, scope):
            assert scope == "https://database.windows.net/.default"
            return type("Token", (), {"token": "abc"})

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Credential)
    assert access_token(parse_url("mssql://11-22@s/d")) == {1256: struct.pack("<I6s", 6, "abc".encode("utf-16-le"))}


def test_no_token_is_an_error_of_the_pool_that_says_how_to_sign_in(monkeypatch):
    import azure.identity
    from azure.core.exceptions import ClientAuthenticationError

    class Credential:
        def __init__(self, **options): ...

        def get_token(self, scope):
            raise ClientAuthenticationError("nobody is signed in\nand a page of advice")

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Credential)
    with pytest.raises(
        PoolError,
        match=r"gave no token for https://database\.windows\.net/\.default \(nobody is signed in\); sign in by `az login`",
    ):
        access_token(parse_url("mssql://11-22@s/d"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mssql+pyodbc://s", "names no server or no database"),
        ("mssql+pyodbc://u:secretword@s:port/d", "cannot be read: write mssql"),
        (
            "mssql://u:secretword@s/d?authentication=ActiveDirectoryMagic",
            "'ActiveDirectoryMagic' is not known; did you mean",
        ),
        (
            "mssql://u@s/d?authentication=SqlPassword",
            "needs a user and a password, in the URL or in ONNX_PIPELINE_SQL_USER",
        ),
        ("mssql://u:secretword@s/d?encrypt=perhaps", "encrypt=perhaps must be yes or no"),
        ("mssql://u:secretword@s/d?lock_timeot=3", "option 'lock_timeot' is not known; did you mean 'lock_timeout'?"),
        ("mssql://u:secretword@s/d?lock_timeout=long", "lock_timeout=long in the pool's URL is no number"),
        (
            "synapse://u:secretword@s/d?flavour=snowflake",
            "flavour=snowflake in the pool's URL must be synapse or fabric",
        ),
        ("synapse://u:secretword@s/d?flavour=fabric&extract=cetas", "Fabric's Warehouse has no"),
        ("oracle://u:secretword@s/d", "scheme 'oracle' names no kind of pool; there are: duckdb, mssql"),
    ],
)
def test_a_url_that_cannot_work_is_an_error_without_the_secret(url, message):
    with pytest.raises(SpecError) as caught:
        open_pool(url)
    assert message in str(caught.value)
    assert "secretword" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["mssql+pyodbc", "mssql+mssqlpython", "synapse"])
def test_no_secret_is_said_by_anything(scheme, caplog):
    """An address where nobody answers, with everything that a driver has to say about that."""
    needs.driver("mssql_python" if scheme == "mssql+mssqlpython" else "pyodbc")
    caplog.set_level("DEBUG")
    pool = open_pool(f"{scheme}://scorer:{IN_URL}@127.0.0.1:9/warehouse").waiting_at_most(0)
    said = [
        repr(pool._address),
        str(pool._address),
        pool.display_name,
        repr(pool),
        pool.redacted(f"PWD={SECRET} {IN_URL}"),
    ]
    with pytest.raises(OnnxPipelineError) as caught:
        pool.scoring_log("length_of_stay")
    error = caught.value
    while error is not None:
        said.append(repr(error) + str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    said.append(caplog.text)
    for text in said:
        for secret in (SECRET, IN_URL, "w}}rd", "p@ss"):
            assert secret not in text


def test_the_ui_shows_no_url_that_came_from_the_environment(monkeypatch):
    from onnx_pipeline.orchestration.resources import PoolResource

    needs.driver("pyodbc")
    monkeypatch.setenv("ONNX_PIPELINE_POOL", f"mssql+pyodbc://scorer:{IN_URL}@s/d")
    resource = PoolResource()
    assert IN_URL not in repr(resource) + str(resource.model_dump()) + str(PoolResource.to_config_schema().as_field())
    assert PoolResource.model_fields["url"].get_default(call_default_factory=True) == ""
    assert resource.open().display_name == "mssql:s/d"


@pytest.mark.parametrize("url", ["fabric://s/d?staging=az://c/f", "synapse://s/d?staging=az://c/f&flavour=fabric"])
def test_a_warehouse_of_fabric_has_a_scheme_of_its_own_and_is_a_flavour_of_synapse(url):
    pool = open_pool(url)
    assert type(pool) is FabricPool
    assert pool.sql_folder == "fabric"


@pytest.mark.parametrize("scheme", ["synapse", "synapse+pyodbc", "synapse+mssqlpython"])
def test_a_synapse_url_without_flavour_names_synapse(scheme):
    needs.driver("mssql_python" if scheme == "synapse+mssqlpython" else "pyodbc")
    assert type(open_pool(f"{scheme}://s/d?staging=az://c/f")) is SynapsePool


@pytest.mark.parametrize("scheme", ["duckdb+pyodbc", "mssql+odbc", "+mssql", ""])
def test_half_a_scheme_names_no_pool(scheme):
    with pytest.raises(SpecError, match="names no kind of pool; there are: duckdb"):
        open_pool(f"{scheme}://s/d")


@pytest.mark.parametrize(
    ("name", "module", "packages"),
    [("pyodbc", "pyodbc", "unixodbc"), ("mssqlpython", "mssql_python", "libltdl7 libkrb5-3 libgssapi-krb5-2")],
)
def test_a_driver_whose_system_libraries_are_missing_is_told_with_what_installs_them(
    name, module, packages, monkeypatch, tmp_path
):
    """As pip installs it on a machine without them."""
    (tmp_path / f"{module}.py").write_text("raise ImportError('libodbc.so.2: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for loaded in [
        found for found in sys.modules if found.partition(".")[0] == module or found.endswith(f".drivers.{name}")
    ]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(SpecError, match="is installed and cannot be loaded") as told:
        open_driver(name)
    assert "libodbc.so.2: cannot open shared object file" in str(told.value)
    assert f"apt-get install {packages};" in str(told.value)


def test_a_library_that_mssql_python_misses_when_it_connects_is_named_with_its_package(monkeypatch):
    """Its own words are that the driver could not be loaded, and where to read on."""
    mssql_python = needs.driver("mssql_python")

    def connect(*_, **__):
        raise mssql_python.OperationalError("Connection operation failed", "Failed to load the driver.")

    load = ctypes.CDLL

    def lacking_kerberos(name, *rest, **options):
        if name == "libgssapi_krb5.so.2":
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return load(name, *rest, **options)

    monkeypatch.setattr(mssql_python, "connect", connect)
    monkeypatch.setattr(ctypes, "CDLL", lacking_kerberos)
    with pytest.raises(SpecError, match=r"cannot connect without libgssapi_krb5\.so\.2, which this system") as told:
        open_pool("mssql+mssqlpython://u:secret-word@127.0.0.1/d").scoring_log("scoring")
    assert "apt-get install libgssapi-krb5-2; on Red Hat: dnf install krb5-libs" in str(told.value)
    assert "secret-word" not in str(told.value)
