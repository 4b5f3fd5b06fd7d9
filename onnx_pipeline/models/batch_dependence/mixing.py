"""Operators that mix rows where they work over the batch axis, or draw random numbers."""

from collections.abc import Mapping
from dataclasses import replace

from onnx_pipeline.models.batch_dependence.moving import Rule, aligned
from onnx_pipeline.models.batch_dependence.states import LOST, ONE_ROW, Rows, Site

__all__ = ["MIXING"]

_DIGITS = 10
_QUANTISED_RIGHT = 3
"""Where the right matrix stands if each of the two comes with its scale and zero point."""


def _reduce(site: Site) -> Rows | None:
    rows, rank = site.first, site.rank()
    if rows is None or rows.alone:
        return rows
    axes = site.listed("axes", 1)
    if axes is None and site.has(1):
        return site.mixes(rows, surely=False)
    if not axes:
        if site.attributes.get("noop_with_empty_axes"):
            return rows
        return site.mixes(rows) if rows.axis is not None else site.mixes(rows, surely=False)
    return _over(site, rows, axes, rank, gone=not site.attributes.get("keepdims", 1))


def _over(site: Site, rows: Rows, axes: list[int], rank: int | None, *, gone: bool) -> Rows | None:
    """What is left after working over some axes, which are `gone` afterwards or stay."""
    if rows.axis is None or (rank is None and min(axes) < 0):
        # Where the batch lies is not known. The last axis is that of columns, unless there is only one.
        if rows.axis == 0 and axes == [-1]:
            return replace(rows, certain=False)
        return site.mixes(rows, surely=False)
    places = {site.from_front(axis, rank) for axis in axes}
    if rows.axis in places:
        return site.mixes(rows)
    return replace(rows, axis=rows.axis - sum(axis < rows.axis for axis in places)) if gone else rows


def _arg(site: Site) -> Rows | None:
    rows = site.first
    if rows is None or rows.alone:
        return rows
    axis = int(site.attributes.get("axis", 0))
    return _over(site, rows, [axis], site.rank(), gone=not site.attributes.get("keepdims", 1))


def _softmax(site: Site) -> Rows | None:
    rows, rank = site.first, site.rank()
    if rows is None or rows.alone:
        return rows
    if site.attributes.get("opset", site.opset) >= 13:
        return _over(site, rows, [int(site.attributes.get("axis", -1))], rank, gone=False)
    # https://onnx.ai/onnx/operators/onnx__Softmax.html#softmax-11: over the axis and all after it
    axis = site.axis(1)
    if rows.axis is None or axis < 0:
        return site.mixes(rows, surely=False)
    return site.mixes(rows) if rows.axis >= axis else rows


def _one_axis(default: int) -> Rule:
    def rule(site: Site) -> Rows | None:
        rows = site.first
        if rows is None or rows.alone:
            return rows
        return _over(site, rows, [int(site.attributes.get("axis", default))], site.rank(), gone=False)

    return rule


def _cumulative(site: Site) -> Rows | None:
    rows, axes = site.first, site.constant(1)
    if rows is None or rows.alone:
        return rows
    return site.mixes(rows, surely=False) if axes is None else _over(site, rows, axes, site.rank(), gone=False)


def _from_axis(site: Site) -> Rows | None:
    """LayerNormalization and its kin: over the axis and all after it."""
    rows, axis = site.first, site.axis(-1)
    if rows is None or rows.alone or rows.axis == 0 == axis + 1:
        return rows
    if rows.axis is None or axis < 0:
        return rows if axis == -1 and rows.axis is not None else site.mixes(rows, surely=False)
    return site.mixes(rows) if rows.axis >= axis else rows


def _mean_variance(site: Site) -> Rows | None:
    rows = site.first
    if rows is None or rows.alone:
        return rows
    return _over(site, rows, list(site.attributes.get("axes", [0, 2, 3])), site.rank(), gone=False)


def _per_row(site: Site) -> Rows | None:
    """Over all columns of a row: of a tensor `[N]`, over the rows."""
    rows = site.first
    return site.mixes(rows) if rows is not None and not rows.alone and site.rank() == 1 else rows


def _unique(site: Site) -> Rows | None:
    rows = site.first
    return rows if rows is None or rows.alone else site.mixes(rows)


def _positions(site: Site) -> Rows | None:
    return site.first if site.first is None or site.first.alone else LOST


def _batch_normalization(site: Site) -> Rows | None:
    rows, given = site.first, site.attributes
    old = site.opset < 7 and not given.get("is_test", 0)
    if rows is not None and (given.get("training_mode") or old or (site.opset < 14 and len(site.node.output) > 1)):
        # Even one row at a time: its answer would be that of no trained model.
        site.report("mixes", rows.axis)
        return LOST
    return rows


