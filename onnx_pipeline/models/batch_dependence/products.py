"""Products of tensors: over the axis that they sum, rows mix; where both sides depend on rows, each may meet each."""

from collections.abc import Mapping
from dataclasses import replace

from onnx_pipeline.models.batch_dependence.moving import Rule
from onnx_pipeline.models.batch_dependence.states import LOST, ONE_ROW, Rows, Site

__all__ = ["PRODUCTS", "matmul"]

_DIGITS = 10
_QUANTISED_RIGHT = 3
"""Where the right matrix stands if each of the two comes with its scale and zero point."""


def matmul(site: Site) -> Rows | None:
    return _product(site, site.inputs[0], site.inputs[1] if len(site.inputs) > 1 else None)


def _qlinear_matmul(site: Site) -> Rows | None:
    return _product(site, site.inputs[0], site.inputs[_QUANTISED_RIGHT], right_place=_QUANTISED_RIGHT)


def _fused_matmul(site: Site) -> Rows | None:
    """A MatMul of transposed matrices.

    https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.FusedMatMul
    """
    if site.attributes.get("transBatchA") or site.attributes.get("transBatchB"):
        return next((LOST for rows in site.inputs if rows is not None and not rows.alone), matmul(site))
    turned = [_turned(site, index) if site.attributes.get(name) else site.inputs[index]
              for index, name in enumerate(("transA", "transB"))]  # fmt: skip
    return _product(site, turned[0], turned[1])


def _turned(site: Site, index: int) -> Rows | None:
    """The state of an input whose last two axes change places; one with a single axis stays what it is."""
    rows, rank = site.inputs[index], site.rank(index)
    if rows is None or rows.axis is None or rank == 1:
        return rows
    if rank is None:
        return LOST
    return replace(rows, axis=2 * rank - 3 - rows.axis) if rows.axis >= rank - 2 else rows


def _product(site: Site, left: Rows | None, right: Rows | None, *, right_place: int = 1) -> Rows | None:
    if (left is None or left.alone) and (right is None or right.alone):
        return left or right
    ranks = (site.rank(0), site.rank(right_place))
    if left is not None and right is not None and not left.alone and not right.alone:
        return _both(site, left, right, ranks)
    rows, rank, is_left = (left, ranks[0], True) if left is not None and not left.alone else (right, ranks[1], False)
    assert rows is not None
    if rows.axis is None or rank is None:
        # Rows times weights is by far the usual case.
        return replace(rows, certain=False) if is_left else LOST
    summed = rank - 1 if is_left or rank == 1 else rank - 2
    if rows.axis == summed:
        return site.mixes(rows)
    if rows.axis >= rank - 2:  # one of the two axes of a matrix
        other = ranks[1] if is_left else ranks[0]
        if other is None:
            return replace(rows, certain=False)
        width = max(rank, other) - (other == 1)
        return replace(rows, axis=width - 2 + (not is_left) if other > 1 or not is_left else rank - 2)
    return _stacked(rows, rank, ranks)


def _stacked(rows: Rows, rank: int, ranks: tuple[int | None, int | None]) -> Rows:
    """One of the axes before the two of a matrix."""
    others = [other for other in ranks if other is not None]
    return LOST if len(others) < len(ranks) else replace(rows, axis=(rows.axis or 0) + max(others) - rank)


def _both(site: Site, left: Rows, right: Rows, ranks: tuple[int | None, int | None]) -> Rows | None:
    if None in ranks or left.axis is None or right.axis is None:
        return LOST
    first, second = ranks
    assert first is not None
    assert second is not None
    if left.axis < first - 2 and right.axis < second - 2 and left.axis - first == right.axis - second:
        return _stacked(left, first, ranks)
    # x·xᵀ pairs every row with every other, and xᵀ·x sums over them.
    return site.mixes(left, surely=right.certain)


def _gemm(site: Site) -> Rows | None:
    left, right = site.inputs[0], site.inputs[_QUANTISED_RIGHT if site.node.op_type == "QGemm" else 1]
    swapped = [bool(site.attributes.get(name, 0)) for name in ("transA", "transB")]
    if (left is None or left.alone) and (right is None or right.alone):
        return left or right or (site.inputs[2] if len(site.inputs) > 2 else None)
    if left is not None and right is not None and not left.alone and not right.alone:
        return site.mixes(left, surely=right.certain)
    rows = left if left is not None and not left.alone else right
    assert rows is not None
    if rows.axis is None:
        return LOST
    place = rows.axis if not swapped[0 if rows is left else 1] else 1 - rows.axis
    if place == (1 if rows is left else 0):
        return site.mixes(rows)
    return replace(rows, axis=place)


def _einsum(site: Site) -> Rows | None:
    fed = [rows for rows in site.inputs if rows is not None and not rows.alone]
    if not fed:
        return ONE_ROW if any(rows is not None for rows in site.inputs) else None
    letters = _letters(site)
    if letters is None or any(rows.axis is None for rows in fed):
        return LOST
    *terms, result = letters
    batch = {term[rows.axis] for term, rows in zip(terms, site.inputs, strict=False)
             if rows is not None and rows.axis is not None}  # fmt: skip
    if len(batch) > 1 or not batch <= set(result):
        return site.mixes(fed[0])
    return replace(fed[0], axis=result.index(batch.pop()))


def _letters(site: Site) -> list[str] | None:
    """One letter per axis for each input and the result, with those that `...` and a missing result stand for.

    https://onnx.ai/onnx/operators/onnx__Einsum.html
    """
    given, arrow, result = site.attributes.get("equation", b"").decode().replace(" ", "").partition("->")
    terms = given.split(",")
    named = given.replace(",", "").replace(".", "")
    if not arrow:
        result = "..." * ("..." in given) + "".join(sorted(letter for letter in named if named.count(letter) == 1))
    widths = []
    for index, term in enumerate(terms):
        rank = site.rank(index)
        if "..." in term and rank is None:
            return None
        widths.append((rank or 0) - len(term) + 3 if "..." in term else 0)
    # Broadcast from the last axis: the same digit for the same place from the right.
    hidden = [str(place) for place in range(max(widths))][::-1]
    if len(hidden) > _DIGITS:
        return None
    spelled = [term.replace("...", "".join(hidden[len(hidden) - width :]))
               for term, width in zip(terms, widths, strict=True)]  # fmt: skip
    return [*spelled, result.replace("...", "".join(hidden))]


def _distances(site: Site) -> Rows | None:
    left, right = site.inputs[0], site.inputs[1]
    if left is not None and right is not None and not (left.alone or right.alone):
        return site.mixes(left)
    if right is not None and not right.alone:
        return replace(right, axis=1)
    return left if left is not None else right


PRODUCTS: Mapping[str, Rule] = {
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits"), matmul),
    **dict.fromkeys(("Gemm", "QGemm"), _gemm),
    "CDist": _distances,
    "Einsum": _einsum,
    "FusedMatMul": _fused_matmul,
    "QLinearMatMul": _qlinear_matmul,
}
"""The rule of each operator, as in `mixing`."""
