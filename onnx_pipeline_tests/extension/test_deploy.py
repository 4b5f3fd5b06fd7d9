"""Registering the language, and the procedures: what is sent to a server, and that it is T-SQL.

`ONNX_PIPELINE_SNAPSHOTS=write` writes the snapshot anew; read the difference before you commit it.
"""

import hashlib
import io
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlfluff

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import PoolError, SignatureError, SpecError, UnsupportedModelError
from onnx_pipeline.extension.deploy import abbreviated, deploy, deployment, register, registration
from onnx_pipeline.extension.package import Package
from onnx_pipeline.extension.procedure import key_column, procedure, result_columns, script
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.signature import OutputSignature, Signature, TensorSignature
from onnx_pipeline.pools.tsql.connections import Address
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server
from onnx_pipeline_tests.pools.test_models_table import BEFORE

SNAPSHOT = Path(__file__).parent / "snapshots" / "deploy.sql"
CONTENT = b"PK" + bytes(range(256)) * 4


def package(platform: str = "LINUX") -> Package:
    return Package(platform, CONTENT, ())


@dataclass
class ScriptedServer:
    """A driver whose server answers questions as it is told to, and keeps every statement."""

    platform: str = "Linux"
    major: int = 16
    edition: int = 3
    enabled: int = 1
    registered: tuple[str, ...] = ()
    prepared: tuple[int | None, int | None] = (5, 77)
    statements: list[str] = field(default_factory=list)
    bound: list[Any] = field(default_factory=list)

    name = "scripted"
    errors = (ConnectionError,)

    def connect(self, address: Address, login_seconds: int) -> "ScriptedServer":
        return self

    def cursor(self) -> "ScriptedServer":
        return self

    def close(self) -> None: ...

    rowcount = -1

    def execute(self, statement: str, values: Any = ()) -> None:
        self.statements.append(statement)
        self.bound.append(list(values))

    @property
    def description(self) -> list[str] | None:
        """As a driver's: there where the last statement gives rows."""
        return ["a column"] if self.statements[-1].startswith("SELECT") else None

    def nextset(self) -> bool:
        return False

    def fetchall(self) -> list[tuple[Any, ...]]:
        asked = self.statements[-1]
        if "SERVERPROPERTY" in asked:
            return [(self.major, self.edition, self.enabled)]
        if "dm_os_host_info" in asked:
            return [(self.platform.upper(),)]
        if "DATABASE_PRINCIPAL_ID" in asked:
            return [self.prepared]
        return [(platform,) for platform in self.registered]

    @property
    def changes(self) -> list[str]:
        return [text for text in self.statements if not text.startswith("SELECT")]

    def pool(self) -> MssqlPool:
        address = Address("mssql", "server", "warehouse", user="u", password="p", authentication="SqlPassword")
        return MssqlPool(address, driver=self, retries=Retries())  # type: ignore[arg-type]


def test_the_package_travels_as_a_literal_that_is_its_bytes() -> None:
    statement = registration(package(), "ONNX", ())
    (literal,) = re.findall(r"0x([0-9a-f]+)", statement)
    assert bytes.fromhex(literal) == CONTENT
    assert statement.startswith("CREATE EXTERNAL LANGUAGE [ONNX] FROM (CONTENT = 0x")
    assert statement.endswith(", FILE_NAME = 'libonnxextension.so', PLATFORM = LINUX)")


@pytest.mark.parametrize(
    ("platform", "registered", "beginning"),
    [
        ("LINUX", (), "CREATE EXTERNAL LANGUAGE [ONNX] FROM ("),
        ("LINUX", ("LINUX",), "ALTER EXTERNAL LANGUAGE [ONNX] SET ("),
        ("WINDOWS", ("LINUX",), "ALTER EXTERNAL LANGUAGE [ONNX] ADD ("),
        ("WINDOWS", ("LINUX", "WINDOWS"), "ALTER EXTERNAL LANGUAGE [ONNX] SET ("),
    ],
)
def test_a_language_that_stands_is_altered(platform: str, registered: tuple[str, ...], beginning: str) -> None:
    server = ScriptedServer(platform=platform.title(), registered=registered)
    deploy(server.pool(), package(platform), "ONNX")
    assert server.changes[0].startswith(beginning)
    assert server.changes[0].endswith(f"PLATFORM = {platform})")
    assert ["ONNX"] in server.bound


