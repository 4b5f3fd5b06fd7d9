"""The server under test as a ground of the tests that hold for every pool."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline_tests.live.server import Server, connect
from onnx_pipeline_tests.pools.grounds import Ground

_TYPES = {
    pa.int64(): "BIGINT", pa.int32(): "INT", pa.float32(): "REAL", pa.float64(): "FLOAT", pa.string(): "NVARCHAR(100)",
    pa.timestamp("us"): "DATETIME2(6)",
}  # fmt: skip


class LiveGround(Ground):
    """A database on the server; whatever these tests make is dropped before each."""

    def __init__(self, server: Server, pool: MssqlPool, folder: Path) -> None:
        self.server, self.pool, self.folder = server, pool, folder
        for name in self.tables():
            server.execute(f"DROP TABLE {name}")

    def query(self, text: str) -> list[tuple[Any, ...]]:
        return self.server.rows(text)

    def store(self, name: str, rows: pa.Table, **types: str) -> None:
        """`types` are SQL types of columns that are to be stored otherwise than Arrow says."""
        columns = ", ".join(f"[{field.name}] {types.get(field.name, _TYPES[field.type])} NULL" for field in rows.schema)
        self.server.execute(f"IF OBJECT_ID('{name}') IS NOT NULL DROP TABLE {name}")
        self.server.execute(f"CREATE TABLE {name} ({columns})")
        if types:
            # By way of a table of texts: a driver sends a value as what it takes it for.
            self.store(f"{name}_as_text", rows)
            listed = ", ".join(
                f"CAST([{column}] AS {types[column]})" if column in types else f"[{column}]"
                for column in rows.column_names
            )
            self.server.execute(f"INSERT INTO {name} SELECT {listed} FROM {name}_as_text")
            return
        if not rows.num_rows:
            return
        connection = connect(self.server.address)
        try:
            connection.cursor().bulkcopy_arrow(f"dbo.{name}", rows, keep_nulls=True, column_mappings=rows.column_names)
        finally:
            connection.close()

    def tables(self) -> set[str]:
        return {row[0] for row in self.server.rows("SELECT name FROM sys.tables")}
