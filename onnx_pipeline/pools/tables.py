"""Names of tables, targets, and the tables that every pool keeps, as SQLAlchemy describes them; `sql/` creates the log and the models table."""

import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError, TargetError
from onnx_pipeline.base.types import sqlalchemy_type
from onnx_pipeline.pools.records import LOG_TABLE, MODELS_TABLE, Fingerprint, LogRow, Target

__all__ = [
    "STORED",
    "check_columns",
    "log_from_record",
    "log_record",
    "log_table",
    "model_record",
    "models_table",
    "registered_model",
    "split_name",
    "target_table",
]


def split_name(name: str) -> tuple[str | None, str]:
    """`schema.table` → both; a table alone → (None, table)."""
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise SpecError(f"table {name!r} must be `table` or `schema.table`")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def target_table(target: Target) -> sa.Table:
    """The target; keys and provenance are NOT NULL, predictions may be NULL (`checks: {nan_predictions: allow}`)."""
    schema, name = split_name(target.table)
    outputs = set(target.staged_names) - set(target.key)
    columns: list[sa.Column[Any]] = [
        sa.Column(field.name, _type_of(field, target), nullable=field.name in outputs) for field in target.schema
    ]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def _type_of(field: pa.Field, target: Target) -> sa.types.TypeEngine[Any]:
    collation = target.collations.get(field.name)
    return sqlalchemy_type(field.type, column=field.name) if collation is None else sa.String(collation=collation)


def check_columns(target: Target, actual: pa.Schema) -> None:
    """Raises TargetError, naming each column, where an existing table cannot take the predictions."""
    problems = _unfit(target, actual)
    if problems:
        raise TargetError(
            f"table {target.table} stands with other columns: {'; '.join(problems)}. "
            "Name another `target`, or drop or alter the table."
        )


def _unfit(target: Target, actual: pa.Schema) -> list[str]:
    problems = []
    standing = {field.name.casefold(): field.type for field in actual}
    for field in target.schema:
        found = standing.pop(field.name.casefold(), None)
        if found is None:
            problems.append(f"{field.name} is missing")
        elif _family(found) not in (_family(field.type), _family(STORED.get(field.type, field.type))):
            problems.append(f"{field.name} is {found} there and {field.type} here")
    problems.extend(f"{name} is there and not among the predictions" for name in standing)
    return problems


STORED = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}
"""Types that a database has no column for, as `types.COLUMN_TYPES` stores them."""


def _family(arrow: pa.DataType) -> str:
    """Types that hold each other's values without loss of meaning count as one."""
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        return "string"
    if pa.types.is_boolean(arrow):
        return "bool"
    if pa.types.is_integer(arrow):
        return str(arrow)
    if pa.types.is_floating(arrow):
        return "float" if arrow.bit_width < 64 else "double"
    if pa.types.is_timestamp(arrow):
        return "timestamp" if arrow.tz is None else "timestamp with time zone"
    return str(arrow)


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
    )


def models_table() -> sa.Table:
    return sa.Table(
        MODELS_TABLE,
        sa.MetaData(),
        sa.Column("id", sa.BigInteger),
        sa.Column("name", sa.String),
        sa.Column("sha256", sa.String),
        sa.Column("model", sa.LargeBinary),
        sa.Column("created_at", sa.DateTime),
        sa.Column("signature", sa.String),
        sa.Column("form", sa.String),
    )


def model_record(name: str, sha256: str, data: bytes, signature: str, form: str | None) -> dict[str, Any]:
    """A row of the models table, without its id."""
    now = datetime.datetime.now(tz=datetime.timezone.utc).replace(tzinfo=None)
    return {
        "name": name,
        "sha256": sha256,
        "model": data,
        "created_at": now,
        "signature": signature,
        "form": form,
    }


def registered_model(name: str, sha256: str, form: str | None) -> sa.Select[Any]:
    """The id of the model's row in the models table; 0 where it has none, since ids count from 1."""
    models = models_table()
    same = (models.c.name == name, models.c.sha256 == sha256, models.c.form == form)
    return sa.select(sa.func.coalesce(sa.func.min(models.c.id), 0)).where(*same)


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
    )
