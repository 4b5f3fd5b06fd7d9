"""An imitation of a T-SQL server in memory, under the pool's real code: DuckDB runs what sqlglot translates.

It counts statements, and at a chosen one it breaks the connection or raises an error number, as a server would.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from onnx_pipeline.pools.tsql.connections import Address
from onnx_pipeline.pools.tsql.drivers.base import WatchedBatches
from onnx_pipeline_tests.pools import external_scripts, predicting
from onnx_pipeline_tests.pools.external_scripts import Language, ScriptError

_COLUMNS = r"FROM sys\.columns WHERE object_id = OBJECT_ID\(N?'(\w+)'\)"
"""How a statement asks for a table's columns."""
_COLUMN = r"FROM sys\.columns WHERE object_id = OBJECT_ID\('(\w+)'\) AND name = '(\w+)'"
"""How a statement asks whether a table has a column."""


class ImitatedError(Exception):
    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


@dataclass
class Fault:
    """What happens at statement `at`, counted from 1 over all connections: once, or from then on."""

    at: int
    number: int | None = None
    """None breaks the connection."""
    after: bool = False
    """Whether the server had carried the statement out."""


@dataclass
class Server:
    """The databases' content, the locks held, and every statement that arrived."""

    fault: Fault | None = None
    statements: list[str] = field(default_factory=list)
    tampering: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None
    """What a faulty driver makes of the rows of a bulk copy."""

    storage: Path = Path()
    """Where the container `c` lies."""
    old_tables: set[str] = field(default_factory=set)
    """Tables that were made long ago."""
    text_is_utf8: bool = False
    """As Fabric's is: in its columns a letter takes one byte, and two elsewhere."""
    languages: dict[str, Language] = field(default_factory=dict)
    """External languages by their names in capitals: who runs the scripts."""
    answers_predict: bool = False
    """Whether PREDICT is switched on, as on a Synapse pool of those that have it."""
    offers: dict[str, int | None] = field(
        default_factory=lambda: {"major": 16, "edition": 3, "installed": 1, "enabled": 1, "may_run": 1, "may_use": 1}
    )
    """What it says of itself to whoever asks what external scripts it runs."""
    place: str = ":memory:"
    """Or a file, which outlives a process that is killed."""

    def __post_init__(self) -> None:
        self.database = duckdb.connect(self.place)
        self.database.execute("CREATE SCHEMA IF NOT EXISTS dbo")
        length = "strlen(x)" if self.text_is_utf8 else "2 * length(x)"
        self.database.execute(f"CREATE OR REPLACE MACRO dbo.datalength(x) AS {length}")
        self.database.execute(
            "CREATE OR REPLACE MACRO dbo.like_in_t_sql(x, pattern) AS CASE WHEN contains(pattern, '[') "
            "THEN regexp_matches(x, '^' || replace(pattern, '%', '(.|\\n)*') || '$') ELSE x LIKE pattern END"
        )
        self.locks: dict[str, Connection] = {}
        self.sessions = 0

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows as DuckDB's SQL selects them: what a test looks at."""
        cursor = self.database.cursor()
        cursor.execute("SET schema = 'dbo'")
        return cursor.execute(statement).fetchall()

    def staging_tables(self) -> list[str]:
        return [
            row[0] for row in self.rows("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'onnx_staging%'")
        ]

    def arrive(self, connection: "Connection", statement: str, carry_out: Callable[[], Any]) -> Any:
        self.statements.append(statement)
        fault = self.fault
        hit = fault is not None and len(self.statements) == fault.at
        if connection.broken:
            raise ImitatedError("08S01: Communication link failure")
        if hit and fault is not None and not fault.after:
            connection.fail(fault.number)
        result = carry_out()
        if hit and fault is not None and fault.after:
            connection.fail(fault.number)
        return result


