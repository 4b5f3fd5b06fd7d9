"""Support vector machines score and label as ONNX Runtime does."""

import numpy as np
import onnx
import pytest

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.graph import compile_graph
from onnx_pipeline.engines.sql.tensors import Tensor
from onnx_pipeline_tests.engines.sql.oracle import check
from onnx_pipeline_tests.engines.sql.single import matrix, single

KERNELS = {
    "LINEAR": [0.0, 0.0, 0.0],
    "POLY": [0.3, 1.0, 3.0],
    "RBF": [0.4, 0.0, 0.0],
    "SIGMOID": [0.2, -0.5, 0.0],
}
FEATURES = 3


def rows(count=300):
    random = np.random.default_rng(2)
    edges = np.array([[0.0] * 3, [1.0, 0, 0], [30.0, -30, 30], [-5.0] * 3])
    return np.vstack([random.normal(size=(count, FEATURES)), edges]).astype(np.float32)


def classifier(kernel, labels, *, probabilities=False, transform="NONE", params=None):
    random = np.random.default_rng(len(labels))
    vectors = [place + 2 for place in range(len(labels))]
    pairs = len(labels) * (len(labels) - 1) // 2
    texts = isinstance(labels[0], str)
    extra = {}
    if probabilities:
        extra = {"prob_a": (-1 - random.random(pairs)).tolist(), "prob_b": random.normal(size=pairs).tolist()}
    return single(
        "SVMClassifier",
        {"x": matrix("f", FEATURES)},
        {
            "label": ("s" if texts else "i", ["N"]),
            "scores": matrix("f", len(labels) if probabilities or len(labels) == 2 else pairs),
        },
        version=1,
        kernel_type=kernel,
        kernel_params=KERNELS[kernel] if params is None else params,
        support_vectors=random.normal(size=sum(vectors) * FEATURES).tolist(),
        vectors_per_class=vectors,
        coefficients=random.normal(size=sum(vectors) * (len(labels) - 1)).tolist(),
        rho=random.normal(size=pairs).tolist(),
        post_transform=transform,
        **{"classlabels_strings" if texts else "classlabels_ints": labels},
        **extra,
    )


@pytest.mark.parametrize("labels", [[4, 2], ["x", "y ", "Z"], [3, 1, 2, 0]])
@pytest.mark.parametrize("kernel", KERNELS)
def test_votes_of_pairs(kernel, labels):
    check(classifier(kernel, labels), rows(), absolute=1e-3 if kernel == "POLY" else 1e-5)


@pytest.mark.parametrize("labels", [[4, 2], ["x", "y ", "Z"], [3, 1, 2, 0]])
@pytest.mark.parametrize("kernel", ["LINEAR", "RBF"])
def test_probabilities(kernel, labels):
    check(classifier(kernel, labels, probabilities=True), rows(), absolute=1e-5)


@pytest.mark.parametrize("degree", [2.0, 4.0, 2.5])
def test_powers(degree):
    # A shift that keeps the base positive: of a negative one there is no power of 2.5.
    check(classifier("POLY", [0, 1], params=[0.1, 9.0, degree]), rows()[:300], absolute=1e-3)


@pytest.mark.parametrize("transform", ["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2]])
def test_transforms(labels, transform):
    check(classifier("RBF", labels, transform=transform), rows(), absolute=1e-5)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("labels", [["n", "p"], [5, 6, 7]])
def test_without_support_vectors(labels, positive):
    random = np.random.default_rng(8)
    weights = random.normal(size=len(labels) * FEATURES)
    model = single(
        "SVMClassifier",
        {"x": matrix("f", FEATURES)},
        {"label": ("s" if isinstance(labels[0], str) else "i", ["N"]), "scores": matrix("f", len(labels))},
        version=1,
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
        coefficients=(np.abs(weights) if positive else weights).tolist(),
        rho=[0.25],
        **{"classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": labels},
    )
    check(model, rows(), absolute=1e-5)


def regressor(kernel, *, count=5, **attributes):
    random = np.random.default_rng(4)
    held = {"support_vectors": random.normal(size=count * FEATURES).tolist(), "n_supports": count} if count else {}
    return single(
        "SVMRegressor",
        {"x": matrix("f", FEATURES)},
        {"y": matrix("f", 1)},
        version=1,
        kernel_type=kernel,
        kernel_params=KERNELS[kernel],
        coefficients=random.normal(size=count or FEATURES).tolist(),
        rho=[0.5],
        **held,
        **attributes,
    )


@pytest.mark.parametrize("attributes", [{}, {"one_class": 1}])
@pytest.mark.parametrize("kernel", KERNELS)
def test_regressions(kernel, attributes):
    check(regressor(kernel, **attributes), rows(), absolute=1e-3 if kernel == "POLY" else 1e-5)


def test_a_regression_without_support_vectors():
    check(regressor("LINEAR", count=0), rows(), absolute=1e-5)


def test_missing_values_make_missing_scores():
    data = rows()
    data[::4, 1] = np.nan
    check(regressor("RBF"), data, absolute=1e-5)


def refused(data, features=FEATURES):
    cells = [[algebra.column(f"c{place}", Kind.FLOAT) for place in range(features)]]
    with pytest.raises(NotCompilableError) as caught:
        compile_graph(onnx.load_model_from_string(data), {"x": Tensor.of_cells(cells, np.float32)}, ["scores"])
    return str(caught.value)


def test_too_many_support_vectors_are_refused():
    model = onnx.load_model_from_string(classifier("RBF", [0, 1]))
    held = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
    for name, value in (("support_vectors", [0.5] * 30_000), ("vectors_per_class", [5_000, 5_000])):
        held[name].CopyFrom(onnx.helper.make_attribute(name, value))
    message = refused(model.SerializeToString())
    assert "10000 support vectors of 3 features" in message
    assert "kind: onnxruntime" in message


def test_probabilities_of_many_classes_are_refused():
    assert "5 classes" in refused(classifier("RBF", [0, 1, 2, 3, 4], probabilities=True))
