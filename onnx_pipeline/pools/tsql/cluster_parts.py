"""Parts of a slice in tables of a T-SQL server: what a cluster's task reads there, and the table that it leaves.

A task signs in by its own environment, as the run does by its own; what tells it its work holds no secret.
"""

import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError, SpecError
from onnx_pipeline.cluster.parts import Part, Parts, Written
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.tsql.checksums import Checksum, checked_columns
from onnx_pipeline.pools.tsql.dialect import as_stored, sent_schema, sql_type
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.tables import stored_schema

__all__ = ["POOL", "ServerParts"]

POOL = "ONNX_PIPELINE_POOL"

_NAME = 11
"""Digits that tell a landing's attempts apart: with them a name has 63 letters, and a server that takes no more keeps it
as it is, by which it is found and dropped."""


class ServerParts(Parts):
    """A part is a range of row numbers of the table `features`. What becomes of it is a table of the attempt's own.

    So no attempt waits for another one's locks, and to compare what arrived with what was sent reads its own rows alone.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._pool = _pool(str(options["pool"]))
        self._schema, self._features = str(options["schema"]), str(options["features"])
        self._row, self._prefix = str(options["row"]), str(options["prefix"])

    def read(self, part: Part, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        features = sa.table(self._features, *(sa.column(name) for name in columns), schema=self._schema)
        number: sa.ColumnElement[int] = sa.column(self._row, sa.BigInteger)
        statement = sa.select(*features.c).where(number >= int(part["first"]), number <= int(part["last"]))
        with self._pool.read(statement) as reader:
            for batch in reader:
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)

    def write(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Written:
        columns = [
            sa.Column(field.name, sql_type(field.type, column=field.name), nullable=True, autoincrement=False)
            for field in schema
        ]
        table = sa.Table(f"{self._prefix}{uuid.uuid4().hex[:_NAME]}", sa.MetaData(), *columns, schema=self._schema)
        purpose = f"writing {name}"
        arrived = Checksum(
            stored_schema(schema), checked_columns([self._row], schema.names), utf8=self._pool.text_is_utf8
        )
        size = checksum = 0

        def sent() -> Iterator[pa.RecordBatch]:
            nonlocal size, checksum
            for batch in batches:
                made = as_stored(batch)
                arrived.add(made)
                data = made.serialize()
                size, checksum = size + data.size, zlib.crc32(data, checksum)
                yield made

        with self._pool.session(purpose, rows=True) as session:
            session.execute(self._pool.staging_statement(table))
            session.copy(table, sent_schema(schema), sent())
            (found,) = session.rows(arrived.statement(table.alias("written")))
        # What an attempt leaves that fails here, the landing drops with all the others.
        problems = arrived.differences(found)
        if problems:
            raise PoolError(
                f"{self._pool.display_name}: a task's table does not hold what was sent: {'; '.join(problems)}. "
                "Nothing was kept. Another driver may do better: ?rows=pyodbc in the pool's URL"
            )
        return Written(table.name, arrived.rows, size, checksum)


def _pool(named: str) -> MssqlPool:
    """The pool of the task's environment. Raises SpecError where that is not the one of the run."""
    url = os.environ.get(POOL)
    if not url:
        raise SpecError(
            f"a task of the cluster has no {POOL} in its environment, so it cannot read its part of {named}: set it for "
            f"the executors, from a secret of the cluster (spark.executorEnv.{POOL} would be shown in Spark's UI)"
        )
    pool: Pool = open_pool(url)
    if not isinstance(pool, MssqlPool) or pool.display_name != named:
        raise SpecError(
            f"{POOL} of the cluster's tasks names {pool.display_name}, and the run works on {named}: set both to the "
            "same URL"
        )
    return pool
