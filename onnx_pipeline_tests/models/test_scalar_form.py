"""Models as scalars: each form's answers, row by row, against plain ONNX Runtime on the bytes as they came."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, defs
from onnx.helper import make_node
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.scalar_form import ScalarForm, scalar_form
from onnx_pipeline.models.scalar_proof import prove

FLOAT, DOUBLE, STRING, BOOL, FLOAT16 = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.STRING, TensorProto.BOOL, TensorProto.FLOAT16,
)  # fmt: skip
INT64, INT32, INT8, UINT8, UINT32, UINT64 = (
    TensorProto.INT64, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT32, TensorProto.UINT64,
)  # fmt: skip
NAMES = list("abcd")
EDGES = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-38, 3.4028235e38, -3.4028235e38, 16777217.0], np.float32
)


def with_edges(rows):
    """The rows, and below them ones with each edge in each column."""
    edged = np.repeat(rows[:1], EDGES.size * rows.shape[1], axis=0)
    for place, column in enumerate(np.repeat(np.arange(rows.shape[1]), EDGES.size)):
        edged[place, column] = EDGES[place % EDGES.size]
    return np.vstack([rows[:40], edged])


class Formed:
    """A model and its form, proven by the code at hand."""

    def __init__(self, data, features=None, outputs=None):
        self.data, self.model = data, OnnxModel.from_bytes(data, options=RuntimeOptions(trust_models=True))
        self.binding = self.model.bind(features)
        self.outputs = output_columns(self.model.signature, outputs)
        self.form = scalar_form(
            self.model.normalised, self.model.signature, self.binding, self.outputs, sha256=self.model.sha256,
            may_miss=self.binding.columns,
        )  # fmt: skip
        self.answered = self.prove(self.form)

    def prove(self, form: ScalarForm) -> int:
        return prove(form, self.model.normalised, self.binding, self.outputs, RuntimeOptions())

    def answers(self, columns):
        """One array per prediction, from scalars alone; None in a column of floats is a missing value."""
        session = ort.InferenceSession(self.form.data, providers=["CPUExecutionProvider"])
        assert [tuple(tensor.shape) for tensor in (*session.get_inputs(), *session.get_outputs())] == [(1, 1)] * (
            len(session.get_inputs()) + len(session.get_outputs())
        )
        types = {tensor.name: tensor.type for tensor in session.get_inputs()}
        kinds = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32, "string": object}
        count = len(next(iter(columns.values())))
        found = [[] for _ in self.form.outputs]
        for row in range(count):
            feeds = {}
            for column in self.form.columns:
                assert types[column.name] == f"tensor({column.dtype})"
                value = columns[column.column][row]
                missing = column.there is not None and value != value
                feeds[column.name] = np.array([[0 if missing else value]], kinds[column.dtype])
                if column.there is not None:
                    feeds[column.there] = np.array([[0 if missing else 1]], kinds[column.dtype])
            given = {
                tensor.name: answer.item()
                for tensor, answer in zip(session.get_outputs(), session.run(None, feeds), strict=True)
            }
            for values, output in zip(found, self.form.outputs, strict=True):
                if output.is_number is not None:
                    assert np.isfinite(given[output.name]) and given[output.is_number] in (0, 1)
                values.append(np.nan if given.get(output.is_number) == 0 else given[output.name])
        return found


def assert_alike(found, truth):
    """Columns of plain ONNX Runtime's answers, in order."""
    flat = [column for values in truth for column in np.asarray(values).reshape(len(found[0]), -1).T]
    assert len(found) == len(flat)
    for values, wanted in zip(found, flat, strict=True):
        if wanted.dtype.kind == "f":
            # An infinite prediction is NULL in every target, as NaN is.
            values, wanted = (
                np.where(np.isfinite(each), each, np.nan) for each in (np.array(values, np.float64), wanted)
            )
            np.testing.assert_allclose(np.array(values, np.float64), wanted.astype(np.float64), rtol=1e-5, atol=1e-30)
        else:
            assert list(values) == wanted.tolist()


def of_rows(rows):
    return {name: rows[:, index] for index, name in enumerate(NAMES[: rows.shape[1]])}


def labels_of(rows):
    return np.array(["low", "mid", "high"])[np.digitize(rows[:, 0] + rows[:, 1], [-0.5, 0.5])]