class Connection:
    def __init__(self, server: Server) -> None:
        self.server = server
        server.sessions += 1
        self.duckdb = server.database.cursor()
        self.duckdb.execute("SET schema = 'dbo'")
        self.in_transaction = False
        self.broken = False

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def rollback(self) -> None:
        if self.in_transaction:
            self.duckdb.rollback()
            self.in_transaction = False

    def fail(self, number: int | None) -> None:
        self.rollback()
        if number is None:
            self.close()
            self.broken = True
            raise ImitatedError("08S01: Communication link failure")
        raise ImitatedError(f"error {number}", number)

    def close(self) -> None:
        self.rollback()
        for name in [name for name, holder in self.server.locks.items() if holder is self]:
            del self.server.locks[name]


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table: pa.Table | None = None
        self.rowcount = -1

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._connection.server.arrive(self._connection, statement, lambda: self._carry_out(statement, list(values)))

    def _answer(self, **columns: Any) -> None:
        self._table = pa.table({name: [value] for name, value in columns.items()})

    def _carry_out(self, statement: str, values: list[Any]) -> None:
        connection, server = self._connection, self._connection.server
        statement = re.sub(r"\s*OPTION \(LABEL = .*\)$", "", statement, flags=re.DOTALL)
        if statement == "BEGIN TRANSACTION":
            connection.duckdb.begin()
            connection.in_transaction = True
        elif statement == "COMMIT TRANSACTION":
            connection.duckdb.commit()
            connection.in_transaction = False
        elif "ROLLBACK" in statement:
            connection.rollback()
        elif "sp_getapplock" in statement:
            holder = server.locks.setdefault(values[0], connection)
            self._answer(granted=0 if holder is connection else -1)
        elif "sp_releaseapplock" in statement:
            del server.locks[values[0]]
        elif statement.startswith("SELECT OBJECT_ID"):
            self._answer(found=1 if self._exists(values[0]) else None)
        elif "SERVERPROPERTY" in statement:
            self._answer(**{name: server.offers[name] for name in ("major", "edition", "installed")})
        elif "sys.configurations" in statement:
            self._answer(enabled=server.offers["enabled"], may_run=server.offers["may_run"])
        elif "sys.external_languages" in statement and not values:
            may_use = server.offers["may_use"]
            names = pa.array(sorted(server.languages), pa.string())
            listed = pa.table({"language": names, "has": pa.array([may_use] * len(names), pa.int32())})
            self._table = listed if "HAS_PERMS_BY_NAME" in statement else listed.select(["language"])
        elif "sys.external_languages" in statement:
            registered = int(values[0].upper() in server.languages)
            self._answer(registered=registered, may_use=server.offers["may_use"] if registered else None)
        elif "HASHBYTES" in statement:
            found = connection.duckdb.execute("SELECT unhex(sha256(model)) FROM onnx_models WHERE id = $1", values)
            self._answer(kept=(found.fetchone() or (None,))[0])
        elif "AS base_type" in statement:
            self._answer(base_type="datetime2")
        elif statement.startswith("SELECT SCHEMA_NAME"):
            self._answer(name="dbo")
        elif asked := re.fullmatch(f"SELECT name {_COLUMNS}", statement):
            listed = "SELECT column_name FROM duckdb_columns() WHERE table_name = $1"
            names = [row[0] for row in connection.duckdb.execute(listed, [asked[1]]).fetchall()]
            self._table = pa.table({"name": pa.array(names, pa.string())})
        elif "is_nullable = 0" in statement:
            self._table = pa.table({"name": pa.array([], pa.string())})  # nothing here is declared
        elif "sys.objects" in statement:
            bare = values[0].rpartition(".")[2].strip("[]")
            found = "SELECT table_name FROM duckdb_tables() WHERE table_name = $1"
            names = [row[0] for row in connection.duckdb.execute(found, [bare]).fetchall()]
            self._table = pa.table({"schema_name": ["dbo"] * len(names), "object_name": pa.array(names, pa.string())})
        elif statement.startswith(("EXEC sp_describe_first_result_set", "SELECT name, collation_name")):
            # Nothing here has a collation.
            self._table = pa.table({str(index): pa.array([], pa.string()) for index in range(10)})
        elif "sys.tables" in statement:
            found = "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, $1) ORDER BY table_name"
            names = [row[0] for row in connection.duckdb.execute(found, [values[1]]).fetchall()]
            if "create_date" in statement:
                names = [name for name in names if name in server.old_tables]
            self._table = pa.table({"schema_name": ["dbo"] * len(names), "table_name": pa.array(names, pa.string())})
        elif statement.startswith(("CREATE CLUSTERED INDEX", "ALTER TABLE")):
            pass
        elif external_scripts.is_insert_exec(statement):
            self._insert_exec(statement)
        elif "PREDICT(" in statement:
            self._predict(statement)
        elif statement.startswith("COPY INTO"):
            self._copy_into(statement)
        elif "EXTERNAL TABLE" in statement:
            self._external(statement)
        else:
            self._translate(statement, values)

    def _insert_exec(self, statement: str) -> None:
        """The rows that a batch answers with; none of them where any of it fails."""
        insert = external_scripts.insert_exec(statement)
        try:
            rows = external_scripts.answer(
                insert.batch, insert.values, self._selected, self._connection.server.languages
            )
        except ScriptError as error:
            raise ImitatedError(str(error), error.number) from error
        duckdb_ = self._connection.duckdb
        columns = ", ".join(f'"{name}"' for name in insert.columns)
        duckdb_.register("answered", rows)
        duckdb_.execute(f'INSERT INTO "{insert.table}" ({columns}) SELECT * FROM answered')
        duckdb_.unregister("answered")

    def _predict(self, statement: str) -> None:
        """The statement over tables of what PREDICT gives; an error of the server's where it gives none."""
        try:
            asked = predicting.asked(statement, switched_on=self._connection.server.answers_predict)
            # Numbers that a driver would round on their way stay what the table holds.
            made = predicting.answer(asked, self._selected(asked.model), self._selected(asked.data))
        except predicting.PredictError as error:
            raise ImitatedError(str(error), error.number) from error
        for name, rows in zip(("predict_d", "predict_p"), made, strict=True):
            self._connection.duckdb.register(name, rows)
        self._translate(asked.rest, [])
        for name in ("predict_d", "predict_p"):
            self._connection.duckdb.unregister(name)

    def _selected(self, query: str) -> pa.Table:
        _, translated = _in_duckdb(query)
        return self._connection.duckdb.sql(translated).to_arrow_table()

    def _copy_into(self, statement: str) -> None:
        """Rows of the Parquet files in a folder: `storage` is where its URL leads to."""
        table, columns, urls = re.findall(r"COPY INTO (\S+) \((.*)\)\nFROM (.*)\nWITH", statement, re.DOTALL)[0]
        table, columns = (re.sub(r"\[(.*?)\]", r'"\1"', text) for text in (table, columns))
        storage = self._connection.server.storage
        files = [str(storage / url.partition("/c/")[2]) for url in re.findall(r"'(.*?)'", urls)]
        self._connection.duckdb.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM read_parquet($1)", [files]
        )

    def _external(self, statement: str) -> None:
        """CREATE EXTERNAL TABLE AS writes its rows, DROP EXTERNAL TABLE leaves them."""
        if statement.startswith("CREATE"):
            location = re.findall(r"LOCATION = '/(.*)/'", statement)[0]
            folder = self._connection.server.storage / location
            folder.mkdir(parents=True)
            rows = self._connection.duckdb.sql(_in_duckdb(statement.partition(")\nAS ")[2])[1]).to_arrow_table()
            pq.write_table(rows, folder / "rows.parquet")

    def _exists(self, name: str) -> bool:
        bare = name.rpartition(".")[2].strip("[]")
        counted = "SELECT count(*) FROM duckdb_tables() WHERE table_name = $1"
        return bool(self._connection.duckdb.execute(counted, [bare]).fetchall()[0][0])

    def _has_column(self, table: str, column: str) -> bool:
        counted = "SELECT count(*) FROM duckdb_columns() WHERE table_name = $1 AND column_name = $2"
        return bool(self._connection.duckdb.execute(counted, [table, column]).fetchall()[0][0])

    def _translate(self, statement: str, values: list[Any]) -> None:
        statement = re.sub(r"^--.*\n", "", statement, flags=re.MULTILINE).strip()
        guard = re.match(r"IF OBJECT_ID\(N?'(.+?)'\) IS (NOT )?NULL\s+", statement)
        if guard is not None:
            if self._exists(guard[1]) != bool(guard[2]):
                return
            statement = statement[guard.end() :]
        lacking = re.match(rf"IF NOT EXISTS \(SELECT 1 {_COLUMN}\)\s+", statement)
        if lacking is not None:
            if self._has_column(*lacking.groups()):
                return
            statement = statement[lacking.end() :]
        kind, translated = _in_duckdb(statement)
        if kind is exp.Select:
            self._table = self._connection.duckdb.sql(translated, params=values).to_arrow_table()
            return
        result = self._connection.duckdb.execute(translated, values)
        if kind in (exp.Insert, exp.Update, exp.Delete):
            self.rowcount = int(result.fetchall()[0][0])

    def fetchall(self) -> list[tuple[Any, ...]]:
        assert self._table is not None
        return [tuple(row.values()) for row in self._table.to_pylist()]

    def reader(self) -> pa.RecordBatchReader:
        assert self._table is not None
        return self._table.to_reader(max_chunksize=7)

    @property
    def description(self) -> list[str] | None:
        return None if self._table is None else self._table.column_names

    def nextset(self) -> bool:
        return False

    def close(self) -> None:
        if self._connection.broken:
            raise ImitatedError("08003: Connection not open")


