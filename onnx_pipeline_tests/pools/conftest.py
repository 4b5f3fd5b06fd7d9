import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.pools.records import Fingerprint, Loaded, LogRow, SliceLoad, Target
from onnx_pipeline.pools.rows import StagedRows
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.connections import Address
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server, Storage

PROVENANCE = [
    pa.field("partition_key", pa.string(), nullable=False),
    pa.field("model_sha256", pa.string(), nullable=False),
    pa.field("scored_at", pa.timestamp("us"), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
]
STAGED = pa.schema([("id", pa.int64()), ("score", pa.float32()), ("label", pa.string())])
ADDRESS = Address("mssql", "imitation", "warehouse", user="scorer", password="Secret_1", authentication="SqlPassword")


def target_of(
    staged: pa.Schema = STAGED, table: str = "predictions", key: Sequence[str] = ("id",), **more: Any
) -> Target:
    return Target(table, pa.schema([*staged, *PROVENANCE]), tuple(key), **more)


def rows_of(start: int, count: int, score: float) -> pa.Table:
    ids = list(range(start, start + count))
    return pa.table({"id": ids, "score": [score] * count, "label": ["é" * (i % 3) for i in ids]}, schema=STAGED)


def slice_of(
    rows: pa.Table, partition_key: str = "2026-01-01", run_id: str = "run-1", *, ascend: bool = False, size: int = 0
) -> SliceLoad:
    """A slice whose rows can be read again and again, in batches of 40."""
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    log = LogRow("scoring", partition_key, "ab" * 32, len(rows), Fingerprint(len(rows)), 1.0, run_id, now, "{}")
    return SliceLoad(log, StagedRows(lambda: rows.to_reader(max_chunksize=40), ascend, size))


@dataclass
class Waits:
    """Waits that are not waited."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def imitated(server: Server, waits: Waits) -> MssqlPool:
    """The real pool on an imitated server."""
    return MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=waits))


def load(pool: MssqlPool, *pieces: SliceLoad, target: Target | None = None, mode: str = "replace") -> list[Loaded]:
    target = target or target_of()
    pool.ensure_target(target)
    return list(pool.load(target, iter(pieces), mode, lambda loaded: None))


SYNAPSE = {"staging": "az://c/staging", "data_source": "onnx_staging", "file_format": "onnx_parquet"}


def synapse_on(
    server: Server, account: BlobAccount | None = None, *, made: type[SynapsePool] = SynapsePool, **options: str
) -> SynapsePool:
    """The real Synapse pool, or Fabric's, in a run, on an imitated server, with storage on this disk."""
    address = replace(ADDRESS, scheme=made.kind, options=SYNAPSE | options)
    account = account or BlobAccount("https://account.blob.core.windows.net")
    pool = made(
        address,
        driver=ImitatedDriver(server),
        retries=Retries(sleep=Waits()),
        staging=Storage(server.storage),
        account=account,
    )
    return pool.for_run("run-1", lambda: ["run-1"])