ESTIMATORS = {
    "linear": lambda rows: LinearRegression().fit(rows, rows @ [1, 2, 3, 4]),
    "text labels": lambda rows: RandomForestClassifier(5, max_depth=4, random_state=0).fit(rows, labels_of(rows)),
    "imputed": lambda rows: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(
        rows, labels_of(rows)
    ),
    "network": lambda rows: MLPClassifier((5,), max_iter=20, random_state=0).fit(rows, labels_of(rows)),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_matrix_becomes_one_scalar_per_column_and_every_output_of_k_columns_k_scalars(name, rows, plain_run):
    options = {"zipmap": False} if name != "linear" else None
    data = to_onnx(ESTIMATORS[name](rows), rows[:1], options=options).SerializeToString()
    formed = Formed(data, NAMES)
    assert formed.answered == 9 * 32
    asked = with_edges(rows)
    assert_alike(formed.answers(of_rows(asked)), plain_run(data, {"X": asked}).values())


def test_zipmap_is_gone_and_its_classes_are_scalars(rows, plain_run):
    estimator = RandomForestClassifier(3, max_depth=3, random_state=0).fit(rows, labels_of(rows))
    data = to_onnx(estimator, rows[:1]).SerializeToString()
    formed = Formed(data, NAMES)
    assert [column.name for column in formed.outputs][1:] == [
        f"output_probability_{label}" for label in ("high", "low", "mid")
    ]
    labels, mappings = plain_run(data, {"X": rows[:30]}).values()
    columns = [np.array([mapping[label] for mapping in mappings], np.float32) for label in ("high", "low", "mid")]
    assert_alike(formed.answers(of_rows(rows[:30])), [labels, *columns])
    assert "ZipMap" not in {node.op_type for node in onnx.load_model_from_string(formed.form.data).graph.node}


def test_only_the_predictions_that_are_wanted_come_out_in_their_order(rows, plain_run):
    estimator = RandomForestClassifier(3, max_depth=3, random_state=0).fit(rows, labels_of(rows))
    data = to_onnx(estimator, rows[:1], options={"zipmap": False}).SerializeToString()
    formed = Formed(data, NAMES, {"p": "probabilities", "l": "label"})
    answers = plain_run(data, {"X": rows[:20]})
    assert_alike(formed.answers(of_rows(rows[:20])), [answers["probabilities"], answers["label"]])


def test_several_inputs_with_text(rows, plain_run):
    import pandas as pd

    words = np.array(["red", "green", "blue"], object)[np.arange(len(rows)) % 3]
    frame = pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "word": words})
    parts = [("n", StandardScaler(), ["a", "b"]), ("w", OneHotEncoder(handle_unknown="ignore"), ["word"])]
    fitted = make_pipeline(ColumnTransformer(parts), LinearRegression()).fit(frame, rows[:, 2])
    number, text = FloatTensorType([None, 1]), StringTensorType([None, 1])
    data = to_onnx(fitted, initial_types=[("a", number), ("b", number), ("word", text)]).SerializeToString()
    formed = Formed(data)
    asked = with_edges(rows[:, :2])
    texts = np.resize(np.array(["red", "blue", "", "unseen é", "green "], object), len(asked))
    truth = plain_run(data, {"a": asked[:, :1], "b": asked[:, 1:], "word": texts[:, None]})
    assert_alike(formed.answers({"a": asked[:, 0], "b": asked[:, 1], "word": texts}), truth.values())


CELLS = {
    "float": (FLOAT, EDGES), "double": (DOUBLE, np.array([1.7e308, np.nan, 0.1, -np.inf])),
    "float16": (FLOAT16, np.array([0.1, np.nan, 65504, -2e-8], np.float16)),
    "int64": (INT64, np.array([2**63 - 1, -(2**63), 2**53 + 1])), "int32": (INT32, np.array([2**31 - 1, -5], np.int32)),
    "int8": (INT8, np.array([-128, 127], np.int8)), "uint8": (UINT8, np.array([0, 255], np.uint8)),
    "uint32": (UINT32, np.array([2**32 - 1, 7], np.uint32)), "bool": (BOOL, np.array([True, False])),
    "string": (STRING, np.array(["", "a'b", "x "], object)),
}  # fmt: skip


@pytest.mark.parametrize("shape", [[None], [None, 1]], ids=["flat", "column"])
@pytest.mark.parametrize("dtype", CELLS)
def test_every_dtype_goes_in_and_comes_out_as_it_is(dtype, shape, make_model, plain_run):
    kind, values = CELLS[dtype]
    data = make_model([make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)])
    formed = Formed(data)
    fed = values if len(shape) == 1 else values[:, None]
    (truth,) = plain_run(data, {"x": fed}).values()
    (found,) = formed.answers({"x": values})
    assert_alike([np.array(found, object if dtype == "string" else values.dtype)], [truth])


@pytest.mark.parametrize("role", ["input", "output"])
def test_64_unsigned_bits_are_refused(role, make_model):
    kinds = (UINT64, INT64) if role == "input" else (INT64, UINT64)
    data = make_model(
        [make_node("Cast", ["x"], ["y"], to=kinds[1])], [("x", kinds[0], [None, 1])], [("y", kinds[1], [None, 1])]
    )
    with pytest.raises(UnsupportedModelError, match="uint64"):
        Formed(data)


