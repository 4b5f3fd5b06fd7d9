"""Predictions that a cluster's tasks made, from Parquet in the pool's storage into a table beside the target.

CETAS puts the features there where the pool's URL says so, and no row passes through this process; over TDS they are
streamed by it. Either way they are of one statement, and what tasks write comes in by COPY INTO, file by file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.cluster.parquet_parts import check_written, plan_parts
from onnx_pipeline.cluster.parts import PartPlan, Written
from onnx_pipeline.pools.landing import LandedSlice
from onnx_pipeline.pools.synapse.folder import Folder
from onnx_pipeline.pools.tsql.landing import TableLanding
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import drop_table

__all__ = ["BlobLanding"]


class Storing(Server, Protocol):
    """A pool that reads from a storage, and may write there."""

    extracts_to_storage: bool

    def folder_of(self, scoring: str, name: str) -> Folder:
        """A folder of this run in storage."""

    def extract_to(self, folder: Folder, statement: sa.Select[Any]) -> None:
        """Fill a folder with a statement's rows."""

    def copy_in(
        self, session: Session, table: sa.Table, names: Sequence[str], folder: Folder, files: Sequence[str]
    ) -> None:
        """Add the rows of some of a folder's files."""

    def read_over_tds(self, statement: sa.Select[Any]) -> Any:
        """The statement's rows."""


class BlobLanding(TableLanding):
    """A table, which a cluster's tasks fill by way of storage."""

    def __init__(self, piece: LandedSlice, server: Storing, run_id: str) -> None:
        super().__init__(piece, server, run_id)
        self._storing = server

    @contextmanager
    def hand_out(self, *, most: int, wanted: int) -> Iterator[PartPlan]:
        # Named as the table is: no other landing of this run has it.
        folder = self._storing.folder_of(self._piece.scoring, self.table.name)
        features, predictions = folder.within("features"), folder.within("predictions")
        try:
            if self._storing.extracts_to_storage:
                self._storing.extract_to(features, self._plain())
            else:
                with self._storing.read_over_tds(self._plain()) as reader:
                    features.write(reader)
            names = [path.removeprefix(f"{features.path}/") for path in features.files()]
            yield plan_parts(features.uri, predictions.uri, names, most=most, wanted=wanted, signed=True)
        finally:
            folder.delete()

    def _plain(self) -> sa.Select[Any]:
        """The features, with each UUID as the text that COPY INTO reads it from: Parquet has it as bytes."""
        source = self.features.subquery("source")
        uuids = {field.name for field in self.marks_schema if field.type == pa.uuid()}
        columns = [
            sa.cast(column, sa.VARCHAR(36)).label(column.key) if column.key in uuids else column for column in source.c
        ]
        return sa.select(*columns) if uuids else self.features

    def _adopt(self, plan: PartPlan, written: Sequence[Written]) -> None:
        check_written(str(plan.options["predictions"]), written)
        schema, wanted = str(self.table.schema), sum(one.rows for one in written)
        names = (*self.marks, *self.outputs)
        predictions = self._storing.folder_of(self._piece.scoring, self.table.name).within("predictions")
        counted = sa.select(sa.func.count_big(sa.text("*")).label("rows")).select_from(self.table)

        def work(session: Session) -> int:
            session.execute(drop_table(schema, self.table.name))
            session.execute(self._server.staging_statement(self.table))
            if written:
                self._storing.copy_in(session, self.table, names, predictions, [one.name for one in written])
            return int(session.scalar(counted))

        found = self._server.retried(f"landing predictions of {self._piece.target.table}", work)
        if found != wanted:
            raise StagingError(
                f"{self._server.display_name}: the cluster's tasks wrote {wanted:,} predictions of partition "
                f"{self._piece.partition_key!r}, and COPY INTO read {found:,} of their files. Nothing was kept, run the "
                "partition again"
            )
