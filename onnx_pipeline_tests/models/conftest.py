"""Small models, and plain ONNX Runtime as the truth that they are compared with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

MakeModel = Callable[..., bytes]
PlainRun = Callable[[bytes, Mapping[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """`make_model(nodes, inputs, outputs, weights)` → bytes; a tensor is `(name, elem_type, shape)`."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        inputs: Sequence[tuple[str, int, Sequence[Any]]],
        outputs: Sequence[tuple[str, int, Sequence[Any] | None]],
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        *,
        opset: int = 17,
        ml: int = 3,
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info(*tensor) for tensor in inputs],
            [helper.make_tensor_value_info(*tensor) for tensor in outputs],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        helper.set_model_props(model, dict(metadata or {}))
        return model.SerializeToString()

    return make


@pytest.fixture(scope="session")
def plain_run() -> PlainRun:
    """Answers of plain ONNX Runtime, by output name."""

    def run(model: bytes, feeds: Mapping[str, Any]) -> dict[str, Any]:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


@pytest.fixture(scope="session")
def rows() -> np.ndarray[Any, Any]:
    """300 x 4 float32."""
    return np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)
