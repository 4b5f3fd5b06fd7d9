"""`onnx-pipeline sample`."""

import datetime

import duckdb
import pyarrow as pa
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.pools import open_pool
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.sample.encounters import generate, schema

__all__ = ["create_sample"]

TABLE = "encounters"


def create_sample(*, days: int, rows_per_day: int, start: str | None, keep: bool) -> None:
    """Write the sample's source table into the embedded pool: `days` from `start` on, by default up to today."""
    console = terminal()
    pool = open_pool(pool_url())
    if not isinstance(pool, DuckDBPool):
        raise SpecError("`sample` fills an embedded pool only: unset ONNX_PIPELINE_POOL, or name a duckdb:/// file")
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    try:
        first = today - datetime.timedelta(days=days - 1) if start is None else datetime.date.fromisoformat(start)
    except ValueError as error:
        raise SpecError(f"--start {start!r} is no date; write it as 2026-01-01") from error
    last = first + datetime.timedelta(days=days - 1)
    pool.path.parent.mkdir(parents=True, exist_ok=True)
    with pool.connect("writing sample data", create=True) as connection:
        connection.register("empty_sample", schema.empty_table())
        found = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = $1", [TABLE]
        ).fetchall()
        if keep and found[0][0]:
            console.print(f"Table {TABLE} is there already and stays as it is.")
            newest = _newest(connection)
            if newest is not None and newest < last:
                console.print(f"Its newest day is {newest}; `onnx-pipeline sample` adds the days up to {last}.")
            return
        connection.begin()
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} AS FROM empty_sample").fetchall()
        connection.execute(f"DELETE FROM {TABLE} WHERE admitted_on BETWEEN $1 AND $2", [first, last]).fetchall()  # noqa: S608
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("encounters", total=days * rows_per_day)
            for batch in generate(days, rows_per_day, start=first):
                connection.register("sample_batch", pa.Table.from_batches([batch]))
                connection.execute(f"INSERT INTO {TABLE} FROM sample_batch").fetchall()
                progress.advance(task, batch.num_rows)
        connection.commit()
    console.print(f"{days * rows_per_day:,} encounters from {first} to {last} in {pool.path}")


def _newest(connection: duckdb.DuckDBPyConnection) -> datetime.date | None:
    """The latest day of the table; None where it has none, or is one of somebody's own."""
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = $1 AND column_name = 'admitted_on'"
    if connection.execute(f"{columns} AND data_type = 'DATE'", [TABLE]).fetchall() != [(1,)]:
        return None
    ((newest,),) = connection.execute(f"SELECT max(admitted_on) FROM {TABLE}").fetchall()  # noqa: S608
    return newest if isinstance(newest, datetime.date) else None
