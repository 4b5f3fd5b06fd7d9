"""The scoring log as SQLAlchemy describes it; `sql/` creates it, and gives the log of an earlier version its columns."""

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.pools.records import LOG_TABLE, Fingerprint, LogRow, Scored, Standing
from onnx_pipeline.pools.tables import models_table

__all__ = [
    "gone",
    "latest",
    "log_query",
    "log_record",
    "log_table",
    "logs_of",
    "owners_query",
    "runs_query",
    "scored",
    "signatures_by_model",
    "signatures_query",
]


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


_LOG = log_table()


def log_query(scoring: str, standing: Collection[str], partition_keys: Sequence[str] | None = None) -> sa.Select[Any]:
    """The log's rows of a scoring, all or of some partitions, with every column that `log_table` has.

    `standing` are the columns that the pool's log has: one that a log of an earlier version lacks is NULL, so that
    somebody who may only read is not refused.
    """
    columns = [column if column.name in standing else sa.null().label(column.name) for column in _LOG.c]
    query = sa.select(*columns).select_from(_LOG).where(_LOG.c.scoring == scoring)
    return query if partition_keys is None else query.where(_LOG.c.partition_key.in_(list(partition_keys)))


def owners_query(standing: Collection[str], scoring: str, target: str) -> sa.Select[Any] | None:
    """Another scoring that the log has rows of in a target; None where an earlier version's log cannot tell."""
    if "target" not in standing:
        return None
    return sa.select(sa.func.min(_LOG.c.scoring).label("owner")).where(
        _LOG.c.target == target, _LOG.c.scoring != scoring
    )


def gone(scoring: str, target: str, run_ids: Sequence[str] | None = None) -> sa.Delete:
    """Takes out of the log what it has of a scoring in a target that is missing, of all runs or of some."""
    statement = sa.delete(_LOG).where(_in_target(scoring, target))
    return statement if run_ids is None else statement.where(_LOG.c.run_id.in_(list(run_ids)))


def runs_query(scoring: str, target: str) -> sa.Select[Any]:
    """The runs that loaded what the log has of a scoring in a target."""
    return sa.select(_LOG.c.run_id).distinct().where(_in_target(scoring, target))


def _in_target(scoring: str, target: str) -> sa.ColumnElement[bool]:
    """A row that names no target counts as this one's: an earlier version wrote it, and the spec had one target."""
    return sa.and_(_LOG.c.scoring == scoring, sa.or_(_LOG.c.target == target, _LOG.c.target.is_(None)))


def signatures_query(standing: Collection[str], scoring: str) -> sa.Select[Any] | None:
    """Sha256 and signature of the models that made a scoring's slices; None where no row says by which settings."""
    if "settings" not in standing:
        return None
    models = models_table()
    made_by = sa.select(_LOG.c.model_sha256).where(_LOG.c.scoring == scoring, _LOG.c.settings.is_not(None))
    return sa.select(models.c.sha256, models.c.signature).where(models.c.sha256.in_(made_by))


def signatures_by_model(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One signature a model. It may be registered in several forms, and by an earlier version, which said less."""
    return dict(sorted(rows, key=lambda row: len(row[1])))


def latest(logs: Iterable[LogRow]) -> dict[str, LogRow]:
    """Rows by partition key; of several, the one that was written last."""
    return {log.partition_key: log for log in sorted(logs, key=lambda log: log.scored_at)}


def scored(target: Standing, logs: Iterable[LogRow], owner: str | None, signatures: Mapping[str, str]) -> Scored:
    """A scoring's rows of the log, by target and elsewhere."""
    here: list[LogRow] = []
    elsewhere: Counter[str] = Counter()
    for log in logs:
        if log.target is None or log.target == target.name:
            here.append(log)
        elif log.rows:
            elsewhere[log.target] += 1
    return Scored(target, latest(here), dict(elsewhere), owner, signatures)


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


def logs_of(rows: Iterable[Sequence[Any]]) -> list[LogRow]:
    """Rows of `log_query`, whose columns are those of `log_table` in their order."""
    return [
        LogRow(
            scoring,
            partition_key,
            model_sha256,
            count,
            Fingerprint(source_rows, source_changed),
            seconds,
            run_id,
            scored_at.replace(tzinfo=datetime.timezone.utc),
            statistics,
            target,
            settings,
            partitions,
        )
        for (
            scoring,
            partition_key,
            model_sha256,
            count,
            source_rows,
            source_changed,
            seconds,
            run_id,
            scored_at,
            statistics,
            target,
            settings,
            partitions,
        ) in rows
    ]
