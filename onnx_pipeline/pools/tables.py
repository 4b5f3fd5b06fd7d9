"""Names of tables, targets, and the models table, as SQLAlchemy describes them; `sql/` creates the models table."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError, TargetError
from onnx_pipeline.base.types import sqlalchemy_type
from onnx_pipeline.pools.records import MODELS_TABLE, Target
from onnx_pipeline.spec.target import PROVENANCE

__all__ = [
    "STORED",
    "check_columns",
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


Written = Callable[[sa.Column[Any]], str]
"""How a pool writes a column's name and type in DDL."""


def check_columns(
    target: Target, actual: pa.Schema, table: sa.Table, written: Written, quote: Callable[[str], str]
) -> None:
    """Raises TargetError, naming each column and what to do, where an existing table cannot take the predictions.

    `table` is the target as it would be made, `written` and `quote` how the pool writes a column and a name.
    """
    standing = {field.name.casefold(): field for field in actual}
    missing, other, problems = [], [], []
    for field in target.schema:
        found = standing.pop(field.name.casefold(), None)
        if found is None:
            missing.append(field.name)
            problems.append(f"{field.name} is missing")
        elif _family(found.type) not in (_family(field.type), _family(STORED.get(field.type, field.type))):
            other.append(field.name)
            problems.append(f"{field.name} is {found.type} there and {field.type} here")
    left = [field.name for field in standing.values()]
    problems.extend(f"{name} is there and not among the predictions" for name in left)
    if not problems:
        return
    unfit = {*missing, *other}
    if unfit & set(PROVENANCE):
        advice = "It was not made for predictions"
    elif unfit & set(target.key):
        # A column that no row may lack cannot be added to rows, and rows of two keys do not go together.
        advice = "Its rows are told apart by another key"
    else:
        advice = f"To keep it, run {'; '.join(_alter(table, [*other, *left], [*other, *missing], written, quote))}"
        advice += ", which loses what stands in a dropped column" if other or left else ""
    raise TargetError(
        f"table {target.table} stands with other columns: {'; '.join(problems)}. Nothing was loaded. {advice}. Else name "
        f"another `target` (target: {target.table}_2), where every partition is scored anew and this table stays as it is, "
        "or drop this one."
    )


def _alter(
    table: sa.Table, dropped: Sequence[str], added: Sequence[str], written: Written, quote: Callable[[str], str]
) -> Iterator[str]:
    """What gives a standing table the columns; a column takes another type by way of being made anew."""
    alter = f"ALTER TABLE {'.'.join(quote(part) for part in (table.schema, table.name) if part)}"
    yield from (f"{alter} DROP COLUMN {quote(column)}" for column in dropped)
    yield from (f"{alter} ADD {written(table.c[column])}" for column in added)


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
