"""Names of columns in a request, matched to those of the model."""

from collections import Counter
from collections.abc import Sequence

from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["matched"]

_SHOWN = 60
_COMPARED, _LONGEST = 200, 128
"""Names that are compared with a missing one: a request must not make that dear."""


def matched(served: ServedModel, given: Sequence[str], *, row: int | None = None) -> Sequence[str]:
    """The given names that fill the model's columns, in the model's order; other columns are left aside.

    Where the columns of an `[N, F]` input have no names, those go by their order. Raises Refusal for a column that is
    missing or given twice, and for too many or too few that go by their order.
    """
    if len(set(given)) < len(given):
        twice = next(name for name, count in Counter(given).items() if count > 1)[:_LONGEST]
        raise Refusal(400, "column_twice", f"the column {twice!r} is given twice", column=twice, row=row)
    known = set(given)
    missing = [name for name in served.columns if name not in known]
    if not missing:
        return served.columns
    if served.positional:
        return _by_order(served, given, row)
    hint = close_matches(missing[0], [name for name in given[:_COMPARED] if len(name) <= _LONGEST])
    raise Refusal(
        400, "column_missing", f"the column {missing[0]!r} is missing{hint} The model reads "
        f"{', '.join(served.columns[:_SHOWN])}", column=missing[0], row=row,
    )  # fmt: skip


def _by_order(served: ServedModel, given: Sequence[str], row: int | None) -> Sequence[str]:
    own = [name for bound in served.inputs if not bound.tensor.is_matrix for name in bound.columns]
    for name in own:
        if name not in given:
            raise Refusal(400, "column_missing", f"the column {name!r} is missing", column=name, row=row)
    rest = [name for name in given if name not in own]
    unnamed = [name for name in served.columns if name not in own]
    if len(rest) != len(unnamed):
        raise Refusal(
            400, "columns_do_not_fit", f"the model takes {len(unnamed)} columns by their order"
            f"{' beside ' + ', '.join(own) if own else ''}, and {len(rest)} were given", row=row,
        )  # fmt: skip
    by_order = iter(rest)
    return [name if name in own else next(by_order) for name in served.columns]
