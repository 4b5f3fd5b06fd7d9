"""LinearClassifier and LinearRegressor score and label as ONNX Runtime does."""

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

TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
TEXTS = ["no", "yes", "maybe", "it's", "d "]


def rows(columns=3, count=300, seed=3):
    """Random rows, and zeros, large numbers, ties and the powers at which a softmax would overflow."""
    random = np.random.default_rng(seed)
    edges = np.array([[0.0], [1.0], [-1.0], [1000.0], [-1000.0], [1e6], [1e-9]]) * np.ones((1, columns))
    return np.vstack([random.normal(size=(count, columns)), edges]).astype(np.float32)


def likely(count=300):
    """Rows whose scores are probabilities by and large: beyond 0 and 1 there is no quantile."""
    return np.abs(rows(count=count)[:count]) / 10


def tolerance(transform):
    """Near one half the steps of PROBIT cancel, and the last bit of a score shows."""
    return 2e-4 if transform == "PROBIT" else 1e-6


def classifier(scores, labels, transform, *, columns=3, coefficients=None, intercepts=None):
    random = np.random.default_rng(scores)
    texts = isinstance(labels[0], str)
    return single(
        "LinearClassifier",
        {"x": matrix("f", columns)},
        {"label": ("s" if texts else "i", ["N"]), "scores": matrix("f", max(scores, len(labels)))},
        coefficients=random.normal(size=scores * columns).tolist() if coefficients is None else coefficients,
        intercepts=random.normal(size=scores).tolist() if intercepts is None else intercepts,
        post_transform=transform,
        **{"classlabels_strings" if texts else "classlabels_ints": labels},
    )


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("labels", [[7, -3], [0, 1, 2], TEXTS[:2], TEXTS])
def test_a_row_of_coefficients_per_class(labels, transform):
    data = likely() if transform == "PROBIT" else rows()
    check(classifier(len(labels), labels, transform), data, absolute=tolerance(transform))


@pytest.mark.parametrize("transform", TRANSFORMS[:-1])
@pytest.mark.parametrize("labels", [[7, -3], TEXTS[:2]])
def test_one_row_of_coefficients_for_two_classes(labels, transform):
    check(classifier(1, labels, transform), rows())


def test_the_first_of_equal_scores_wins():
    ties = classifier(3, ["a", "b", "c"], "NONE", coefficients=[1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], intercepts=[0.0] * 3)
    check(ties, np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1], [2, 1, 2]], np.float32))


@pytest.mark.parametrize("kind", ["d", "i"])
def test_doubles_and_integers_are_read_as_float32(kind):
    data = rows().astype({"d": np.float64, "i": np.int64}[kind]) * 1000 + (1 if kind == "i" else 1e-9)
    model = single(
        "LinearClassifier",
        {"x": matrix(kind, 3)},
        {"label": ("i", ["N"]), "scores": matrix("f", 2)},
        coefficients=[0.25, -0.5, 1.0, 0.1, 0.2, 0.3],
        intercepts=[0.5, -0.5],
        classlabels_ints=[0, 1],
    )
    # ONNX Runtime adds up in float32: of terms of a million, a sum near zero has few digits.
    check(model, data, absolute=1e-6 * max(1, float(np.abs(data).max())))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("targets", [1, 3])
def test_regressions(targets, transform):
    random = np.random.default_rng(targets)
    model = single(
        "LinearRegressor",
        {"x": matrix("f", 3)},
        {"y": matrix("f", targets)},
        coefficients=random.normal(size=3 * targets).tolist(),
        intercepts=random.normal(size=targets).tolist(),
        post_transform=transform,
        targets=targets,
    )
    check(model, likely() if transform == "PROBIT" else rows(), absolute=tolerance(transform))


def test_intercepts_that_are_not_as_many_as_the_targets_are_left_out():
    model = single(
        "LinearRegressor", {"x": matrix("f", 2)}, {"y": matrix("f", 2)},
        coefficients=[1.0, 2.0, 3.0, 4.0], intercepts=[100.0], targets=2,
    )  # fmt: skip
    check(model, rows(2))


def test_missing_values_make_missing_scores():
    data = rows()
    data[::3, 1] = np.nan
    model = single(
        "LinearRegressor", {"x": matrix("f", 3)}, {"y": matrix("f", 1)}, coefficients=[1.0, 0.0, 3.0], intercepts=[1.0]
    )
    check(model, data)


def refused(**changes):
    """The message for a model that ONNX Runtime itself refuses, or gives what is left undefined for."""
    node = {"coefficients": [1.0] * 3, "intercepts": [0.5], "classlabels_ints": [0, 1], **changes}
    data = single("LinearClassifier", {"x": matrix("f", 3)}, {"l": ("i", ["N"]), "s": matrix("f", 2)}, **node)
    with pytest.raises(NotCompilableError) as caught:
        compile_graph(onnx.load_model_from_string(data), {"x": features(3)}, ["s"])
    return str(caught.value)


def features(count):
    return Tensor.of_cells([[algebra.column(f"c{place}", Kind.FLOAT) for place in range(count)]], np.float32)


def test_what_onnx_runtime_leaves_undefined_is_refused():
    assert "LinearClassifier 'it': " in refused(post_transform="PROBIT")
    assert "PROBIT" in refused(post_transform="PROBIT")
    assert "one score and 3 labels" in refused(classlabels_ints=[0, 1, 2])
    assert "5 coefficients for 1 scores of 3 features" in refused(coefficients=[1.0] * 5)
    assert "2 scores and 1 labels" in refused(coefficients=[1.0] * 6, intercepts=[1.0, 2.0], classlabels_ints=[1])


@pytest.mark.parametrize("scores", [2, 3])
def test_of_scores_that_are_missing_the_first_one_stands(scores):
    """Accepted by `nulls: nan`, a label beside NaN is ONNX Runtime's."""
    holed = rows(count=40)
    holed[:10, 1] = np.nan
    holed[10:14, 0] = np.inf
    check(classifier(scores, TEXTS[:scores], "NONE"), holed)
