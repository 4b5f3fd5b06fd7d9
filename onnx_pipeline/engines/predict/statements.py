"""The two statements of a slice: its features as a table in exactly the types of the model, and PREDICT over that.

DATA takes a table, a view or a CTE, and on Synapse no INSERT follows a CTE; so the features are a table first, as
Microsoft's scoring wizard writes them. Only the first statement reads the source, so the slice is of one moment.
https://learn.microsoft.com/sql/t-sql/queries/with-common-table-expression-transact-sql
https://learn.microsoft.com/azure/synapse-analytics/machine-learning/tutorial-sql-pool-model-scoring-wizard

No NULL reaches PREDICT: what it makes of one is documented nowhere. Where a column of floats has none, 0 goes in, and
beside it a 0 that makes NaN of it within the model. What has no form for a missing value gets one that does not matter,
since the slice is refused by its marks before anybody sees it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.engines.predict.fitted import Fitted
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.scalar_form import ScalarColumn, ScalarForm
from onnx_pipeline.pools.synapse.predict import SQL_TYPES, TEXT_LENGTH, Predict
from onnx_pipeline.pools.tsql.dialect import BINARY_COLLATION, literal, quoted

__all__ = ["UNFIT_TEXT", "features_of", "is_unfit_text", "predictions_of"]

Sql = sa.ColumnElement[Any]

UNFIT_TEXT = "a text that PREDICT would not get as it is"
"""What the error of the statement holds that meets one."""
_BEYOND_ASCII = "%[^\x01-\x7f]%"
"""By a binary collation, what a text is LIKE that holds another letter."""


def features_of(fitted: Fitted, features: sa.FromClause, marks: Sequence[str]) -> sa.Select[Any]:
    """The first one: marks under names that meet none of the model's, and its scalars."""
    columns = [features.c[name].label(_mark(place)) for place, name in enumerate(marks)]
    for column in fitted.form.columns:
        columns += _scalars(column, features.c[column.column], fitted.stand_ins.get(column.column))
    texts = [features.c[column.column] for column in fitted.form.columns if column.dtype == "string"]
    if texts:
        columns.append(_check(texts).label("texts"))
    return sa.select(*columns).select_from(features)


def predictions_of(
    form: ScalarForm, model: str, marks: Sequence[str], outputs: Sequence[str]
) -> Callable[[sa.FromClause], sa.Select[Any]]:
    """The second one, over the table of the first; `model` is the expression that gives the model."""
    dtypes = {output.name: output.dtype for output in form.outputs}
    dtypes |= {output.is_number: "int32" for output in form.outputs if output.is_number is not None}

    def over(table: sa.FromClause) -> sa.Select[Any]:
        assert isinstance(table, sa.TableClause)
        predict = Predict(model, quoted(table.schema, table.name), dtypes)
        columns = [predict.of_data(_mark(place)).label(name) for place, name in enumerate(marks)]
        for output, name in zip(form.outputs, outputs, strict=True):
            value = predict.of_model(output.name)
            if output.is_number is not None:
                value = sa.case((predict.of_model(output.is_number) == sa.literal_column("1"), value))
            columns.append(value.label(name))
        return sa.select(*columns).select_from(predict)

    return over


def _mark(place: int) -> str:
    return f"mark{place}"


def _scalars(column: ScalarColumn, value: Sql, stand_in: StandIn | None) -> list[sa.Label[Any]]:
    kind = SQL_TYPES[column.dtype]
    instead = _literal(stand_in if stand_in is not None else "" if column.dtype == "string" else 0)
    typed = sa.cast(value, kind)
    made = [sa.case((value.is_(None), sa.cast(instead, kind)), else_=typed).label(column.name)]
    if column.there is not None:
        there = sa.case((value.is_(None), sa.literal_column("0")), else_=sa.literal_column("1"))
        made.append(sa.cast(there, kind).label(column.there))
    return made


def _literal(value: StandIn) -> Sql:
    return sa.literal_column(literal(value))


def is_unfit_text(text: Sql) -> sa.ColumnElement[bool]:
    """Whether VARCHAR would change a text, by the code page of a collation or by its length."""
    # LEN counts no blanks at the end.
    length = sa.func.len(sa.func.concat(text, sa.literal_column("'.'")))
    beyond = text.collate(BINARY_COLLATION).like(sa.literal(_BEYOND_ASCII))
    return sa.or_(beyond, length > sa.literal_column(str(TEXT_LENGTH + 1)))


def _check(texts: Sequence[Sql]) -> Sql:
    """1, or the end of the statement where a text is unfit: nothing is scored then."""
    message: Sql = sa.literal_column(literal(UNFIT_TEXT))
    checked = sa.case((sa.or_(*map(is_unfit_text, texts)), message), else_=sa.literal_column("'1'"))
    return sa.cast(checked, sa.INTEGER())