def test_deploying_makes_the_procedure_and_grants_after_the_language() -> None:
    server = ScriptedServer()
    deploy(server.pool(), package(), "ONNX")
    kinds = [re.match(r"(CREATE OR ALTER|CREATE|GRANT|EXEC\('GRANT)", text) for text in server.changes]
    assert [kind and kind[0] for kind in kinds] == [
        "CREATE",
        "CREATE OR ALTER",
        "GRANT",
        "EXEC('GRANT",
        "GRANT",
        "GRANT",
    ]


@pytest.mark.parametrize(("major", "edition"), [(14, 3), (12, 5), (12, 6), (12, 11)])
def test_a_server_without_external_languages_is_refused_before_anything_changes(major: int, edition: int) -> None:
    server = ScriptedServer(major=major, edition=edition)
    with pytest.raises(PoolError, match="runs no external languages"):
        deploy(server.pool(), package(), "ONNX")
    assert server.changes == []


def test_a_package_for_another_platform_than_the_server_is_refused() -> None:
    server = ScriptedServer(platform="Windows")
    with pytest.raises(PoolError, match="runs on Windows and the package is for Linux.*--platform windows"):
        deploy(server.pool(), package(), "ONNX")
    assert server.changes == []


@pytest.mark.parametrize("prepared", [(None, 77), (5, None)])
def test_a_database_without_role_or_todays_models_table_is_refused_before_anything_changes(
    prepared: tuple[int | None, int | None],
) -> None:
    server = ScriptedServer(prepared=prepared)
    with pytest.raises(PoolError, match="run `onnx-pipeline sql apply` first"):
        deploy(server.pool(), package(), "ONNX")
    assert server.changes == []


@pytest.mark.parametrize("language", ["", "R", "python", "Java", "1x", "a b", "x]; DROP TABLE t --", "é"])
def test_a_name_that_cannot_be_a_languages_is_refused(language: str) -> None:
    with pytest.raises(SpecError, match="--language"):
        registration(package(), language, ())


def test_another_name_reaches_the_procedure_and_the_grants() -> None:
    _, *texts = deployment(package(), "onnx_test", ())
    assert "@language = N''onnx_test''" in texts[0] and "N''ONNX''" not in texts[0]
    assert any("EXTERNAL LANGUAGE::onnx_test TO" in text for text in texts)


def test_a_literal_is_printed_short() -> None:
    shown = abbreviated(registration(package(), "ONNX", ()))
    assert len(shown) < 200 and f"{len(CONTENT):,} bytes" in shown
    assert abbreviated("SELECT 0x1234") == "SELECT 0x1234"


def external_language_parses(statement: str) -> bool:
    """The grammar of CREATE and ALTER EXTERNAL LANGUAGE, which sqlfluff does not have.

    https://learn.microsoft.com/sql/t-sql/statements/create-external-language-transact-sql
    """
    spec = r"\(CONTENT = (?:N?'(?:[^']|'')+'|0x(?:[0-9a-f]{2})+), FILE_NAME = N?'[^']+', PLATFORM = (?:LINUX|WINDOWS)\)"
    name = r"(?:\[\w+\]|\w+)"
    return bool(
        re.fullmatch(
            rf"CREATE EXTERNAL LANGUAGE {name} FROM {spec}|ALTER EXTERNAL LANGUAGE {name} (?:SET|ADD) {spec}", statement
        )
    )


@pytest.mark.parametrize("registered", [(), ("LINUX",), ("WINDOWS",)])
def test_the_registration_is_t_sql(registered: tuple[str, ...]) -> None:
    assert external_language_parses(registration(package(), "ONNX", registered))


