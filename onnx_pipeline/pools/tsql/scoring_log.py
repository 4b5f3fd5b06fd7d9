"""The scoring log on a T-SQL server: what is asked of it, within one session."""

from collections.abc import Collection, Sequence

from onnx_pipeline.pools import scoring_log as log
from onnx_pipeline.pools.records import LOG_TABLE, MODELS_TABLE, LogRow, Scored
from onnx_pipeline.pools.tsql import kept
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import exists, standing

__all__ = ["forget", "read", "runs", "scored"]

_KEYS_PER_STATEMENT = 1000
"""A statement binds at most 2,098 values."""


def read(session: Session, scoring: str, partition_keys: Sequence[str] | None) -> list[LogRow]:
    """The log's rows of a scoring, all or of some partitions."""
    known = kept.columns(session, LOG_TABLE)
    chunks: list[Sequence[str] | None] = [None]
    if partition_keys is not None:
        starts = range(0, len(partition_keys), _KEYS_PER_STATEMENT)
        chunks = [partition_keys[start : start + _KEYS_PER_STATEMENT] for start in starts]
    return [row for chunk in chunks for row in _rows(session, scoring, known, chunk)] if known else []


def _rows(
    session: Session, scoring: str, known: Collection[str], partition_keys: Sequence[str] | None = None
) -> list[LogRow]:
    return log.logs_of(session.rows(log.log_query(scoring, known, partition_keys)))


def scored(session: Session, scoring: str, table: str) -> Scored:
    """What log and catalogue say of a scoring and its target."""
    target, known = standing(session, table), kept.columns(session, LOG_TABLE)
    if not known:
        return log.scored(target, (), None, {})
    owners, signed = log.owners_query(known, scoring, target.name), log.signatures_query(known, scoring)
    owner = session.scalar(owners) if owners is not None else None
    registered = session.rows(signed) if signed is not None and exists(session, MODELS_TABLE) else []
    signatures = log.signatures_by_model((sha256, signature) for sha256, signature in registered)
    return log.scored(target, _rows(session, scoring, known), owner, signatures)


def runs(session: Session, scoring: str, target: str) -> list[str]:
    """Which runs loaded what the log has of a scoring in a target."""
    return [row[0] for row in session.rows(log.runs_query(scoring, target))]


def forget(session: Session, scoring: str, target: str, run_ids: Sequence[str]) -> None:
    """Take out of the log what those runs loaded into a target that is missing."""
    for start in range(0, len(run_ids), _KEYS_PER_STATEMENT):
        session.execute(log.gone(scoring, target, run_ids[start : start + _KEYS_PER_STATEMENT]))
