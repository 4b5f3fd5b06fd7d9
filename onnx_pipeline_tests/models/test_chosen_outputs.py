"""Outputs chosen by `outputs`: of a classifier one class, and of a model those that have a form as columns."""

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from onnx_pipeline.base.errors import SignatureError, UnsupportedModelError
from onnx_pipeline.models.onnx_model import OnnxModel

ROWS = np.random.default_rng(5).normal(size=(60, 2)).astype(np.float32)
CLASSES = np.array(["A", "a", "b"])[np.arange(60) % 3]
TABLE = pa.table({"x": ROWS[:, 0], "y": ROWS[:, 1]})


@pytest.fixture(scope="module")
def classifier() -> tuple[LogisticRegression, OnnxModel]:
    """Three classes, of which two are one to a database."""
    from skl2onnx import to_onnx

    trained = LogisticRegression().fit(ROWS, CLASSES)
    made = to_onnx(trained, ROWS[:1], target_opset=17)
    return trained, OnnxModel.from_bytes(made.SerializeToString())


def test_classes_that_a_database_cannot_tell_apart_are_named_one_by_one_as_the_error_says(
    classifier: tuple[LogisticRegression, OnnxModel],
) -> None:
    trained, model = classifier
    (_, output) = (each.name for each in model.signature.outputs)
    with pytest.raises(SignatureError) as raised:
        model.score(TABLE, features=["x", "y"])
    remedy = f"outputs: {{<column>: '{output}[A]', <column>: '{output}[a]'}}, with all that you want to keep"
    assert remedy in str(raised.value)
    chosen = {"upper": f"{output}[A]", "lower": f"{output}[a]"}
    found = model.score(TABLE, features=["x", "y"], outputs=chosen)
    assert found.column_names == ["upper", "lower"]
    truth = trained.predict_proba(ROWS)
    np.testing.assert_allclose(found["upper"].to_numpy(), truth[:, 0], atol=1e-6)
    np.testing.assert_allclose(found["lower"].to_numpy(), truth[:, 1], atol=1e-6)


def test_a_class_that_there_is_not_is_refused(classifier: tuple[LogisticRegression, OnnxModel]) -> None:
    _, model = classifier
    with pytest.raises(SignatureError, match=r"the model has no such output"):
        model.score(TABLE, features=["x", "y"], outputs={"c": f"{model.signature.outputs[1].name}[c]"})


def with_cube(*names: str) -> bytes:
    """Of those outputs: `sum` is x + y, and `cube` has rank 3."""
    nodes = [
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("Unsqueeze", ["x", "axes"], ["cube"]),
    ]
    shapes = {"sum": ["N", 1], "cube": ["N", 1, 1]}
    graph = helper.make_graph(
        nodes,
        "cube",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1]) for name in ("x", "y")],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]) for name in names],
        [numpy_helper.from_array(np.array([2], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_an_output_without_a_form_as_columns_is_left_out_by_outputs_and_never_silently() -> None:
    model = OnnxModel.from_bytes(with_cube("cube", "sum"))
    found = model.score(TABLE, outputs={"total": "sum"})
    np.testing.assert_allclose(found["total"].to_numpy(), ROWS.sum(axis=1), rtol=1e-6)
    for outputs in (None, {"total": "sum", "cube": "cube"}):
        with pytest.raises(
            SignatureError, match=r"output 'cube' .* has rank 3 .*leave it out by outputs: \{sum: sum\}"
        ):
            model.score(TABLE, outputs=outputs)
    assert any("left out: output 'cube'" in change for change in model.changes)


def test_a_model_of_which_no_output_has_a_form_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="output 'cube' of the model has rank 3"):
        OnnxModel.from_bytes(with_cube("cube"))
