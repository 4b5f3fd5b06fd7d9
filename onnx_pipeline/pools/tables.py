"""Names of tables, targets, and the models table, as SQLAlchemy describes them; `sql/` creates the models table."""

import datetime
import re
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError, TargetError
from onnx_pipeline.base.types import sqlalchemy_type
from onnx_pipeline.pools.records import MODELS_TABLE, Target
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = [
    "STORED",
    "check_columns",
    "model_record",
    "models_table",
    "query_clause",
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


def query_clause(spec: ScoringSpec) -> sa.TextClause:
    """The SELECT of a source's `query` or `file`, as it stands there."""
    source = spec.source_spec
    if source.query is not None:
        text = source.query
    else:
        assert source.file is not None
        file = spec.base / source.file
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise SpecError(f"source.file: there is no {file}") from error
    # A colon in it is a colon, and names no value to bind. A comment at its end ends with the line.
    return sa.text(re.sub(r"(?<!\\):", r"\\:", text.strip().rstrip(";")) + "\n")


def target_table(target: Target) -> sa.Table:
    """The target; keys and provenance are NOT NULL, predictions may be NULL (`checks: {nan_predictions: allow}`)."""
    schema, name = split_name(target.table)
    outputs = set(target.staged_names) - set(target.key)
    columns: list[sa.Column[Any]] = [
        sa.Column(field.name, sqlalchemy_type(field.type, column=field.name), nullable=field.name in outputs)
        for field in target.schema
    ]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


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