def test_one_column_may_fill_several_places(make_model, plain_run):
    nodes = [
        make_node("Cast", ["n"], ["nf"], to=FLOAT),
        make_node("Concat", ["x", "nf"], ["all"], axis=1),
        make_node("ReduceSum", ["all", "axis"], ["y"]),
    ]
    inputs = [("x", FLOAT, [None, 2]), ("n", INT64, [None, 1])]
    data = make_model(nodes, inputs, [("y", FLOAT, [None, 1])], {"axis": np.array([1])})
    formed = Formed(data, {"x": ["a", "n"], "n": "n"})
    assert [(column.column, column.dtype) for column in formed.form.columns] == [("a", "float"), ("n", "int64")]
    a, n = np.array([0.5, -2], np.float32), np.array([3, 16777217])
    truth = plain_run(data, {"x": np.stack([a, n.astype(np.float32)], axis=1), "n": n[:, None]})
    assert_alike(formed.answers({"a": a, "n": n}), truth.values())


def test_a_column_of_two_dtypes_of_which_one_may_overflow_is_refused(make_model):
    nodes = [make_node("Cast", ["d"], ["df"], to=FLOAT), make_node("Add", ["df", "x"], ["y"])]
    data = make_model(nodes, [("x", FLOAT, [None, 1]), ("d", DOUBLE, [None, 1])], [("y", FLOAT, [None, 1])])
    with pytest.raises(UnsupportedModelError, match="column 'a' fills inputs of double and of float.*select it twice"):
        Formed(data, {"x": "a", "d": "a"})


def test_columns_that_move_nothing_are_not_there(rows, make_model, plain_run):
    data = make_model(
        [make_node("Gather", ["x", "place"], ["y"], axis=1)],
        [("x", FLOAT, [None, 4])], [("y", FLOAT, [None, 1])], {"place": np.array([2])},
    )  # fmt: skip
    formed = Formed(data, NAMES)
    bound = replace(formed.binding.inputs[0], unread=frozenset({0, 1, 3}))
    formed.binding = replace(formed.binding, inputs=(bound,))
    formed.form = scalar_form(
        formed.model.normalised, formed.model.signature, formed.binding, formed.outputs, sha256="", may_miss=()
    )
    assert [column.column for column in formed.form.columns] == ["c"]
    assert formed.prove(formed.form) == 9 * 32
    assert_alike(formed.answers({"c": rows[:9, 2]}), plain_run(data, {"x": rows[:9]}).values())


def test_names_of_the_model_are_met_by_none_that_is_made(make_model, plain_run):
    nodes = [make_node("Add", ["f1", "f0"], ["made0"]), make_node("Identity", ["made0"], ["p0"])]
    data = make_model(nodes, [("f1", FLOAT, [None, 1]), ("f0", FLOAT, [None, 1])], [("p0", FLOAT, [None, 1])])
    formed = Formed(data)
    one, two = np.array([1.5], np.float32), np.array([np.nan], np.float32)
    assert_alike(formed.answers({"f1": one, "f0": one}), [[3.0]])
    assert_alike(formed.answers({"f1": one, "f0": two}), [[np.float32("nan")]])


OFTEN = {7, 8, 9, 11, 13, 18, 21, defs.onnx_opset_version()}


@pytest.mark.parametrize(
    "opset",
    [
        opset if opset in OFTEN else pytest.param(opset, marks=pytest.mark.nightly)
        for opset in range(7, defs.onnx_opset_version() + 1)
    ],
)
def test_every_operator_set(opset, make_model, plain_run):
    """Arithmetic and a classifier's labels, whose forms of Cast, Reshape and Concat differ between sets."""
    nodes = [
        make_node("Mul", ["x", "w"], ["scaled"]),
        make_node("Identity", ["scaled"], ["y"]),
        make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        make_node("Identity", ["word"], ["spoken"]),
    ]
    inputs = [("x", FLOAT, [None, 3]), ("word", STRING, [None])]
    outputs = [("y", FLOAT, [None, 3]), ("best", INT64, [None]), ("spoken", STRING, [None])]
    try:
        data = make_model(nodes, inputs, outputs, {"w": np.array([[1, -2, 0.5]], np.float32)}, opset=opset, ml=1)
        ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - of the runtime, whatever it is
        pytest.skip(f"ONNX Runtime has no operator set {opset}: {error}")
    formed = Formed(data, {"x": ["a", "b", "c"]})
    x = np.array([[1, 2, 3], [np.nan, 0, np.inf], [5, 4, -3.4e38]], np.float32)
    words = np.array(["one", "", "é"], object)
    found = formed.answers({**dict(zip("abc", x.T, strict=True)), "word": words})
    assert_alike(found, plain_run(data, {"x": x, "word": words}).values())


