"""How much memory DuckDB gets where the pool's URL does not say: it keeps what it read until the limit, needed or not."""

import duckdb

from onnx_pipeline.base.errors import first_line

__all__ = ["LEAST", "make_room", "why"]

LEAST = "128MB"
"""Of a connection. A table larger than that is read with no more of it in memory: 10M rows of 28 columns at the same speed."""

_LACKING = "Out of Memory Error"
_BESIDE_BLOCKS = 64
_OF_A_COLUMN = 0.6
"""MB that a scan holds of each column in each thread: two blocks of 256 KiB. Columns that do not compress take all of them:
the least limit under which 100 of doubles were read was 55 MB by one thread, 111 by two and 215 by four; of 250, 518 by four."""


def make_room(connection: duckdb.DuckDBPyConnection, columns: int) -> None:
    """Raise the limit to what a scan of so many columns takes by the connection's threads; below `LEAST` it never is."""
    ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
    room = _BESIDE_BLOCKS + _OF_A_COLUMN * columns * threads
    if room > float(LEAST.removesuffix("MB")):
        connection.execute(f"SET memory_limit = '{room:.0f}MB'")


def why(error: duckdb.Error) -> str:
    """DuckDB's own message; where memory was lacking, with what a user of a pool can do about it, in place of its statements."""
    text = str(error)
    # By its text: what fails behind Arrow's interface has lost its class.
    if not text.startswith(_LACKING):
        return text
    return f"{first_line(error)}. Give DuckDB more by the pool's URL (?memory_limit=2GB), or cut the scoring into smaller partitions"
