"""The scoring log as SQLAlchemy describes it; `sql/` creates it, and gives the log of an earlier version its columns."""

import datetime
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.pools.records import LOG_TABLE, Fingerprint, LogRow

__all__ = ["log_from_record", "log_query", "log_record", "log_table"]


def log_table() -> sa.Table:
    return sa.Table(
        LOG_TABLE,
        sa.MetaData(),
        sa.Column("scoring", sa.String),
        sa.Column("partition_key", sa.String),
        sa.Column("model_sha256", sa.String),
        sa.Column("rows", sa.BigInteger),
        sa.Column("source_rows", sa.BigInteger),
        sa.Column("source_changed", sa.String),
        sa.Column("seconds", sa.Double),
        sa.Column("run_id", sa.String),
        sa.Column("scored_at", sa.DateTime),
        sa.Column("statistics", sa.String),
        sa.Column("target", sa.String),
        sa.Column("settings", sa.String),
        sa.Column("partitions", sa.String),
    )


def log_query(scoring: str, standing: Collection[str], partition_keys: Sequence[str] | None = None) -> sa.Select[Any]:
    """The log's rows of a scoring, all or of some partitions, with every column that `log_table` has.

    `standing` are the columns that the pool's log has: one that a log of an earlier version lacks is NULL, so that
    somebody who may only read is not refused.
    """
    table = log_table()
    columns = [column if column.name in standing else sa.null().label(column.name) for column in table.c]
    query = sa.select(*columns).select_from(table).where(table.c.scoring == scoring)
    return query if partition_keys is None else query.where(table.c.partition_key.in_(list(partition_keys)))


def log_record(log: LogRow) -> dict[str, Any]:
    return {
        "scoring": log.scoring,
        "partition_key": log.partition_key,
        "model_sha256": log.model_sha256,
        "rows": log.rows,
        "source_rows": log.fingerprint.rows,
        "source_changed": log.fingerprint.changed,
        "seconds": log.seconds,
        "run_id": log.run_id,
        "scored_at": log.scored_at.replace(tzinfo=None),
        "statistics": log.statistics,
        "target": log.target,
        "settings": log.settings,
        "partitions": log.partitions,
    }


def log_from_record(record: dict[str, Any]) -> LogRow:
    return LogRow(
        scoring=record["scoring"],
        partition_key=record["partition_key"],
        model_sha256=record["model_sha256"],
        rows=record["rows"],
        fingerprint=Fingerprint(record["source_rows"], record["source_changed"]),
        seconds=record["seconds"],
        run_id=record["run_id"],
        scored_at=record["scored_at"].replace(tzinfo=datetime.timezone.utc),
        statistics=record["statistics"],
        target=record["target"],
        settings=record["settings"],
        partitions=record["partitions"],
    )