def _dropout(site: Site) -> Rows | None:
    ratio = site.shapes.constants.get(site.node.input[1]) if site.has(1) else None
    if ratio is not None and float(ratio.reshape(-1)[0]) == 0:
        return site.first
    mode = site.constant(2)
    if site.opset >= 12 and mode is None and site.has(2):
        site.report("may mix")  # whether it is in training is computed, and numbers tell
    elif bool(mode and mode[0]) if site.opset >= 12 else site.opset < 7 and not site.attributes.get("is_test", 0):
        site.report("random")
    return site.first


def _random(site: Site) -> Rows | None:
    site.report("random")
    return site.first if site.inputs else LOST


def _quantise(site: Site) -> Rows | None:
    rows = aligned(site, [0])
    if rows is not None and not rows.alone:
        site.report("quantises")
    return rows


def _quantised_product(site: Site) -> Rows | None:
    _quantise(site)
    return _matmul(site)


def _matmul(site: Site) -> Rows | None:
    return _product(site, site.inputs[0], site.inputs[1] if len(site.inputs) > 1 else None)


def _qlinear_matmul(site: Site) -> Rows | None:
    return _product(site, site.inputs[0], site.inputs[_QUANTISED_RIGHT], right_place=_QUANTISED_RIGHT)


def _fused_matmul(site: Site) -> Rows | None:
    """A MatMul of transposed matrices.

    https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.FusedMatMul
    """
    if site.attributes.get("transBatchA") or site.attributes.get("transBatchB"):
        return next((LOST for rows in site.inputs if rows is not None and not rows.alone), _matmul(site))
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


def _convolution(site: Site) -> Rows | None:
    """Images: the batch comes first; over channels and places they sum."""
    rows, *others = site.inputs
    fed = [other for other in others if other is not None and not other.alone]
    if fed:  # filters that are made of rows meet every image
        return site.mixes(rows or fed[0], surely=False)
    if rows is None or rows.alone or rows.axis == 0:
        return rows
    return site.mixes(rows)


def _attention(site: Site) -> Rows | None:
    """Queries, keys and values, the batch first in each; over the places of a sequence they meet."""
    fed = [rows for rows in site.inputs if rows is not None]
    if not fed or all(rows.alone for rows in fed):
        return ONE_ROW if fed else None
    elsewhere = [rows for rows in fed if not rows.alone and rows.axis != 0]
    if elsewhere:
        return site.mixes(elsewhere[0])
    return Rows(0, certain=all(rows.certain for rows in fed))


def _pool(site: Site) -> Rows | None:
    rows = site.first
    return rows if rows is None or rows.alone or rows.axis in {0, 1} else site.mixes(rows)


def _recurrent(site: Site) -> Rows | None:
    rows = site.first
    if rows is None or rows.alone:
        return rows
    if rows.axis is None:
        return site.mixes(rows, surely=False)
    if rows.axis != (0 if site.attributes.get("layout", 0) else 1):
        return site.mixes(rows)
    return replace(rows, axis=0 if site.attributes.get("layout", 0) else 2)


def _dynamic_recurrent(site: Site) -> Rows | None:
    _quantise(site)
    return _recurrent(site)


_REDUCE = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_FROM_AXIS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization")

MIXING: Mapping[str, Rule] = {
    **{f"Reduce{name}": _reduce for name in _REDUCE},
    "QLinearReduceMean": _reduce,
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "QLinearSoftmax"), _softmax),
    **dict.fromkeys(("LpNormalization", "TopK"), _one_axis(-1)),
    **dict.fromkeys(("CumSum", "CumProd"), _cumulative),
    **dict.fromkeys((*_FROM_AXIS, "SkipSimplifiedLayerNormalization"), _from_axis),
    **dict.fromkeys(("Normalizer", "TfIdfVectorizer"), _per_row),
    **dict.fromkeys(("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"), _random),
    **dict.fromkeys(("Multinomial", "Bernoulli", "BitmaskDropout"), _random),
    **dict.fromkeys(("DynamicQuantizeLinear",), _quantise),
    **dict.fromkeys(("DynamicQuantizeMatMul",), _quantised_product),
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits"), _matmul),
    "QLinearMatMul": _qlinear_matmul,
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "FusedConv", "LRN"), _convolution),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "GroupNorm"), _convolution),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "QAttention", "RotaryEmbedding"), _attention),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool", "QLinearAveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"), _pool),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _recurrent),
    "BatchNormalization": _batch_normalization,
    "CDist": _distances,
    "Dropout": _dropout,
    "DynamicQuantizeLSTM": _dynamic_recurrent,
    "Einsum": _einsum,
    "FusedMatMul": _fused_matmul,
    **dict.fromkeys(("Gemm", "QGemm"), _gemm),
    "MeanVarianceNormalization": _mean_variance,
    "NonZero": _positions,
    "Unique": _unique,
}
"""The rule of each operator, which gives the state of its first output and reports what it does over the batch."""
