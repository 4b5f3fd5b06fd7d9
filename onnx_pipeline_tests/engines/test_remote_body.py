"""Bodies of requests: Arrow's buffers are sent from where they lie, and what arrives is one whole stream."""

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.engines.remote.arrow_wire import ArrowWire
from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.models import OnnxModel, output_columns
from onnx_pipeline.sample import MODELS


@pytest.mark.parametrize("sizes", [[], [0], [5], [70_000], [5, 6, 70_000, 0, 7, 80_000], [40_000] * 5, [70_000] * 2])
def test_the_parts_are_what_was_given_in_order(sizes: list[int]) -> None:
    parts = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
    body = Body.of(parts)
    assert (body.whole(), body.size) == (b"".join(parts), sum(sizes))
    assert [len(part) for part in body.parts if len(part) > 120_000] == []
    assert len(body.parts) <= 2 * sum(size > 64 * 1024 for size in sizes) + sum(sizes) // (64 * 1024) + 1


@pytest.mark.parametrize("count", [1, 1000, 40_000])
def test_large_columns_are_not_copied_and_the_stream_is_whole(count: int) -> None:
    model = OnnxModel.load(MODELS / "length_of_stay.onnx")
    binding = model.bind()
    layout = Layout.of(model, binding, output_columns(model.signature), {})
    generator = np.random.default_rng(1)
    values = [generator.normal(size=count).astype(np.float32) for _ in binding.columns]
    columns = [pa.array(each) for each in values]
    body = ArrowWire(layout).encode(columns, count)
    with pa.ipc.open_stream(pa.py_buffer(body.whole())) as reader:
        found = reader.read_all()
    assert found.column_names == list(layout.names)
    for column, each in zip(found.columns, values, strict=True):
        np.testing.assert_array_equal(column.to_numpy(), each)
    if count > 16 * 1024:
        sent = {pa.py_buffer(part).address for part in body.parts}
        assert {column.buffers()[1].address for column in columns} <= sent
