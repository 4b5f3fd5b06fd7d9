"""Operators that leave rows apart and may move the batch to another axis."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from onnx_pipeline.models.batch_dependence.shapes import BATCH
from onnx_pipeline.models.batch_dependence.states import LOST, ONE_ROW, Rows, Site, unsure

__all__ = ["MAKES_CONSTANTS", "MOVING", "Rule", "aligned"]

Rule = Callable[[Site], Rows | None]


def _same(site: Site) -> Rows | None:
    return site.first


def aligned(site: Site, indices: "range | list[int] | None" = None) -> Rows | None:
    """Element by element, after broadcasting from the last axis backwards."""
    places = [index for index in (indices or range(len(site.inputs))) if index < len(site.inputs)]
    fed = [(index, rows) for index in places if (rows := site.inputs[index]) is not None]
    if not fed:
        return None
    if all(rows.alone for _, rows in fed):
        return ONE_ROW
    fed = [(index, rows) for index, rows in fed if not rows.alone]
    ranks = [site.rank(index) for index in places if site.has(index)]
    widest = None if any(rank is None for rank in ranks) else max((rank or 0) for rank in ranks)
    axes: dict[int, Rows] = {}
    for index, rows in fed:
        rank = site.rank(index)
        if rows.axis is None:
            return LOST
        if widest is None or rank is None:
            axes.setdefault(rows.axis, replace(rows, certain=rows.certain and len(fed) == 1))
        else:
            axes.setdefault(rows.axis + widest - rank, rows)
    if len(axes) > 1:
        # A column against a row of the same rows: each meets every other.
        return site.mixes(fed[0][1], surely=widest is not None and all(rows.certain for _, rows in fed))
    ((axis, rows),) = axes.items()
    certain = all(rows.certain for _, rows in fed) and rows.certain
    return Rows(axis, rows.fold, certain=certain)


def _transpose(site: Site) -> Rows | None:
    rows = site.first
    if rows is None or rows.axis is None:
        return rows
    order = site.attributes.get("perm")
    rank = site.rank()
    if order is None and rank is None:
        return LOST
    places = list(order) if order is not None else list(range(rank or 0))[::-1]
    return replace(rows, axis=places.index(rows.axis)) if rows.axis in places else LOST


def _unsqueeze(site: Site) -> Rows | None:
    rows, axes, rank = site.first, site.listed("axes", 1), site.rank()
    if rows is None or rows.axis is None:
        return rows
    if axes is None or (rank is None and min(axes) < 0):
        return LOST
    total = (rank or 0) + len(axes)
    new = {axis + total if axis < 0 else axis for axis in axes}
    place, left = 0, rows.axis
    while place in new or left:
        left -= place not in new
        place += 1
    return replace(rows, axis=place)


def _squeeze(site: Site) -> Rows | None:
    rows, shape = site.first, site.shapes.of(site.node.input[0])
    if rows is None or rows.axis is None:
        return rows
    axes = site.listed("axes", 1)
    if axes is None:
        if shape is None or site.has(1):
            return LOST
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    elif min(axes, default=0) < 0 and shape is None:
        return LOST
    gone = {site.from_front(axis, None if shape is None else len(shape)) for axis in axes}
    if rows.axis in gone:
        return LOST
    return replace(rows, axis=rows.axis - sum(axis < rows.axis for axis in gone))


def _flatten(site: Site) -> Rows | None:
    rows, axis = site.first, site.axis(1)
    if rows is None or rows.axis is None:
        return rows
    if rows.axis == 0 and axis == 1:
        return rows
    return Rows(0 if rows.axis < axis else 1, None, certain=rows.certain)


def _reshape(site: Site) -> Rows | None:
    rows, shape = site.first, site.shapes.of(site.node.input[0])
    if rows is None or rows.axis is None:
        return rows
    target = site.constant(1) if site.has(1) else site.attributes.get("shape")
    if target is None or rows.axis != 0 or not target or target[0] not in {-1, 0}:
        return LOST
    if target[0] == 0 and not site.attributes.get("allowzero"):
        return rows
    rest = None if shape is None else [size for size in shape[1:] if isinstance(size, int)]
    if shape is None or rest is None or len(rest) < len(shape) - 1 or rows.fold is None:
        return Rows(0, None, certain=False)
    per_row = rows.fold * prod(rest)
    wanted = prod(_kept(target, shape)[1:])
    if wanted <= 0 or per_row % wanted:
        return LOST
    return Rows(0, per_row // wanted, certain=rows.certain)


def _kept(target: list[int], shape: "tuple[int | str | None, ...]") -> list[int]:
    """The target, with zeros as the size of the input that they keep."""
    sizes = [*shape, *[0] * len(target)]
    return [
        size if size != 0 else (kept if isinstance(kept, int) else 0) for size, kept in zip(target, sizes, strict=False)
    ]


def _gather(site: Site) -> Rows | None:
    data, picked = site.inputs[0], site.inputs[1] if len(site.inputs) > 1 else None
    axis, ranks = site.axis(0), (site.rank(0), site.rank(1))
    if data is not None and data.alone:
        return picked if picked is not None and not picked.alone else ONE_ROW
    if data is None:
        if picked is None or picked.axis is None:
            return picked
        return Rows(axis + picked.axis, picked.fold, certain=picked.certain and axis >= 0)
    if data.axis is None or axis < 0:
        return LOST
    if data.axis == axis:
        site.report("may mix", axis)  # it picks rows by their position
        return LOST
    if data.axis < axis:
        return data if picked is None else unsure(data)
    return LOST if ranks[1] is None else replace(unsure(data) or LOST, axis=data.axis + ranks[1] - 1)


def _picked_columns(site: Site) -> Rows | None:
    """ArrayFeatureExtractor: along the last axis; labels picked by rows come out as [1, N]."""
    data, picked = site.inputs[0], site.inputs[1] if len(site.inputs) > 1 else None
    if data is None:
        return None if picked is None else Rows(1, 1, certain=False) if not picked.alone else ONE_ROW
    rank = site.rank()
    return unsure(data) if rank is not None and data.axis == rank - 1 else data


def _quantised(*places: int) -> Rule:
    """Element by element, of the inputs at these places; the others are scales and zero points."""
    return lambda site: aligned(site, list(places))


def _triangle(site: Site) -> Rows | None:
    """What is kept goes by the place on the last two axes."""
    rows, rank = site.first, site.rank()
    if rows is not None and not rows.alone and (rank is None or rows.axis is None or rows.axis >= rank - 2):
        site.report("may mix", rows.axis)
    return rows


def _concat(site: Site) -> Rows | None:
    out = aligned(site)
    ranks = {rank for index in range(len(site.inputs)) if (rank := site.rank(index)) is not None}
    axis = site.axis(1) if len(ranks) != 1 else site.from_front(int(site.attributes.get("axis", 1)), next(iter(ranks)))
    if out is not None and out.axis == axis and len(site.inputs) > 1:
        site.report("may mix", axis)
        return LOST
    return out


def _along(site: Site) -> Rows | None:
    """Cuts, pads or repeats: on another axis than the batch that changes nothing of it."""
    rows, backwards = site.first, site.constant(4)
    if rows is None or rows.axis is None:
        return rows
    turned = site.node.op_type == "Slice" and site.has(4) and (backwards is None or min(backwards) < 0)
    if BATCH in (site.shapes.of(site.node.output[0]) or ()) and not turned:
        return rows
    if not site.may_be_among(_worked_over(site), rows.axis):
        return rows
    site.report("may mix", rows.axis)
    return unsure(rows)


def _worked_over(site: Site) -> list[int] | None:
    """The axes that such an operator changes the length or the order of; None where that is not known."""
    given, kind = site.attributes, site.node.op_type
    if kind == "Slice":
        if "starts" in given:
            return list(given.get("axes", range(len(given["starts"]))))
        return site.constant(3) if site.has(3) else None
    if kind == "Split":
        return [int(given.get("axis", 0))]
    if kind == "Compress":
        return None if given.get("axis") is None else [int(given["axis"])]
    if kind == "ReverseSequence":
        return [int(given.get("batch_axis", 1)), int(given.get("time_axis", 0))]
    counts = given.get("pads") or site.constant(1)
    if counts and kind in {"Pad", "Tile"} and not site.has(3):
        idle, places = {"Pad": 0, "Tile": 1}[kind], len(counts) // (2 if kind == "Pad" else 1)
        return [index % places for index, count in enumerate(counts) if count != idle]
    return None


def _elements(site: Site) -> Rows | None:
    """Picks or puts by position: along another axis than the batch, each row from and into its own."""
    fed = [rows for rows in site.inputs if rows is not None]
    if not fed or all(rows.alone for rows in fed):
        return ONE_ROW if fed else None
    given, kind = site.attributes, site.node.op_type
    places = {rows.axis for rows in fed if not rows.alone}
    if site.first is None:
        places.update(site.shapes.batch_axes(site.node.input[0]) or [None])
    (axis,) = places if len(places) == 1 else (None,)
    if axis is None:
        site.report("may mix")
        return LOST
    if kind == "GatherND":
        harmless = axis < int(given.get("batch_dims", 0))
    else:
        harmless = kind != "ScatterND" and not site.may_be_among([int(given.get("axis", 0))], axis)
    if not harmless:
        site.report("may mix", axis)
    return Rows(axis, fed[0].fold, certain=harmless and all(rows.certain for rows in fed))


def _expand(site: Site) -> Rows | None:
    rows, rank, wanted = site.first, site.rank(), site.shapes.rank(site.node.output[0])
    if rows is None or rows.axis is None:
        return rows
    return LOST if rank is None or wanted is None else replace(unsure(rows) or LOST, axis=rows.axis + wanted - rank)


def _one_hot(site: Site) -> Rows | None:
    rows, rank = site.first, site.rank()
    if rows is None or rows.axis is None or rank is None:
        return rows if rows is None or rows.alone else LOST
    axis = site.from_front(int(site.attributes.get("axis", -1)), rank + 1)
    return replace(rows, axis=rows.axis + (axis <= rows.axis))


def _size(_: Site) -> Rows | None:
    return None


_SAME = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu", "Binarizer", "BitwiseNot", "Cast",
    "CastLike", "CategoryMapper", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Elu", "Erf", "Exp",
    "FastGelu", "FeatureVectorizer", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "Imputer", "IsInf",
    "IsNaN", "LabelEncoder", "LeakyRelu", "LinearClassifier", "LinearRegressor", "Log", "Mish", "Neg", "Not",
    "OneHotEncoder", "QLinearLeakyRelu", "QLinearSigmoid", "QuantizeLinear", "QuickGelu", "Reciprocal",
    "RegexFullMatch", "Relu", "Round", "SVMClassifier", "SVMRegressor", "Scaler", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "StringNormalizer", "StringSplit", "Swish", "Tan", "Tanh",
    "ThresholdedRelu", "Tokenizer", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
    "ZipMap",
)  # fmt: skip
_ALIGNED = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "StringConcat", "Sub", "Sum",
    "Where", "Xor",
)  # fmt: skip

MAKES_CONSTANTS = ("Shape", "Size", "EyeLike", "Range", "ConstantOfShape", "Constant")
"""What they make depends on the sizes of their inputs, or on sizes that are given to them."""

MOVING: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_ALIGNED, aligned),
    **dict.fromkeys(MAKES_CONSTANTS, _size),
    **dict.fromkeys(("Slice", "Pad", "Tile", "Split", "Compress", "ReverseSequence", "Resize", "Upsample"), _along),
    **dict.fromkeys(("GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter"), _elements),
    "ArrayFeatureExtractor": _picked_columns,
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "OneHot": _one_hot,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _quantised(0, 3)),
    "QLinearWhere": _quantised(0, 1, 4),
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
"""The rule of each operator, which gives the state of its first output from its inputs."""
