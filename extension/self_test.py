"""Writes src/generated/self_test.hpp: a model that shows whether functions of ONNX Runtime are where they should be.

Run `.venv/bin/python extension/self_test.py` after a change here: a test fails until then.
"""

from pathlib import Path

HEADER = Path(__file__).parent / "src" / "generated" / "self_test.hpp"


def model() -> bytes:
    """`x [N, 2]` → `y [N, 1]` = 3 x0 - 2 x1, and `t [N]`, text that goes through; of an old opset, for old releases."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[3], [-2]], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["s"], ["t"])],
        "self_test",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2]),
            helper.make_tensor_value_info("s", TensorProto.STRING, [None]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("t", TensorProto.STRING, [None]),
        ],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="")
    helper.set_model_props(made, {"feature_names": '["a", "b"]'})
    return bytes(made.SerializeToString(deterministic=True))


def header() -> str:
    """The header's text."""
    content = model()
    lines = [", ".join(map(str, content[start : start + 24])) for start in range(0, len(content), 24)]
    rows = "\n".join(f"    {line}," for line in lines)
    return f"""\
// Made by extension/self_test.py, which says what the model computes: change it there.
// clang-format off
#pragma once

#include <array>

namespace onnx_sql {{

constexpr std::array<unsigned char, {len(content)}> self_test_model{{
{rows}
}};

}}  // namespace onnx_sql
"""


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