@lru_cache(maxsize=1000)
def _in_duckdb(statement: str) -> tuple[type, str]:
    statement = re.sub(r" COLLATE \w+|\(max\)", "", statement, flags=re.IGNORECASE)
    statement = statement.replace("FLOAT(53)", "DOUBLE PRECISION")
    # What it reads as a number's format is a moment's, in ISO 8601.
    statement = re.sub(r"\bconvert\(NVARCHAR\(4000\), (.+?), (?:126|3)\)", r"CAST(\1 AS NVARCHAR(4000))", statement)
    statement = re.sub(r",\s+PRIMARY KEY NONCLUSTERED .* NOT ENFORCED|\nWITH \(DISTRIBUTION = .*\)", "", statement)
    if statement.startswith("UPDATE"):
        # T-SQL names the target among the tables that it reads from, DuckDB does not.
        statement = re.sub(r"FROM (\S+), (\S+)", r"FROM \2", statement)
    (tree,) = sqlglot.parse(statement, read="tsql")
    return type(tree), tree.transform(_as_in_t_sql).sql(dialect="duckdb")


def _as_in_t_sql(node: exp.Expression) -> exp.Expression:
    """LIKE knows ranges of letters, and a BIT is 0 or 1."""
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.BIT:
        return exp.DataType.build("BOOLEAN")
    if isinstance(node, exp.Like) and isinstance(node.expression, exp.Placeholder):
        return exp.Anonymous(this="like_in_t_sql", expressions=[node.this, node.expression])
    return node


