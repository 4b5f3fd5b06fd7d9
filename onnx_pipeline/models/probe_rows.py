"""Made-up rows that exercise a model: for its output shapes, and for proving that two forms of it agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.models.protobuf import all_nodes
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Vocabulary", "probe_rows", "vocabulary"]

_MOST_VALUES = 4096
_FLOAT_EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e6, -1e6, 1e30, float("inf"), float("-inf"), float("nan"))
_INTEGER_EDGES = (0, 1, -1, 2, 7, 100, -100, 2**31 - 1)


@dataclass(frozen=True)
class Vocabulary:
    """Values that the model itself speaks of: thresholds of trees, categories of encoders."""

    floats: tuple[float, ...]
    integers: tuple[int, ...]
    strings: tuple[str, ...]


def vocabulary(model: "ModelProto") -> Vocabulary:
    """The thresholds and categories among the attributes of the model's nodes."""
    from onnx import numpy_helper

    floats: list[float] = []
    integers: list[int] = []
    strings: list[str] = []
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.name == "nodes_values":
                floats.extend(attribute.floats[:_MOST_VALUES])
            elif attribute.name in {"nodes_splits", "nodes_values_as_tensor"}:
                floats.extend(numpy_helper.to_array(attribute.t).reshape(-1)[:_MOST_VALUES].tolist())
            elif attribute.name in {"cats_int64s", "keys_int64s"}:
                integers.extend(attribute.ints[:_MOST_VALUES])
            elif attribute.name in {"cats_strings", "keys_strings", "pool_strings"}:
                strings.extend(word.decode() for word in attribute.strings[:_MOST_VALUES])
    return Vocabulary(tuple(floats), tuple(integers), tuple(strings) or ("a", "b", ""))


def probe_rows(
    inputs: Sequence[TensorSignature],
    widths: Sequence[int],
    words: Vocabulary,
    rows: int,
    *,
    wildness: int,
    seed: int,
) -> dict[str, np.ndarray[Any, Any]]:
    """Random tensors of `rows` rows.

    Wildness 0 is what any model takes, 1 lies around the model's own thresholds and categories, 2 adds NaN,
    infinities, huge and negative numbers.
    """
    random = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray[Any, Any]] = {}
    for tensor, width in zip(inputs, widths, strict=True):
        shape = (rows,) if len(tensor.shape) == 1 else (rows, width)
        kind = element_type(tensor.dtype, tensor=tensor.name)
        if tensor.dtype == "string":
            values: np.ndarray[Any, Any] = random.choice(np.array(words.strings, dtype=object), shape)
        elif tensor.dtype == "bool":
            values = random.random(shape) < 0.5
        elif tensor.dtype in {"float16", "float", "double"}:
            values = _floats(random, shape, words.floats, wildness)
        else:
            values = _integers(random, shape, words.integers, wildness)
            values = np.clip(values, np.iinfo(kind).min, min(np.iinfo(kind).max, 2**62))
        with np.errstate(over="ignore"):
            feeds[tensor.name] = values.astype(kind)
    return feeds


def _floats(
    random: np.random.Generator, shape: tuple[int, ...], thresholds: Sequence[float], wildness: int
) -> np.ndarray[Any, Any]:
    values = random.standard_normal(shape)
    if wildness == 0:
        return values
    values *= 10.0 ** random.integers(-2, 4, shape)
    if thresholds:
        near = random.choice(np.array(thresholds), shape)
        with np.errstate(invalid="ignore"):  # a threshold may be an infinity
            near = near + random.choice([-1.0, 0.0, 1.0], shape) * np.abs(near) * 1e-3
        values = np.where(random.random(shape) < 0.7, near, values)
    if wildness == 2:
        values = np.where(random.random(shape) < 0.2, random.choice(_FLOAT_EDGES, shape), values)
    return values


def _integers(
    random: np.random.Generator, shape: tuple[int, ...], categories: Sequence[int], wildness: int
) -> np.ndarray[Any, Any]:
    if wildness == 0:
        return random.choice(np.array(categories), shape) if categories else random.integers(0, 2, shape)
    values = random.integers(0, 10 ** random.integers(1, 4, shape))
    if categories:
        values = np.where(random.random(shape) < 0.8, random.choice(np.array(categories), shape), values)
    if wildness == 2:
        values = np.where(random.random(shape) < 0.2, random.choice(_INTEGER_EDGES, shape), values)
    return values
