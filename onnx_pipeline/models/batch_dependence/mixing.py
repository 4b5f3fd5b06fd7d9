"""Operators that mix rows where they work over the batch axis, or draw random numbers."""

from collections.abc import Mapping
from dataclasses import replace

from onnx_pipeline.models.batch_dependence.moving import Rule, aligned
from onnx_pipeline.models.batch_dependence.products import PRODUCTS, matmul
from onnx_pipeline.models.batch_dependence.states import LOST, ONE_ROW, Rows, Site

__all__ = ["MIXING"]


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
    return matmul(site)


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
    **PRODUCTS,
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
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "FusedConv", "LRN"), _convolution),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "GroupNorm"), _convolution),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "QAttention", "RotaryEmbedding"), _attention),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool", "QLinearAveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"), _pool),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _recurrent),
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
    "DynamicQuantizeLSTM": _dynamic_recurrent,
    "MeanVarianceNormalization": _mean_variance,
    "NonZero": _positions,
    "Unique": _unique,
}
"""The rule of each operator, which gives the state of its first output and reports what it does over the batch."""
