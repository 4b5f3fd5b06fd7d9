"""The verdict on a model: in which form it runs, or why it cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import ModelError, UnsupportedModelError
from onnx_pipeline.models.batch_dependence import refusals
from onnx_pipeline.models.batch_dependence.examination import Examination
from onnx_pipeline.models.batch_dependence.forms import can_loop, row_by_row, with_a_spare_row
from onnx_pipeline.models.batch_dependence.refusals import named
from onnx_pipeline.models.batch_dependence.verdict import Cause, Verdict
from onnx_pipeline.models.probe_rows import Vocabulary
from onnx_pipeline.models.runtime import RuntimeOptions, open_session
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    import onnxruntime as ort
    from onnx import ModelProto

__all__ = ["Examined", "examine"]

_SIZES = (3, 5)
"""Two sizes: an output with three rows for three and for five holds no row per input row."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Examined:
    """The model in the form that runs."""

    data: bytes
    session: "ort.InferenceSession"
    fixed_batch: int | None
    """Rows that each call must have; None where any number goes."""
    shapes: Shapes | None
    """Of the outputs, for some rows; None where no made-up rows could be run."""
    verdict: Verdict


def examine(
    model: "ModelProto",
    data: bytes,
    inputs: Sequence[TensorSignature],
    widths: Sequence[int] | None,
    words: Vocabulary,
    causes: Sequence[Cause],
    fixed_batch: int | None,
    options: RuntimeOptions,
    *,
    source: str,
) -> Examined:
    """Chooses the form in which each row has one answer, and proves it on made-up rows.

    `data` is the model serialised, `causes` what `structural_causes` found, `widths` the columns of each input,
    None where they are not known, so that nothing can be run. Raises UnsupportedModelError, InvalidModelError
    or RuntimeUnavailableError.
    """
    quantised = [cause for cause in causes if cause.kind == "quantises"]
    looped = _looped(model, fixed_batch, causes)
    if looped is None and fixed_batch is None and quantised:
        looped = _looped_by_trying(model, data, inputs, widths, words, options, source)
        if looped is None:
            raise refusals.quantised(source, quantised)
    if looped is not None:
        data, fixed_batch = looped.SerializeToString(deterministic=True), None
        verdict = Verdict("one row at a time", tuple(causes), (_why_one_row(quantised),))
    elif fixed_batch == 1:
        verdict = Verdict("one row at a time", tuple(causes), (_why_one_row(quantised),))
    else:
        verdict = Verdict("as it is", tuple(causes))
    found = Examined(data, open_session(data, options, source=source, quiet=True), fixed_batch, None, verdict)
    if widths is None:
        return _unproven(found, "an input of unknown width leaves nothing to try it on")
    look = Examination(found.session, inputs, widths, words, source)
    if fixed_batch:
        return replace(found, shapes=_checked(look, fixed_batch, source))
    shapes = _several(look, source)
    if shapes is None:
        return _once(found, look, model, options)
    one = look.shapes(1)
    if one is None or any(shape != (1, *shapes[name][1:]) for name, shape in one.items()):
        found = _spared(model, {name: len(shape) for name, shape in shapes.items()}, options, source, causes)
        look = replace(look, session=found.session)
    may_mix = (
        [cause for cause in causes if cause.kind == "may mix"] if found.verdict.form != "one row at a time" else []
    )
    unproven = look.refuse_mixing(model, may_mix, options)
    found = replace(found, shapes=shapes)
    return found if unproven is None else _unproven(found, unproven)


def _looped(model: "ModelProto", fixed_batch: int | None, causes: Sequence[Cause]) -> "ModelProto | None":
    """The model as a loop over its rows, where it has to see them one at a time."""
    if not can_loop(model) or not (fixed_batch == 1 or any(cause.kind == "quantises" for cause in causes)):
        return None
    ranks = _declared_ranks(model)
    return None if ranks is None else row_by_row(model, ranks)


