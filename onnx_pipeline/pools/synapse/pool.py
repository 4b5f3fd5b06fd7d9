"""Azure Synapse dedicated SQL pool: what it does otherwise than SQL Server.

Rows come in as Parquet in Azure Blob, by COPY INTO; they leave over TDS, or as Parquet where the URL says `extract=cetas`.
There are no application locks. What takes their place: a swap first deletes the log row, and a DELETE takes the log
table's exclusive-update lock until its transaction ends, so swaps run one after the other; staging tables and folders
have names that no two runs share, and those that a killed run leaves are dropped once they are old and the run has ended.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.imports import imported
from onnx_pipeline.pools.landing import LandedSlice
from onnx_pipeline.pools.records import LogRow, Target
from onnx_pipeline.pools.synapse import statements as synapse_sql
from onnx_pipeline.pools.synapse.folder import Folder
from onnx_pipeline.pools.synapse.landing import BlobLanding
from onnx_pipeline.pools.tsql import views
from onnx_pipeline.pools.tsql.connections import Address, parse_url
from onnx_pipeline.pools.tsql.dialect import quoted
from onnx_pipeline.pools.tsql.leftovers import LEFTOVER_HOURS, drop_old
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import LANDING_PREFIX, STAGING_PREFIX, drop_table, target_table
from onnx_pipeline.pools.views import View

if TYPE_CHECKING:
    from onnx_pipeline.azure.account import BlobAccount

__all__ = ["SynapsePool"]

_FLAVOURS = {
    "synapse": "onnx_pipeline.pools.synapse.pool:SynapsePool",
    "fabric": "onnx_pipeline.pools.fabric.pool:FabricPool",
}


class SynapsePool(MssqlPool):
    """A pool named by `synapse://user:password@workspace.sql.azuresynapse.net/pool?staging=az://container/folder`.

    Beside SQL Server's options: `staging`, where Parquet lies between us and the pool; `extract=cetas` with
    `data_source`, the external data source that points at the staging container, and `file_format`.
    `flavour=fabric` in such a URL names a warehouse of Fabric, as `fabric://` does.
    """

    kind = "synapse"
    view_verb = "CREATE"
    sql_folder = "synapse"
    text_is_utf8 = False
    storage_identity: ClassVar[str | None] = "Managed Identity"
    """Who reads storage where no secret does; None: whoever runs the statement."""
    transactional_ddl: ClassVar[bool] = False
    default_slice_limit: ClassVar[float | None] = 60_000.0
    """Megabytes: one transaction writes at most about 1 GB in each of the 60 distributions at DW100c.

    https://learn.microsoft.com/azure/synapse-analytics/sql-data-warehouse/sql-data-warehouse-develop-transactions
    """
    options: ClassVar[frozenset[str]] = MssqlPool.options | {
        "staging", "extract", "data_source", "file_format",
    }  # fmt: skip

    def __init__(
        self, address: Address, *, staging: Any = None, account: "BlobAccount | None" = None, **more: Any
    ) -> None:
        super().__init__(address, **more)
        self._given_staging = staging
        self._given_account = account
        extract = address.options.get("extract", "tds")
        if extract not in ("tds", "cetas"):
            raise SpecError(f"{self.display_name}: extract={extract} in the pool's URL must be tds or cetas")
        self.extracts_to_storage = extract == "cetas"

    @classmethod
    def from_url(cls, url: str) -> "SynapsePool":
        address = parse_url(url)
        flavour = address.options.get("flavour", cls.kind)
        if flavour not in _FLAVOURS:
            raise SpecError(
                f"{address.display_name}: flavour={flavour} in the pool's URL must be {' or '.join(_FLAVOURS)}"
            )
        options = {name: value for name, value in address.options.items() if name != "flavour"}
        pool: SynapsePool = imported(_FLAVOURS[flavour])(replace(address, options=options))
        return pool

    def _place(self) -> str:
        uri = self._address.options.get("staging")
        if uri is None:
            raise SpecError(
                f"{self.display_name}: the pool loads from Azure Blob, and its URL names no place there: add "
                "?staging=az://<container>/<folder>"
            )
        return uri

    def _staging(self) -> Any:
        if self._given_staging is None:
            from onnx_pipeline.pools.synapse.blob_folder import BlobStaging

            self._given_staging = BlobStaging.at(self._place())
        return self._given_staging

    def _account(self) -> "BlobAccount":
        if self._given_account is None:
            from onnx_pipeline.azure.account import BlobAccount
            from onnx_pipeline.azure.location import BlobLocation

            self._given_account = BlobAccount.named(BlobLocation.parse(self._place()).account_url)
        return self._given_account

    def redacted(self, text: str) -> str:
        # COPY INTO carries the storage's secret.
        text = super().redacted(text)
        return self._given_account.redacted(text) if self._given_account is not None else text

    def finish(self, statement: str, purpose: str) -> str:
        return synapse_sql.labelled(statement, f"onnx_pipeline: {purpose}")

    def base_type(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return synapse_sql.base_type(column)

    # Tables

    def target_statements(self, target: Target) -> list[Any]:
        return synapse_sql.create_target(target, target_table(target))

    def column_text(self, column: sa.Column[Any]) -> str:
        return synapse_sql.target_column(column)

    def staging_statement(self, table: sa.Table) -> Any:
        return synapse_sql.create_staging(table)

    # Loading

    def guard(self, session: Session, resource: str) -> AbstractContextManager[None]:
        return nullcontext()

    def clear(self, session: Session, resource: str, table: sa.Table) -> None:
        session.execute(drop_table(str(table.schema), table.name))

    def sweep(self, session: Session) -> None:
        """Drop what is old and of no unfinished run, in the pool and in storage."""
        for prefix in (LANDING_PREFIX, STAGING_PREFIX):
            drop_old(session, prefix, self._unfinished)
        if self._unfinished is not None:
            self._staging().sweep(LEFTOVER_HOURS, self._unfinished)

    def stage(
        self, session: Session, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], log: LogRow
    ) -> None:
        attempt = int(table.name.rpartition("_")[2])
        folder: Folder = self._staging().folder(log.scoring, log.run_id, attempt, log.partition_key)
        try:
            folder.write(pa.RecordBatchReader.from_batches(schema, batches))
            self.copy_in(session, table, schema.names, folder, ["*.parquet"])
        finally:
            folder.delete()

    def copy_in(
        self, session: Session, table: sa.Table, names: Sequence[str], folder: Folder, files: Sequence[str]
    ) -> None:
        """Add the rows of some of a folder's files, in whose names `*` stands for any letters."""
        sign_in, url = self._storage_sign_in(self._account(), folder)
        session.execute(synapse_sql.copy_into(table, names, [f"{url}/{file}" for file in files], sign_in))

    def _storage_sign_in(self, account: "BlobAccount", folder: Folder) -> tuple[synapse_sql.StorageSignIn, str]:
        """Identity and URL for COPY INTO: a managed identity reads at the Data Lake endpoint, a secret at Blob's."""
        if account.sign_in == "SAS":
            return synapse_sql.StorageSignIn("Shared Access Signature", account.secret), folder.url
        if account.sign_in == "account key":
            return synapse_sql.StorageSignIn("Storage Account Key", account.secret), folder.url
        return synapse_sql.StorageSignIn(self.storage_identity), folder.dfs_url

    def define_view(self, view: View) -> str:
        # Without CREATE OR ALTER, and without extended properties: the sha256 stands in the view's text.
        return views.define(self, view, has_properties=False)

    # Extracting

    @contextmanager
    def read(self, statement: sa.Select[Any]) -> Iterator[pa.RecordBatchReader]:
        if not self.extracts_to_storage:
            with self.read_over_tds(statement) as reader:
                yield reader
            return
        folder = self.folder_of("extract", f"onnx_extract_{uuid.uuid4().hex}")
        try:
            self.extract_to(folder, statement)
            if folder.files():
                with folder.read() as reader:
                    yield reader
            else:
                with self.read_over_tds(statement) as reader:
                    yield reader
        finally:
            folder.delete()

    def extract_to(self, folder: Folder, statement: sa.Select[Any]) -> None:
        """Fill a folder with a statement's rows, which go there from the pool itself. Without rows it may stay empty."""
        source, file_format = (self._required(option) for option in ("data_source", "file_format"))
        name = f"onnx_extract_{uuid.uuid4().hex}"
        external = synapse_sql.create_external(
            name, statement, location=f"/{folder.path}/", data_source=source, file_format=file_format
        )

        def work(session: Session) -> None:
            # An attempt that broke may have got as far as the table, or as some files.
            session.execute(_drop_external(name))
            folder.delete()
            session.execute(external)
            session.execute(_drop_external(name))

        self.retried("extracting rows", work)

    def folder_of(self, scoring: str, name: str) -> Folder:
        """A folder of this run in storage, which a sweep removes once the run has ended without doing so."""
        folder: Folder = self._staging().folder(scoring, self._run_id, 0, name)
        return folder

    def landing(self, piece: LandedSlice) -> BlobLanding:
        return BlobLanding(piece, self, self._run_id)

    def _required(self, option: str) -> str:
        value = self._address.options.get(option)
        if value is None:
            raise SpecError(f"{self.display_name}: extract=cetas needs {option}=<name> in the pool's URL, too")
        return value


def _drop_external(name: str) -> str:
    return f"IF OBJECT_ID('{name}') IS NOT NULL DROP EXTERNAL TABLE {quoted(name)}"