def test_the_script_for_a_file_registers_by_t_sql() -> None:
    text = (paths.sql_folder() / "sqlserver" / "external_language.sql").read_text(encoding="utf-8")
    (inner,) = re.findall(r"EXEC\('(.+)'\);", text)
    assert external_language_parses(inner.replace("''", "'"))


SIGNATURE = Signature(
    (TensorSignature("x", "float", (None, 2)),),
    (
        OutputSignature("label", "string", (None,)),
        OutputSignature("probabilities", "float", (None, 3), ("a", "b'", "c]")),
        OutputSignature("score", "double", (None, 1)),
        OutputSignature("raw", "int64", (None, 2)),
        OutputSignature("flag", "bool", (None,)),
    ),
)


def procedures() -> dict[str, str]:
    model = OnnxModel.load(MODELS / "length_of_stay.onnx")
    keys = {"encounter_id": "BIGINT", "the key ] é": "NVARCHAR(450)"}
    return {
        "every output": procedure("ward.score it", SIGNATURE, "ab" * 32, keys),
        "chosen outputs and features": procedure(
            "score", SIGNATURE, "cd" * 32, {"id": "INT"}, features=["b", 'it\'s, "a"'], outputs=["score", "label"]
        ),
        "the sample": procedure(
            "score_length_of_stay",
            model.signature,
            model.sha256,
            {"encounter_id": "BIGINT"},
            features=model.feature_names,
        ),
    }


def test_every_statement_is_t_sql_and_reads_as_it_did() -> None:
    blocks = {
        "register": abbreviated(registration(package(), "ONNX", ())),
        "replace": abbreviated(registration(package(), "ONNX", ("LINUX",))),
        "add": abbreviated(registration(package("WINDOWS"), "ONNX", ("LINUX",))),
        **procedures(),
    }
    found = "\n".join(f"-- {title}\n{text.rstrip()}\n" for title, text in blocks.items())
    if os.environ.get("ONNX_PIPELINE_SNAPSHOTS") == "write":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.parametrize("title", ["every output", "chosen outputs and features", "the sample"])
def test_a_procedure_is_t_sql(title: str) -> None:
    # The grammar of sqlfluff does not know `]]` in a name.
    sqlfluff.parse(procedures()[title].replace("]]", ")") + "\n", dialect="tsql")


def test_the_result_set_is_the_keys_and_then_the_outputs_as_the_extension_returns_them() -> None:
    text = procedures()["every output"]
    columns = text.partition("WITH RESULT SETS ((")[2].partition("\n    ))")[0]
    assert [line.strip().rstrip(",") for line in columns.strip().splitlines()] == [
        "[encounter_id] BIGINT NULL", "[the key ]] é] NVARCHAR(450) NULL", "[label] NVARCHAR(4000) NULL",
        "[probabilities_a] REAL NULL", "[probabilities_b'] REAL NULL", "[probabilities_c]]] REAL NULL", "[score] FLOAT NULL",
        "[raw_0] BIGINT NULL", "[raw_1] BIGINT NULL", "[flag] BIT NULL",
    ]  # fmt: skip


def test_names_are_quoted_as_the_options_of_the_extension_want_them() -> None:
    assert script(["id", 'a "b", c'], None, ["x"]) == 'keys = "id", "a ""b"", c"\noutputs = "x"'
    with pytest.raises(SpecError, match="line break"):
        script(["a\nb"], None, None)


def test_an_output_that_the_extension_cannot_return_is_refused() -> None:
    signature = Signature(SIGNATURE.inputs, (OutputSignature("big", "uint64", (None,)),))
    with pytest.raises(UnsupportedModelError, match="'big' is uint64"):
        procedure("p", signature, "", {})
    with pytest.raises(SignatureError, match="no such output"):
        procedure("p", SIGNATURE, "", {}, outputs=["nothing"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id BIGINT", ("id", "BIGINT")),
        ("[a ]] b] nvarchar(450)", ("a ] b", "NVARCHAR(450)")),
        ("d decimal(12, 2)", ("d", "DECIMAL(12, 2)")),
    ],
)
def test_a_key_is_a_column_and_its_type(text: str, found: tuple[str, str]) -> None:
    assert key_column(text) == found


