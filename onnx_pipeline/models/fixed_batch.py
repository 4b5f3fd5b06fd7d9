"""A batch dimension that the exporter fixed: made symbolic where that is proven to change no answer.

A fixed batch of 1 was measured at 13.6 µs a row, which is 41 s for 3M rows.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.base.errors import DataError, ModelError, UnsupportedModelError
from onnx_pipeline.models.labels import constant_values
from onnx_pipeline.models.probe_rows import Vocabulary, probe_rows
from onnx_pipeline.models.runtime import RuntimeOptions, open_session, run
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    import onnxruntime as ort
    from onnx import ModelProto

__all__ = ["free_batch", "free_quantised_batch"]

Feeds = Mapping[str, np.ndarray[Any, Any]]

_LEAST_PROOF_ROWS = 32
_BLOCKS_PER_WILDNESS = 3
_ROWS_PER_WILDNESS = 128


def free_batch(
    model: "ModelProto",
    inputs: Sequence[TensorSignature],
    widths: Sequence[int],
    words: Vocabulary,
    batch: int,
    options: RuntimeOptions,
    *,
    source: str,
) -> tuple["ModelProto", int | None, str]:
    """The model with a symbolic batch, None and a sentence; or the model as it was, `batch` and a sentence.

    Proof: the original answers made-up rows block by block (random ones, ones around its own thresholds and
    categories, NaN, infinities, extremes), the changed model answers them in batches of other sizes, and
    labels are equal and floats within 1e-5. Raises UnsupportedModelError for a model whose answer for a row
    depends on the rows beside it: no way of batching gives such a model one answer per row.
    """
    original = open_session(model.SerializeToString(), options, source=source, quiet=True)
    names = [output.name for output in original.get_outputs()]
    blocks = _blocks(inputs, widths, words, batch)
    answered = [(feeds, answers) for feeds in blocks if (answers := _answers(original, names, feeds)) is not None]
    kept = f"the batch of {batch} stays fixed ({{why}}): the last batch is padded by repeating its last row"
    if len(answered) * batch < min(_LEAST_PROOF_ROWS, len(blocks) * batch):
        return (
            model,
            batch,
            kept.format(why="the model refuses most made-up rows, so nothing could be proven"),
        )
    rows = {tensor.name: np.concatenate([feeds[tensor.name] for feeds, _ in answered]) for tensor in inputs}
    truth = [np.concatenate(parts) for parts in zip(*(answers for _, answers in answered), strict=True)]
    total = batch * len(answered)
    if any(values.shape[:1] != (total,) for values in truth):
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in zip(names, answered[0][1], strict=True))
        raise UnsupportedModelError(
            f"{source} takes {batch} rows a call, but not every output holds one row for each ({shapes}); "
            "export it with a batch dimension in every output"
        )
    _refuse_mixing(original, names, rows, truth, batch, source)
    for candidate in _candidates(model, batch):
        if _agrees(candidate, names, rows, truth, batch, options):
            return (
                candidate,
                None,
                f"the batch of {batch} made dynamic: equal answers on {total} made-up rows",
            )
    return model, batch, kept.format(why="with another one the answers differ or the graph does not run")


def free_quantised_batch(
    model: "ModelProto",
    inputs: Sequence[TensorSignature],
    widths: Sequence[int],
    words: Vocabulary,
    batch: int,
    options: RuntimeOptions,
    *,
    source: str,
) -> tuple["ModelProto", int | None, str]:
    """`free_batch` for a model that takes one scale from all rows of a call: its answer for a row is that for a
    call of this row alone, repeated. The model that is given back runs one row at a time.

    Raises UnsupportedModelError where the batch cannot be freed: nothing less has one answer per row.
    """
    if batch == 1:
        return model, 1, "the batch of 1 stays: its scale is that of the row"
    original = open_session(model.SerializeToString(), options, source=source)
    names = [output.name for output in original.get_outputs()]
    rows = probe_rows(inputs, widths, words, _LEAST_PROOF_ROWS, wildness=0, seed=0)
    singles = [{name: values[row : row + 1] for name, values in rows.items()} for row in range(_LEAST_PROOF_ROWS)]
    repeated = [{name: np.repeat(value, batch, axis=0) for name, value in single.items()} for single in singles]
    truth = [_answers(original, names, block) for block in repeated]
    for candidate in _candidates(model, batch):
        try:
            session = open_session(candidate.SerializeToString(), options)
        except ModelError:
            continue
        answers = [_answers(session, names, single) for single in singles]
        if all(
            wanted is not None
            and found is not None
            and all(_equal(one, many[:1]) for one, many in zip(found, wanted, strict=True))
            for found, wanted in zip(answers, truth, strict=True)
        ):
            return candidate, None, f"the batch of {batch} made dynamic: equal answers on {len(singles)} made-up rows"
    raise UnsupportedModelError(
        f"{source} takes {batch} rows a call and quantises them by one scale (DynamicQuantizeLinear), so its "
        "answer for a row depends on the rows beside it; export it with a dynamic batch, which is run one row "
        "at a time"
    )


def _blocks(
    inputs: Sequence[TensorSignature], widths: Sequence[int], words: Vocabulary, batch: int
) -> list[dict[str, np.ndarray[Any, Any]]]:
    count = max(_BLOCKS_PER_WILDNESS, _ROWS_PER_WILDNESS // batch)
    return [
        probe_rows(inputs, widths, words, batch, wildness=wildness, seed=1000 * wildness + block)
        for wildness in range(3)
        for block in range(count)
    ]


def _answers(session: "ort.InferenceSession", names: Sequence[str], feeds: Feeds) -> list[np.ndarray[Any, Any]] | None:
    """None where the model refuses the rows: unknown categories, indices out of range."""
    try:
        return [np.asarray(answer) for answer in run(session, names, feeds)]
    except DataError:
        return None


def _refuse_mixing(
    original: "ort.InferenceSession",
    names: Sequence[str],
    rows: Feeds,
    truth: Sequence[np.ndarray[Any, Any]],
    batch: int,
    source: str,
) -> None:
    if batch == 1:
        return
    total = len(truth[0])
    order = np.random.default_rng(0).permutation(total)
    for start in range(0, total, batch):
        chosen = order[start : start + batch]
        answers = _answers(original, names, {name: values[chosen] for name, values in rows.items()})
        if answers is None:
            continue
        if not all(_equal(answer, values[chosen]) for answer, values in zip(answers, truth, strict=True)):
            raise UnsupportedModelError(
                f"{source} takes {batch} rows a call, and its answer for a row depends on the rows beside it "
                "(a mean or a softmax over the batch?), so no row has one answer; export the model with a "
                "dynamic batch dimension and operators that work row by row"
            )


def _candidates(model: "ModelProto", batch: int) -> "list[ModelProto]":
    free = _with_dynamic_batch(model)
    reshaped = _with_dynamic_batch(model)
    return [free, reshaped] if _free_reshapes(reshaped, batch) else [free]


def _with_dynamic_batch(model: "ModelProto") -> "ModelProto":
    changed = type(model)()
    changed.CopyFrom(model)
    weights = {tensor.name for tensor in changed.graph.initializer}
    for value in (*changed.graph.input, *changed.graph.output):
        shape = value.type.tensor_type.shape
        if value.name not in weights and shape.dim:
            shape.dim[0].dim_param = "batch"
    # Shapes that the exporter inferred for the fixed batch; ONNX Runtime infers them again.
    del changed.graph.value_info[:]
    return changed


def _free_reshapes(model: "ModelProto", batch: int) -> bool:
    """Lets Reshape nodes to `[batch, ...]` infer their first dimension; says whether there was one."""
    from onnx import numpy_helper

    found = False
    for index, node in enumerate(model.graph.node):
        shape = constant_values(model.graph, node.input[1]) if node.op_type == "Reshape" else None
        if not shape or shape[0] != batch:
            continue
        # One dimension may be -1; where another one is already, 0 copies the first dimension of what goes in.
        free = np.array([0 if -1 in shape[1:] else -1, *shape[1:]], dtype=np.int64)
        name = f"{node.input[1]}/dynamic_batch_{index}"
        model.graph.initializer.append(numpy_helper.from_array(free, name))
        node.input[1] = name
        found = True
    return found


def _agrees(
    candidate: "ModelProto",
    names: Sequence[str],
    rows: Feeds,
    truth: Sequence[np.ndarray[Any, Any]],
    batch: int,
    options: RuntimeOptions,
) -> bool:
    try:
        session = open_session(candidate.SerializeToString(), options, quiet=True)
    except ModelError:
        return False  # the graph holds together for its own batch only, so it keeps it
    total = len(truth[0])
    for count in sorted({1, min(batch + 1, total), total}):
        answers = _answers(session, names, {name: values[:count] for name, values in rows.items()})
        if answers is None:
            return False
        if not all(_equal(answer, values[:count]) for answer, values in zip(answers, truth, strict=True)):
            return False
    return True


def _equal(answer: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> bool:
    if answer.shape != truth.shape or answer.dtype != truth.dtype:
        return False
    if not np.issubdtype(truth.dtype, np.floating):
        return bool(np.array_equal(answer, truth))
    tolerance = 1e-3 if truth.dtype == np.float16 else 1e-5
    return bool(np.allclose(answer, truth, rtol=tolerance, atol=tolerance * 0.1, equal_nan=True))