@pytest.mark.parametrize("opset", range(1, 7))
def test_operator_sets_that_automated_ml_exported(opset, make_model, plain_run):
    """Microsoft's own example for PREDICT is of operator set 4: https://github.com/prlangad/Predict-New-York-Taxi-Trip-Amount"""
    nodes = [
        make_node("Imputer", ["x"], ["whole"], domain="ai.onnx.ml", imputed_value_floats=[7.0], replaced_value_float=np.nan),
        make_node(
            "LinearRegressor", ["whole"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, -2.0], intercepts=[0.5], targets=1
        ),
    ]  # fmt: skip
    data = make_model(nodes, [("x", FLOAT, [None, 2])], [("y", FLOAT, [None, 1])], opset=opset, ml=1)
    if opset < 4:
        # Concat came with operator set 4 to ONNX Runtime.
        with pytest.raises(UnsupportedModelError):
            Formed(data, ["a", "b"])
        return
    formed = Formed(data, ["a", "b"])
    x = np.array([[1, 2], [np.nan, 0], [3e38, 4], [-0.0, 1e-45]], np.float32)
    assert_alike(formed.answers({"a": x[:, 0], "b": x[:, 1]}), plain_run(data, {"x": x}).values())


def test_models_of_ml_operators_alone_get_the_operator_set_of_what_is_added(plain_run):
    graph = onnx.helper.make_graph(
        [make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[2.0, 0.5])], "graph",
        [onnx.helper.make_tensor_value_info("x", FLOAT, [None, 2])],
        [onnx.helper.make_tensor_value_info("y", FLOAT, [None, 2])],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("ai.onnx.ml", 1)]
    data = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=6).SerializeToString()
    x = np.array([[1, 2], [np.nan, 4]], np.float32)
    found = Formed(data, ["a", "b"]).answers({"a": x[:, 0], "b": x[:, 1]})
    assert_alike(found, plain_run(data, {"x": x}).values())


@pytest.mark.parametrize(
    "file", sorted(Path(__file__).parent.glob("exported/*_holed.onnx")), ids=lambda file: file.stem
)
def test_boosted_trees_of_other_libraries_keep_their_missing_values(file, plain_run):
    data = file.read_bytes()
    model = OnnxModel.from_bytes(data)
    width = model.signature.inputs[0].width
    rows = np.random.default_rng(0).normal(size=(60, width)).astype(np.float32)
    rows[np.random.default_rng(1).random(rows.shape) < 0.3] = np.nan
    names = [f"c{index}" for index in range(width)]
    formed = Formed(data, names)
    found = formed.answers(dict(zip(names, rows.T, strict=True)))
    truth = plain_run(data, {model.signature.inputs[0].name: rows}).values()
    assert_alike(found, [_unzipped(values) for values in truth])


def _unzipped(values):
    if isinstance(values, list):
        return np.array([list(mapping.values()) for mapping in values], np.float32)
    return values


def test_the_form_names_its_original_and_is_the_same_bytes_again(rows):
    data = to_onnx(LinearRegression().fit(rows, rows[:, 0]), rows[:1]).SerializeToString()
    formed, again = Formed(data, NAMES), Formed(data, NAMES)
    assert formed.form == again.form
    (entry,) = onnx.load_model_from_string(formed.form.data).metadata_props
    assert (entry.key, entry.value) == ("scalar_form_of", formed.model.sha256)
    onnx.checker.check_model(onnx.load_model_from_string(formed.form.data))


def test_a_form_that_answers_otherwise_is_not_proven(rows):
    data = to_onnx(LinearRegression().fit(rows, rows @ [1, 2, 3, 4]), rows[:1]).SerializeToString()
    formed = Formed(data, NAMES)
    first, second, *rest = formed.form.columns
    exchanged = (replace(first, name=second.name), replace(second, name=first.name), *rest)
    with pytest.raises(
        UnsupportedModelError, match=r"does not answer as the model does: variable is .* instead of .*a "
    ):
        formed.prove(replace(formed.form, columns=exchanged))
    deaf = onnx.load_model_from_string(formed.form.data)
    for node in deaf.graph.node:
        if node.op_type == "Div":
            node.op_type = "Mul"  # a missing value becomes 0
    with pytest.raises(UnsupportedModelError, match="does not answer as the model does"):
        formed.prove(replace(formed.form, data=deaf.SerializeToString()))


def test_a_model_that_refuses_what_is_made_up_is_not_proven(make_model):
    data = make_model(
        [make_node("Cast", ["word"], ["y"], to=FLOAT)], [("word", STRING, [None, 1])], [("y", FLOAT, [None, 1])]
    )
    with pytest.raises(UnsupportedModelError, match="refuses all but 0 of 288 made-up rows"):
        Formed(data)