@dataclass
class ImitatedDriver:
    """A driver whose server is an imitation."""

    server: Server
    name: str = "imitated"
    errors: tuple[type[BaseException], ...] = (ImitatedError, duckdb.Error, sqlglot.errors.SqlglotError)

    def connect(self, address: Address, login_seconds: int = 0) -> Connection:
        return self.server.arrive(Connection(self.server), "connect", lambda: Connection(self.server))

    def reader(self, cursor: Cursor, batch_rows: int, statement: str) -> pa.RecordBatchReader:
        return cursor.reader()

    def copy(self, connection: Connection, table: str, names: Sequence[str], batches: WatchedBatches) -> None:
        """In batches that are committed one by one, so that a break leaves some of them."""
        for batch in batches:
            rows = self.server.tampering(batch) if self.server.tampering else batch
            self.server.arrive(
                connection, f"INSERT BULK {table}", lambda rows=rows: self._insert(connection, table, rows)
            )

    @staticmethod
    def _insert(connection: Connection, table: str, rows: pa.RecordBatch) -> None:
        connection.duckdb.register("sent", pa.Table.from_batches([rows]))
        quoted = re.sub(r"\[(.*?)\]", r'"\1"', table)
        connection.duckdb.execute(f"INSERT INTO {quoted} SELECT * FROM sent")
        connection.duckdb.unregister("sent")


@dataclass
class Folder:
    """A folder of Azure Blob on this disk."""

    storage: Path
    path: str

    @property
    def url(self) -> str:
        return f"https://account.blob.core.windows.net/c/{self.path}"

    @property
    def dfs_url(self) -> str:
        return f"https://account.dfs.core.windows.net/c/{self.path}"

    @property
    def uri(self) -> str:
        return str(self._here)

    @property
    def _here(self) -> Path:
        return self.storage / self.path

    def within(self, name: str) -> "Folder":
        return Folder(self.storage, f"{self.path}/{name}")

    def write(self, batches: pa.RecordBatchReader) -> None:
        self.delete()
        self._here.mkdir(parents=True)
        pq.write_table(batches.read_all(), self._here / "part-00000.parquet")

    def files(self) -> list[str]:
        return sorted(str(file.relative_to(self.storage)) for file in self._here.glob("*.parquet"))

    @contextmanager
    def read(self) -> Iterator[pa.RecordBatchReader]:
        yield pq.read_table(self._here).to_reader()

    def delete(self) -> int:
        files = self.files()
        shutil.rmtree(self._here, ignore_errors=True)
        return len(files)


@dataclass
class Storage:
    """The staging area `az://c/staging` on this disk."""

    storage: Path

    def folder(self, scoring: str, run: str, attempt: int, partition: str) -> Folder:
        return Folder(self.storage, f"staging/{scoring}/{run}-{attempt}/{quote(partition, safe=' ').replace('%', '~')}")

    def sweep(self, hours: float, unfinished: Callable[[], Any]) -> int:
        return 0

    def files(self) -> list[Path]:
        return [path for path in self.storage.rglob("*") if path.is_file()]
