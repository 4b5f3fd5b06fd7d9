"""A pool of each kind for tests that hold for all of them, and plain queries of what stands in it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onnx_pipeline.pools import Pool
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.records import Loaded, SliceLoad, Target, Verify
from onnx_pipeline.pools.rows import StoredFiles
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits, slice_of, synapse_on, target_of
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server

IMITATED = ("mssql", "synapse", "fabric")
KINDS = ("duckdb", *IMITATED)
ROWS = ("staged", "stored table", "stored files")


class Ground(ABC):
    """One pool, and what tests do to it behind its back."""

    pool: Pool
    folder: Path

    @abstractmethod
    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Rows as the database itself says, by SQL that every one of them reads."""

    @abstractmethod
    def store(self, name: str, rows: pa.Table) -> None:
        """A table of these rows, in place of one of that name."""

    @abstractmethod
    def tables(self) -> set[str]:
        """The names of all tables, without schemas."""

    def piece(self, kind: str, rows: pa.Table, partition: str = "p1", run_id: str = "run-1") -> SliceLoad:
        """A slice whose rows are staged, or stored in a table or a folder."""
        piece = slice_of(rows, partition, run_id)
        if kind == "stored table":
            self.store("landed", rows)
            stored = self.pool.stored_table(target_of(), "landed")
            assert stored.rows == rows.num_rows
            return SliceLoad(piece.log, stored)
        if kind == "stored files":
            folder = self.folder / f"{partition}-{run_id}"
            folder.mkdir(parents=True, exist_ok=True)
            half = rows.num_rows // 2
            # More columns than the target has, in another order.
            wider = rows.select(rows.column_names[::-1]).append_column("more", pa.nulls(rows.num_rows, pa.int32()))
            pq.write_table(wider.slice(0, half), folder / "part-0.parquet")
            pq.write_table(wider.slice(half), folder / "part-1.parquet")
            return SliceLoad(piece.log, StoredFiles.within(folder, rows.num_rows))
        return piece

    def load(
        self, *pieces: SliceLoad, mode: str = "replace", verify: Verify = lambda _: None, target: Target | None = None
    ) -> list[Loaded]:
        target = target or target_of()
        self.pool.ensure_target(target)
        return list(self.pool.load(target, iter(pieces), mode, verify))

    def standing(self) -> list[tuple[Any, ...]]:
        """`(partition, run, score, count)` of the target."""
        return self.query(
            "SELECT partition_key, run_id, score, COUNT(*) FROM predictions "
            "GROUP BY partition_key, run_id, score ORDER BY partition_key, run_id, score"
        )

    def logged(self) -> list[tuple[Any, ...]]:
        """`(partition, run, rows)` of the log."""
        return self.query('SELECT partition_key, run_id, "rows" FROM onnx_scoring_log ORDER BY partition_key')


class DuckDBGround(Ground):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool: DuckDBPool = DuckDBPool(folder / "pool.duckdb")
        with self.pool.connect("making an empty pool", create=True):
            pass

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with self.pool.connect("asking") as connection:
            return connection.execute(text).fetchall()

    def store(self, name: str, rows: pa.Table) -> None:
        with self.pool.connect("storing") as connection:
            connection.register("to_store", rows)
            connection.execute(f"CREATE OR REPLACE TABLE {name} AS FROM to_store").fetchall()

    def tables(self) -> set[str]:
        return {row[0] for row in self.query("SELECT table_name FROM duckdb_tables()")}


class ImitatedGround(Ground):
    """The real pool of a T-SQL server, on an imitation that runs its statements in memory."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder, self.server = folder, Server(storage=folder / "storage", text_is_utf8=kind == "fabric")
        if kind == "mssql":
            self.pool: MssqlPool = MssqlPool(
                ADDRESS, driver=ImitatedDriver(self.server), retries=Retries(sleep=Waits())
            )
        else:
            self.pool = synapse_on(self.server, made={"synapse": SynapsePool, "fabric": FabricPool}[kind])

    def query(self, text: str) -> list[tuple[Any, ...]]:
        return self.server.rows(text)

    def store(self, name: str, rows: pa.Table) -> None:
        cursor = self.server.database.cursor()
        cursor.execute("SET schema = 'dbo'")
        cursor.register("to_store", rows)
        cursor.execute(f"CREATE OR REPLACE TABLE {name} AS FROM to_store")

    def tables(self) -> set[str]:
        return {row[0] for row in self.query("SELECT table_name FROM duckdb_tables()")}


def ground_of(kind: str, folder: Path) -> Ground:
    return DuckDBGround(folder) if kind == "duckdb" else ImitatedGround(kind, folder)
