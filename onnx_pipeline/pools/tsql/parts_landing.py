"""A slice in parts within a SQL Server: features that tasks read by row numbers, and predictions that go back to them.

One statement copies the features, numbered, into a table beside the target. So all parts are of one moment, however long
the tasks take; they are even, whatever the key and however it is skewed; and the source is read once, whether or not an
index leads to the slice. A task answers with row numbers and predictions alone: keys and marks never leave the server.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.cluster.parts import PartPlan, Written, part_rows
from onnx_pipeline.pools.tsql.dialect import quoted
from onnx_pipeline.pools.tsql.landing import TableLanding
from onnx_pipeline.pools.tsql.select_into import SelectInto
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import drop_table, staging_tables

__all__ = ["PartsLanding"]

_WAY = "onnx_pipeline.pools.tsql.cluster_parts:ServerParts"
_ROW = "__row"


class PartsLanding(TableLanding):
    """A table, which a cluster's tasks fill by way of tables of their own."""

    @contextmanager
    def hand_out(self, *, most: int, wanted: int) -> Iterator[PartPlan]:
        row = self._row()
        # Where a job that is submitted finds its order.
        folder = self._piece.folder / f"{self.table.name}.written"
        options = {
            "pool": self._server.display_name, "schema": str(self.table.schema), "features": self._features,
            "prefix": self._prefix, "row": row, "predictions": str(folder),
        }  # fmt: skip
        try:
            total = int(self._server.retried(f"handing out {self._piece.target.table}", self._numbered))
            size = part_rows(total, most=most, wanted=wanted)
            parts = [{"first": first, "last": min(first + size - 1, total)} for first in range(1, total + 1, size)]
            yield PartPlan(_WAY, options, parts, total, marks=(row,))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._server.retried("dropping the tables of a cluster's tasks", self._drop_parts)

    @property
    def _features(self) -> str:
        return f"{self.table.name}f"

    @property
    def _prefix(self) -> str:
        """Begins the names of the tables that tasks leave. Like ours, they tell the run, by which a sweep knows them."""
        return f"{self.table.name}p"

    def _row(self) -> str:
        """The column of row numbers, which is none of the slice's own."""
        taken = {str(column.key).casefold() for column in self.features.selected_columns}
        taken.update(name.casefold() for name in self.outputs)
        row = _ROW
        while row in taken:
            row += "_"
        return row

    def _numbered(self, session: Session) -> int:
        """Copy the features; their number."""
        schema, row = str(self.table.schema), self._row()
        source = self.features.subquery("source")
        # A ROWVERSION would be counted anew.
        binary = {field.name for field in self.marks_schema if pa.types.is_binary(field.type)}
        columns = [
            sa.cast(column, sa.VARBINARY(8000)).label(column.key) if column.key in binary else column
            for column in source.c
        ]
        number = sa.func.row_number().over(order_by=sa.literal_column("(SELECT NULL)"))
        session.execute(drop_table(schema, self._features))
        session.execute(SelectInto(sa.select(number.label(row), *columns), sa.table(self._features, schema=schema)))
        # Each part is read by a range of it.
        session.execute(
            f"CREATE CLUSTERED INDEX {quoted('onnx_parts')} ON {quoted(schema, self._features)} ({quoted(row)})"
        )
        features = sa.table(self._features, schema=schema)
        return int(session.scalar(sa.select(sa.func.count_big(sa.text("*")).label("rows")).select_from(features)))

    def _drop_parts(self, session: Session) -> None:
        """Features, and what tasks left: also those that died, and those whose answer was not taken."""
        session.execute(drop_table(str(self.table.schema), self._features))
        for schema, name in session.rows(*staging_tables(self._prefix)):
            session.execute(drop_table(schema, name))

    def _adopt(self, plan: PartPlan, written: Sequence[Written]) -> None:
        schema, row = str(self.table.schema), str(plan.options["row"])
        features = sa.table(self._features, *map(sa.column, (row, *self.marks)), schema=schema).alias("features")
        marks = [features.c[name] for name in self.marks]

        def work(session: Session) -> int:
            session.execute(drop_table(schema, self.table.name))
            session.execute(self._server.staging_statement(self.table))
            for one in written:
                made = sa.table(one.name, *map(sa.column, (row, *self.outputs)), schema=schema).alias("made")
                joined = features.join(made, features.c[row] == made.c[row])
                selected = sa.select(*marks, *(made.c[name] for name in self.outputs)).select_from(joined)
                session.execute(sa.insert(self.table).from_select([*self.marks, *self.outputs], selected))
            counted = sa.select(sa.func.count_big(sa.text("*")).label("rows")).select_from(self.table)
            return int(session.scalar(counted))

        found = self._server.retried(f"landing predictions of {self._piece.target.table}", work)
        told = sum(one.rows for one in written)
        if not found == told == plan.rows:
            raise StagingError(
                f"{self._server.display_name}: partition {self._piece.partition_key!r} went to the cluster with "
                f"{plan.rows:,} rows, its tasks told of {told:,} predictions, and their tables hold {found:,} of its "
                "rows. Nothing was kept, run the partition again"
            )