def _looped_by_trying(
    model: "ModelProto",
    data: bytes,
    inputs: Sequence[TensorSignature],
    widths: Sequence[int] | None,
    words: Vocabulary,
    options: RuntimeOptions,
    source: str,
) -> "ModelProto | None":
    """The model as a loop, by the shapes that its outputs have for one row; None where it takes no made-up rows."""
    if widths is None or not can_loop(model):
        return None
    one = Examination(open_session(data, options, source=source, quiet=True), inputs, widths, words, source).shapes(1)
    if one is None or any(shape[:1] != (1,) or len(shape) > 2 for shape in one.values()):
        return None
    return row_by_row(model, {name: len(shape) for name, shape in one.items()})


def _declared_ranks(model: "ModelProto") -> Mapping[str, int] | None:
    from onnx import shape_inference

    ranks = {}
    if not all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        try:
            model = shape_inference.infer_shapes(model)
        except (shape_inference.InferenceError, ValueError, RuntimeError):
            return None  # it gives up on models that ONNX Runtime takes
    for value in model.graph.output:
        if not value.type.tensor_type.HasField("shape"):
            return None
        ranks[value.name] = len(value.type.tensor_type.shape.dim)
    return ranks


def _why_one_row(quantised: Sequence[Cause]) -> str:
    if not quantised:
        return "runs one row at a time, as it was exported: with more rows in a call its answers differ"
    return (
        f"runs one row at a time, some 14 µs a row: {named(quantised)} takes its scale from all rows of a call; "
        "static quantisation makes it faster"
    )


def _several(look: Examination, source: str) -> Shapes | None:
    shapes: Shapes | None = None
    for rows in _SIZES:
        shapes = _checked(look, rows, source)
        if shapes is None:
            return None
    return shapes


def _checked(look: Examination, rows: int, source: str) -> Shapes | None:
    """The shapes for some rows. Raises UnsupportedModelError where an output does not hold one row for each."""
    shapes = look.shapes(rows)
    for name, shape in (shapes or {}).items():
        if len(shape) not in {1, 2} or shape[0] != rows:
            raise UnsupportedModelError(
                f"output {name!r} of {source} has the shape {list(shape)} for {rows} rows, so its values "
                "belong to no row; export the model without it, or with one row per input row"
            )
    return shapes


def _once(found: Examined, look: Examination, model: "ModelProto", options: RuntimeOptions) -> Examined:
    """Several ordinary rows were refused: the values may be the reason, or that there were several."""
    one = look.shapes_one_by_one(_SIZES[0])
    if one is None or not can_loop(model) or any(shape[:1] != (1,) or len(shape) > 2 for shape in one.values()):
        return _unproven(found, "the model refuses made-up rows")
    looped = row_by_row(model, {name: len(shape) for name, shape in one.items()})
    data = looped.SerializeToString(deterministic=True)
    remark = "runs one row at a time, as it fails with more in a call; export it with a dynamic batch dimension"
    verdict = Verdict("one row at a time", found.verdict.causes, (remark,))
    again = Examined(data, open_session(data, options, source=look.source, quiet=True), None, None, verdict)
    return replace(again, shapes=_several(replace(look, session=again.session), look.source))


def _spared(
    model: "ModelProto", ranks: Mapping[str, int], options: RuntimeOptions, source: str, causes: Sequence[Cause]
) -> Examined:
    """The model with a spare row. Raises ModelError where that does not help either."""
    data = with_a_spare_row(model, ranks).SerializeToString(deterministic=True)
    remark = (
        "a call never has fewer than two rows: with one it fails or loses a dimension (a Squeeze without axes?), so "
        "the last row is repeated and its second answer cut off"
    )
    try:
        session = open_session(data, options, source=source, quiet=True)
    except ModelError as error:
        raise UnsupportedModelError(
            f"{source} fails with one row or loses a dimension of its output, and cannot be padded ({error}); "
            "export it with the axes of its Squeeze stated"
        ) from error
    return Examined(data, session, None, None, Verdict("a spare row", tuple(causes), (remark,)))


def _unproven(found: Examined, why: str) -> Examined:
    doubtful = [cause for cause in found.verdict.causes if cause.kind == "may mix"]
    if not doubtful:
        return found
    remark = f"{named(doubtful)} may work over the batch, which nothing could prove or disprove: {why}"
    return replace(found, verdict=replace(found.verdict, remarks=(*found.verdict.remarks, remark)))
