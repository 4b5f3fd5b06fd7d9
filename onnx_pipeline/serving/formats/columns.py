"""Names of columns in a request, matched to those of the model."""

from collections import Counter
from collections.abc import Sequence

from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.base.inference_protocol import COLUMNS_HEADER, IN_ORDER
from onnx_pipeline.serving.formats.asked import Asked
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel

__all__ = ["matched"]

_SHOWN = 60
_COMPARED, _LONGEST = 200, 128
"""Names that are compared with a missing one: a request must not make that dear."""


def matched(asked: Asked, given: Sequence[str], *, row: int | None = None) -> Sequence[str]:
    """The given names that fill the model's columns, in the model's order; other columns are left aside.

    Names decide wherever there are any. Those of an `[N, F]` input go by their order where other names were sent, and
    the request says that they are in order. Raises Refusal for a column that is missing or given twice, for names that
    nothing can be told by, and for too many or too few that go by their order.
    """
    served = asked.served
    if len(set(given)) < len(given):
        twice = next(name for name, count in Counter(given).items() if count > 1)[:_LONGEST]
        raise Refusal(400, "column_twice", f"the column {twice!r} is given twice", column=twice, row=row)
    known = set(given)
    missing = [name for name in served.columns if name not in known]
    if not missing:
        if asked.in_order:
            _check_order(served, given, row)
        return served.columns
    if asked.in_order:
        return _by_order(served, given, row)
    if missing[0] in served.unnamed:
        raise _unnamed(served, missing[0], row)
    hint = close_matches(missing[0], [name for name in given[:_COMPARED] if len(name) <= _LONGEST])
    raise Refusal(
        400, "column_missing", f"the column {missing[0]!r} is missing{hint} The model reads {_listed(served)}",
        column=missing[0], row=row,
    )  # fmt: skip


def _check_order(served: ServedModel, given: Sequence[str], row: int | None) -> None:
    """Two that both say what the order of training is, and differ, leave no right answer."""
    for bound in served.inputs:
        here = [name for name in given if name in set(bound.columns)]
        if bound.tensor.is_matrix and here != list(bound.columns):
            raise Refusal(
                409, "columns_conflict", f"the request says by `{COLUMNS_HEADER}: {IN_ORDER}` that the order of "
                f"training is {', '.join(here[:_SHOWN])}, and here it is {', '.join(bound.columns[:_SHOWN])}; correct "
                "`features` of the scoring, or `--features` of the service", row=row,
            )  # fmt: skip


def _listed(served: ServedModel) -> str:
    more = len(served.columns) - _SHOWN
    return ", ".join(served.columns[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _unnamed(served: ServedModel, missing: str, row: int | None) -> Refusal:
    return Refusal(
        400, "columns_unnamed", f"the columns of {served.name!r} have no names of their own, so by the names that were "
        'sent nothing can be told. Send rows of values in the order of training, {"data": [[...], ...]}, or name '
        f"the columns {_listed(served)}, or start the service with `--features`; the header `{COLUMNS_HEADER}: "
        f"{IN_ORDER}` says that columns under other names are in that order",
        column=missing, row=row,
    )  # fmt: skip


def _by_order(served: ServedModel, given: Sequence[str], row: int | None) -> Sequence[str]:
    """The columns of `[N, F]` inputs by their order, and those of other inputs by their names."""
    own = {name for bound in served.inputs if not bound.tensor.is_matrix for name in bound.columns}
    for name in own:
        if name not in given:
            raise Refusal(400, "column_missing", f"the column {name!r} is missing", column=name, row=row)
    rest = [name for name in given if name not in own]
    ordered = [name for name in served.columns if name not in own]
    if len(rest) != len(ordered):
        raise Refusal(
            400, "columns_do_not_fit", f"the model takes {len(ordered)} columns by their order"
            f"{' beside ' + ', '.join(sorted(own)) if own else ''}, and {len(rest)} were given", row=row,
        )  # fmt: skip
    by_order = iter(rest)
    return [name if name in own else next(by_order) for name in served.columns]
