"""Ensembles by hand: every mode, transform and aggregate gives what ONNX Runtime gives."""

import numpy as np
import pytest

from onnx_pipeline_tests.engines.sql.ensembles import classifier, ensemble, regressor, stump
from onnx_pipeline_tests.engines.sql.oracle import check

TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
STEP = np.float32(0.5)
AROUND = np.array(
    [[0.5], [np.nextafter(STEP, np.float32(1))], [np.nextafter(STEP, np.float32(0))], [-1], [np.inf], [-np.inf], [np.nan]],
    np.float32,
)  # fmt: skip
SIDES = np.array([[-1], [1], [np.nan]], np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tracks", [False, True])
def test_modes(mode, tracks):
    trees = [
        stump(0.5, (1, 2), mode=mode, tracks=tracks),
        stump(np.inf, (10, 20), mode=mode),
        stump(-np.inf, (100, 200), mode=mode),
    ]
    check(regressor(trees), AROUND)
    check(regressor([stump(np.nan, (1, 2), mode=mode, tracks=tracks)]), AROUND)


def test_modes_mixed_and_many_tests_of_one_column():
    modes = [MODES[place % 6] for place in range(24)]
    trees = [
        stump(0.5 * (place % 3), (1 << place, 0), mode=mode, tracks=place % 4 == 0) for place, mode in enumerate(modes)
    ]
    check(regressor(trees), AROUND)
    largest = float(np.finfo(np.float32).max)
    edges = [
        stump(edge, (1 << place, 0), tracks=place % 2 == 0)
        for place, edge in enumerate([0, 1, 2, largest, -largest] * 4)
    ]
    check(regressor(edges), np.vstack([AROUND, [[largest], [-largest]]]).astype(np.float32))


def test_missing_values_tracked_by_the_second_tree_alone_and_by_a_short_list():
    second = [stump(0, (1, 2)), stump(0, (10, 20), tracks=True)]
    check(regressor(second), SIDES)
    check(regressor(second, nodes_missing_value_tracks_true=[1]), SIDES)
    check(regressor(second, nodes_missing_value_tracks_true=[2, 0, 0, 1]), SIDES)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_regressors(aggregate, transform):
    one = [stump(0, (0.1, 0.2)), stump(0, (0.4, 0.3)), stump(2, (0.25, 0))]
    check(regressor(one, aggregate_function=aggregate, post_transform=transform), SIDES)
    two = [stump(0, (0.1, None), (None, 0.2)), stump(0, (-0.1, 0.3)), stump(2, (0.3, 0.2), (0.7, 0.1))]
    for base in ([], [0.1, 0.2]):
        options = {"base_values": base} if base else {}
        check(regressor(two, targets=2, aggregate_function=aggregate, post_transform=transform, **options), SIDES)
        check(regressor(two[:2], targets=2, aggregate_function=aggregate, post_transform=transform, **options), SIDES)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("base", [None, [0.3], [0.2, 0.4]])
def test_classifiers_of_two(transform, base):
    options = {"post_transform": transform, **({"base_values": base} if base else {})}
    columns = {
        "positive": [stump(0, (0.2, 0.9))],
        "positive forest": [stump(0, (0.1, 0.4)), stump(1, (0.1, 0.5))],
        "negative": [stump(0, (-0.2, 0.9)), stump(0, (0.1, 0))],
        "of class 1": [stump(0, (None, None), (0.2, 0.9))],
        "both": [stump(0, (0.2, 0.9), (0.8, -0.1))],
    }
    if base is None or len(base) == 2:
        columns["one or the other"] = [stump(0, (0.2, None), (None, 0.8))]
    for place, trees in enumerate(columns.values()):
        check(classifier(trees, [10, 20], **options), SIDES)
        if transform == "NONE" and place % 2:
            check(classifier(trees, ["a", "b"], **options), SIDES)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_classifiers_of_many_and_of_one(transform):
    rows = np.array([[-1], [1], [3], [np.nan]], np.float32)
    forest = [stump(0, (0.2, 0.9), (0.3, 0.05), (0.5, 0.05)), stump(2, (0.1, 0.2), (0.8, 0.1), (0.1, 0.7))]
    partial = [stump(0, (-0.2, None), (None, None), (None, -0.8)), stump(2, (-0.1, -0.3))]
    for trees in (forest, partial, forest[:1], partial[:1]):
        for base in ({}, {"base_values": [0.1, 0.2, 0.3]}):
            check(classifier(trees, ["x", "", "z"] if base else [7, 8, 9], post_transform=transform, **base), rows)
    check(classifier([stump(0, (0.2, 0.8))], [7], post_transform=transform, base_values=[0.1]), rows)


@pytest.mark.parametrize("trees", [2, 4, 10, 20, 22, 50, 100, 118])
def test_ties_of_votes(trees):
    """Half of the trees vote for each class: added up in float32, the sum of 20 is beyond one half."""
    vote = float(np.float32(1 / trees))
    halves = [stump(0, (vote * (place % 2), 0.0)) for place in range(trees)]
    check(classifier(halves, [0, 1]), SIDES)
    both = [
        stump(0, *((vote if (place + side) % 3 == 0 else 0.0, vote) for side in range(3))) for place in range(trees)
    ]
    check(classifier(both, ["a", "b", "c"]), SIDES)


@pytest.mark.parametrize("margin", [1000.0, -1000.0, 88.0, -104.0, 0.0])
def test_margins_do_not_overflow(margin):
    check(classifier([stump(0, (margin, -margin))], [0, 1], post_transform="LOGISTIC"), SIDES)
    three = [stump(0, (margin, 0.0), (-margin, 1.0), (margin / 2, -1.0))]
    for transform in ("SOFTMAX", "LOGISTIC"):
        check(classifier([*three, stump(0, (0.0, 0.5))], [0, 1, 2], post_transform=transform), SIDES)


def test_trees_of_one_leaf_and_trees_that_are_graphs():
    check(regressor([[(0, 3.5)]]), SIDES)
    check(regressor([[(0, 3.5)], stump(0, (1, 2)), [(0, 0.25), (1, 2.0)]], targets=2), SIDES)
    check(classifier([[(0, 0.2), (1, 0.5), (2, 0.3)]], ["a", "b", "c"]), SIDES)
    # Of each branch "true" leads to where "false" of the next one leads as well: a hundred million ways in all.
    branches = 40
    ids = range(branches + 2)
    ladder = {
        "nodes_treeids": [0] * len(ids),
        "nodes_nodeids": list(ids),
        "nodes_featureids": [place % 2 for place in ids],
        "nodes_modes": ["BRANCH_LEQ"] * branches + ["LEAF"] * 2,
        "nodes_values": [0.1 * (place % 7) - 0.3 for place in ids],
        "nodes_truenodeids": [place + 2 if place < branches else 0 for place in ids],
        "nodes_falsenodeids": [place + 1 if place < branches else 0 for place in ids],
        "nodes_missing_value_tracks_true": [int(place % 3 == 0) for place in ids],
        "target_treeids": [0, 0], "target_nodeids": [branches, branches + 1], "target_ids": [0, 0],
        "target_weights": [5.0, 7.0],
    }  # fmt: skip
    rows = np.random.default_rng(3).normal(size=(200, 2)).astype(np.float32)
    rows[::5, 0] = np.nan
    check(regressor([stump(0, (1, 2))], columns=2, **ladder), rows)


@pytest.mark.parametrize("dtype", ["d", "i"])
def test_doubles_and_whole_numbers(dtype):
    near = np.array([0.1, float(np.float32(0.1)), np.nextafter(0.1, 1), 0.7, 16777217.0, 16777216.0, -3.0])
    rows = near[:, None] if dtype == "d" else np.array([[0], [1], [16777216], [16777217], [-(2**53) - 1]], np.int64)
    for doubles in (False, True) if dtype == "d" else (False,):
        trees = [stump(0.1, (1 / 3, 2 / 3)), stump(16777216, (0.1, 0.2)), stump(float(np.float32(0.1)), (1e-9, 0.4))]
        if dtype == "d":
            check(regressor(trees, dtype=dtype, doubles=doubles), rows)
        check(classifier(trees, [0, 1], dtype=dtype, doubles=doubles), rows)


LISTS = {
    "tree_roots": [0],
    "nodes_featureids": [0, 1, 0],
    "nodes_truenodeids": [1, 0, 2],
    "nodes_trueleafs": [0, 1, 1],
    "nodes_falsenodeids": [2, 1, 3],
    "nodes_falseleafs": [0, 1, 1],
    "leaf_targetids": [0, 1, 0, 1],
    "leaf_weights": [1.0, 2.0, 4.0, 8.0],
}


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("tracks", [[], [1, 0, 1]])
@pytest.mark.parametrize("modes", [[0, 1, 2], [3, 4, 5], [0, 6, 6]])
def test_ensembles_of_opset_5(dtype, tracks, modes):
    rows = np.random.default_rng(5).integers(-1, 5, size=(60, 2)).astype({"f": np.float32, "d": np.float64}[dtype])
    rows[::7, 1] = np.nan
    rows[3::11, 1] = 40
    rows[5::11, 1] = 2.5
    rows[::5, 0] = np.nan
    options = {"nodes_missing_value_tracks_true": tracks} if tracks else {}
    if 6 in modes:
        options["membership_values"] = [1.0, 3.0, 40.0, np.nan, 0.0, 2.0, np.nan]
    held = {**LISTS, "nodes_modes": modes, "nodes_splits": [1.0, 2.0, 0.0], **options}
    for transform, aggregate in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (3, 1), (4, 1)]:
        if not transform or not tracks:
            check(ensemble(2, dtype, 2, post_transform=transform, aggregate_function=aggregate, **held), rows)
    check(ensemble(2, dtype, 1, **{**held, "leaf_targetids": [0] * 4}), rows)
    leaf = {
        "tree_roots": [0, 1],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falseleafs": [0, 1, 1],
        "nodes_truenodeids": [1, 1, 2],
        "nodes_falsenodeids": [2, 1, 3],
    }
    check(ensemble(2, dtype, 2, **{**held, **leaf}), rows)