@pytest.mark.parametrize("text", ["id", "", "id BIGINT); DROP TABLE t --", "[a BIGINT", "id BIGINT NULL, x INT"])
def test_a_key_that_is_something_else_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--key"):
        key_column(text)


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("Order No INT", "[Order No] INT"),
        ("Order-No DECIMAL(10, 2)", "[Order-No] DECIMAL(10, 2)"),
        ("a]b  c BIGINT", "[a]]b  c] BIGINT"),
    ],
)
def test_a_key_of_several_words_is_shown_in_the_brackets_that_work(text: str, works: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"goes into brackets: --key '{works}'")):
        key_column(text)
    name, _ = key_column(works)
    assert name == text[: len(name)]


def test_the_command_names_the_model_by_the_sha256_of_the_bytes_as_they_came(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "zipped.onnx"
    path.write_bytes(models.classifier("tree", "text", zipmap=True))
    done = command("extension", "procedure", str(path), "--name", "score", "--key", "id INT")
    assert done.code == 0, done.error
    assert set(re.findall(r"[0-9a-f]{64}", done.out)) == {hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_command_prints_the_procedure_of_a_model(command: Command) -> None:
    done = command(
        "extension",
        "procedure",
        str(MODELS / "length_of_stay.onnx"),
        "--name",
        "score_length_of_stay",
        "--key",
        "encounter_id BIGINT",
    )
    assert done.code == 0, done.error
    assert done.out.rstrip().rstrip(";") == procedures()["the sample"].rstrip()


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a real library: only what was checked is deployed."""
    from onnx_pipeline.extension.files import installed_runtime
    from onnx_pipeline.extension.package import pack
    from onnx_pipeline_tests.extension.test_package import LINUX, built

    path = tmp_path_factory.mktemp("package") / "onnxextension.zip"
    path.write_bytes(pack(built(LINUX), installed_runtime(), "LINUX").content)
    return path


def test_the_command_deploys_prints_and_writes_scripts(
    command: Command,
    zipped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnx_pipeline.pools.open_pool", lambda url: pytest.fail("a dry run asks no server"))
    done = command("extension", "deploy", "--package", str(zipped), "--dry-run")
    assert done.code == 0, done.error
    assert "instead of the first: ALTER EXTERNAL LANGUAGE [ONNX] SET" in done.out
    server = ScriptedServer(enabled=0)
    monkeypatch.setattr("onnx_pipeline.pools.open_pool", lambda url: server.pool())
    arguments = ("extension", "deploy", "--package", str(zipped), "--pool", "mssql://server/warehouse")
    assert "CREATE EXTERNAL LANGUAGE [ONNX]" in done.out and "CREATE OR ALTER PROCEDURE sp_onnx_scoring" in done.out
    assert len(done.out) < 30_000
    done = command(*arguments)
    assert done.code == 0, done.error
    assert done.out.startswith("registered external language ONNX in mssql:server/warehouse")
    assert "sp_configure 'external scripts enabled'" in done.out
    (literal,) = re.findall(r"CONTENT = 0x([0-9a-f]+)", server.changes[0])
    assert bytes.fromhex(literal) == zipped.read_bytes()
    file = tmp_path / "deploy.sql"
    done = command(*arguments, "--script", str(file))
    assert done.code == 0 and "sqlcmd" in done.out
    batches = file.read_text(encoding="utf-8").split("\nGO\n")
    assert batches[0] == server.changes[0] and batches[1:-1] == server.changes[1:]


def test_a_pool_that_is_no_sql_server_is_refused(command: Command, zipped: Path) -> None:
    done = command("extension", "deploy", "--package", str(zipped))
    assert done.code == 1 and "runs no external languages" in done.error


def test_a_package_is_checked_before_it_is_deployed(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("libonnxextension.so", io.BytesIO(b"rubbish").read())
    done = command("extension", "deploy", "--package", str(path))
    assert done.code == 1 and "neither an ELF nor a PE file" in done.error


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def pool(server: Server) -> MssqlPool:
    return MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=Waits()))


def looked_up(pool: MssqlPool, text: str) -> bytes:
    """The model that a procedure finds."""
    (select,) = re.findall(r"\((SELECT TOP \(1\) model FROM onnx_models .*)\)\n", text)
    with pool.session("looking") as session:
        return bytes(session.scalar(select))


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_procedure_finds_the_form_that_runs_by_the_sha256_of_the_original(pool: MssqlPool, zipmap: bool) -> None:
    artifact = models.classifier("tree", "text", zipmap=zipmap)
    model = OnnxModel.from_bytes(artifact)
    register(pool, model, "classes")
    # The model asset registers it as it came, and later, under the same sha256; so may other engines their forms.
    pool.register_model("scoring", model.sha256, artifact, "{}")
    pool.register_model("scoring", model.sha256, b"scalars", "{}", "scalar inputs")
    text = procedure("score", model.signature, hashlib.sha256(artifact).hexdigest(), {"id": "INT"})
    assert looked_up(pool, text) == model.normalised


def test_a_model_that_normalising_left_alone_is_registered_in_the_form_that_runs_too(
    pool: MssqlPool, server: Server
) -> None:
    artifact = models.classifier("tree", "text")
    model = OnnxModel.from_bytes(artifact)
    as_it_came = pool.register_model("classes", model.sha256, artifact, model.signature.to_json())
    assert register(pool, model, "classes") != as_it_came
    rows = server.rows("SELECT sha256, form, model FROM onnx_models ORDER BY id")
    assert rows == [(model.sha256, None, artifact), (model.sha256, "normalised", artifact)]


def test_registering_again_after_an_upgrade_adds_the_originals_row_and_old_procedures_keep_theirs(
    pool: MssqlPool, server: Server
) -> None:
    model = OnnxModel.from_bytes(models.classifier("tree", "text", zipmap=True))
    normalised_sha256 = hashlib.sha256(model.normalised).hexdigest()
    with pool.session("preparing") as session:
        session.execute(BEFORE["mssql"])
        insert = "INSERT INTO onnx_models VALUES (1, 'classes', ?, ?, '2026-01-01', '{}')"
        session.execute(insert, [normalised_sha256, model.normalised])
    assert register(pool, model, "classes") == 2
    assert server.rows("SELECT id, sha256, form FROM onnx_models ORDER BY id") == [
        (1, normalised_sha256, None),
        (2, model.sha256, "normalised"),
    ]
    text = procedure("score", model.signature, model.sha256, {"id": "INT"})
    printed_before = text.replace(model.sha256, normalised_sha256).replace(" AND form = 'normalised'", "")
    assert printed_before.count("form") == 0
    for printed in (text, printed_before):
        assert looked_up(pool, printed) == model.normalised


def test_a_model_is_registered_in_the_form_that_the_language_runs(
    extension: Extension, pool: MssqlPool, server: Server
) -> None:
    artifact = models.classifier("tree", "text", zipmap=True)
    model = OnnxModel.from_bytes(artifact)
    assert register(pool, model, "classes") == 1
    assert register(pool, model, "classes") == 1
    assert register(pool, model, "others") == 2
    ((sha256, form, data, signature),) = server.rows(
        "SELECT sha256, form, model, signature FROM onnx_models WHERE id = 1"
    )
    assert (sha256, form) == (hashlib.sha256(artifact).hexdigest(), "normalised")
    assert data != artifact
    assert result_columns(Signature.from_json(signature)) == [
        ("output_label", "NVARCHAR(4000)"), ("output_probability_hoch é", "REAL"), ("output_probability_low", "REAL"),
        ("output_probability_mittel", "REAL"),
    ]  # fmt: skip
    # What stands in the table scores in the language, and as the model without ZipMap does.
    matrix = np.random.default_rng(4).normal(size=(30, 6)).astype(np.float32)
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    with extension.session(columns, bytes(data)) as session:
        found = [column.values for column in session.execute(matrix.T.tolist())]
    assert found == models.columns_of(models.truth(models.classifier("tree", "text"), {"X": matrix}))
