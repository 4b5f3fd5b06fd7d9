"""Predictions and keys out: types, shapes, choice and order of columns, NaN."""

import datetime
import decimal
import random
import uuid
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import (
    BIGINT,
    BINARY,
    BIT,
    CHAR,
    DATE,
    FLOAT,
    GUID,
    INT,
    KINDS,
    NUMERIC,
    REAL,
    SMALLINT,
    TIMESTAMP,
    TINYINT,
    WCHAR,
    Kind,
)  # fmt: skip
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, values_of
from onnx_pipeline_tests.extension.test_inputs import chunks_of, holed, scored, some

FORMS = {
    models.FLOAT: (REAL, True), models.FLOAT16: (REAL, True), models.DOUBLE: (FLOAT, True), models.INT64: (BIGINT, False),
    models.UINT32: (BIGINT, False), models.INT32: (INT, False), models.UINT16: (INT, False), models.INT16: (SMALLINT, False),
    models.INT8: (SMALLINT, False), models.UINT8: (TINYINT, False), models.BOOL: (BIT, False),
}  # fmt: skip


def test_each_output_type_has_its_sql_type(extension: Extension) -> None:
    model = models.cast(models.FLOAT, list(FORMS))
    values = [0.0, 1.0, 100.0, 3.0]
    with extension.session([Column("x", REAL)], model) as session:
        found = session.execute([values])
    assert [(column.kind, column.nullable) for column in found] == list(FORMS.values())
    answers = models.columns_of(models.truth(model, {"x": np.array(values, np.float32).reshape(-1, 1)}))
    assert [column.values for column in found] == answers


@pytest.mark.parametrize("kind", ["tree", "logistic"])
@pytest.mark.parametrize("labels", ["int", "text"])
def test_a_classifier_gives_its_label_and_one_column_per_class(extension: Extension, kind: str, labels: str) -> None:
    model = models.classifier(kind, labels)
    matrix = np.random.default_rng(2).normal(size=(100, 6)).astype(np.float32)
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    with extension.session(columns, model, "batch = 100") as session:
        found = session.execute(matrix.T.tolist())
    assert [column.kind for column in found] == [WCHAR if labels == "text" else BIGINT, REAL, REAL, REAL]
    answers, expected = (
        [column.values for column in found],
        models.columns_of(models.truth(model, {"X": matrix}, batch=100)),
    )
    assert answers[0] == expected[0]
    if (kind, labels) == ("logistic", "int"):
        # Computed by the extension, whose exponential is its own.
        np.testing.assert_allclose(answers[1:], expected[1:], rtol=0, atol=1e-6)
    else:
        assert answers == expected


def test_outputs_are_chosen_ordered_and_cut_to_single_classes(extension: Extension) -> None:
    model = models.classifier("tree")
    matrix = np.random.default_rng(2).normal(size=(50, 6)).astype(np.float32)
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    label, low, middle, high = models.columns_of(models.truth(model, {"X": matrix}))
    chosen = {
        "outputs = label": [label],
        "outputs = probabilities, label": [low, middle, high, label],
        "outputs = probabilities[2], probabilities[0]": [high, low],
    }
    for script, wanted in chosen.items():
        assert scored(extension, model, columns, matrix.T.tolist(), script) == wanted


def test_nan_and_infinity_become_null(extension: Extension) -> None:
    a, b = [1.0, 0.0, -1.0, 4.0, None], [0.0, 0.0, 0.0, 2.0, 1.0]
    columns = [Column("a", REAL), Column("b", REAL)]
    assert scored(extension, models.ratio(), columns, [a, b]) == [[None, None, None, 2.0, None]]


def test_a_text_longer_than_the_column_is_an_error_that_names_the_option(extension: Extension) -> None:
    model = models.echo({"x": models.STRING})
    columns = [Column("x", WCHAR, size=400)]
    assert scored(extension, model, columns, [["é" * 10]], "text_length = 10") == [["é" * 10]]
    with extension.session(columns, model, "text_length = 10") as session:
        assert session.execute([["short"]])[0].size == 20
        with pytest.raises(ExtensionError, match="text_length"):
            session.execute([["é" * 11]])
        # A character beyond the first plane takes two units.
        with pytest.raises(ExtensionError, match="text_length"):
            session.execute([["🙂" * 6]])


@pytest.mark.parametrize("rows", [0, 3])
def test_an_output_column_that_is_not_there_is_the_same_error_each_time(extension: Extension, rows: int) -> None:
    # The model leaves the width open, so that only a run shows it.
    node = helper.make_node("Identity", ["x"], ["y"])
    model = models.build([node], [("x", models.FLOAT, [None, None])], [("y", models.FLOAT, [None, None])])
    with extension.session([Column("x", REAL)], model, "outputs = y[0], y[1]") as session:
        for _ in range(2):
            with pytest.raises(ExtensionError, match=r"y\[1\] in outputs, but the output has 1 columns"):
                session.execute([[1.0] * rows])


@pytest.mark.parametrize("width", [2**16, 2**62])
def test_an_output_wider_than_any_result_is_refused(extension: Extension, width: int) -> None:
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    outputs = [("y", models.FLOAT, [None, width])]
    model = models.build([node], [("x", models.FLOAT, [None, 1])], outputs, {"shape": np.array([1, width], np.int64)})
    with extension.session([Column("x", REAL)], model) as session:
        with pytest.raises(ExtensionError, match=rf"'y' has {width} columns, and a result has at most 65535"):
            session.execute([[]])


def test_a_tensor_of_a_type_that_no_column_has_is_refused_by_its_name(extension: Extension) -> None:
    for dtype, name in ((models.UINT64, "uint64"), (models.BFLOAT16, "bfloat16")):
        node = helper.make_node("Cast", ["x"], ["y"], to=dtype)
        model = models.build([node], [("x", models.FLOAT, [None, 1])], [("y", dtype, [None, 1])])
        with extension.session([Column("x", REAL)], model) as session:
            with pytest.raises(ExtensionError, match=rf"'y' is {name}\[N, 1\], which no column holds"):
                session.execute([[1.0]])


def some_keys(kind: Kind, rows: int) -> list[Any]:
    """Values of any type, also those that can be no feature."""
    generator = random.Random(str(kind))
    if kind is BINARY:
        return [generator.randbytes(generator.choice((0, 1, 16, 90))) for _ in range(rows)]
    if kind is DATE:
        return [datetime.date(generator.randint(1, 9999), generator.randint(1, 12), 28) for _ in range(rows)]
    if kind is TIMESTAMP:
        return [
            datetime.datetime(2026, 1, 1) + datetime.timedelta(microseconds=generator.getrandbits(50))
            for _ in range(rows)
        ]
    if kind is GUID:
        return [uuid.UUID(int=generator.getrandbits(128)) for _ in range(rows)]
    if kind is NUMERIC:
        return [decimal.Decimal(f"{generator.randint(-(10**37), 10**37)}e-5") for _ in range(rows)]
    return some(kind, rows)


@pytest.mark.parametrize("sizes", [[21], [4, 0, 17]], ids=["one chunk", "chunks"])
@pytest.mark.parametrize("nulls", [False, True], ids=["NOT NULL", "NULLs"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_key_passes_through_unchanged(extension: Extension, kind: Kind, nulls: bool, sizes: list[int]) -> None:
    keys = some_keys(kind, 21)
    keys = holed(keys) if nulls else keys
    features = [float(row) for row in range(21)]
    columns = [
        Column("x", REAL),
        Column("the key", kind, size=400 if kind.size is None else 0, digits=5, nullable=nulls),
    ]
    with extension.session(columns, models.echo_matrix(models.FLOAT, 1), "keys = the key") as session:
        results = [session.execute(chunk) for chunk in chunks_of([features, keys], sizes)]
    key, score = results[0]
    assert (key.kind, key.size, key.nullable) == (kind, columns[1].declared_size, nulls)
    assert values_of(results) == [keys, features]


def test_keys_come_first_in_the_order_of_the_option_and_may_be_features_too(extension: Extension) -> None:
    columns = [Column("a", INT), Column("b", CHAR), Column("c", BIGINT)]
    data: list[list[Any]] = [[1, 2], ["x", "y"], [10, 20]]
    script = "-- options\n\n# rows are matched by these\nkeys = b, a\nfeatures = c, a\n"
    assert scored(extension, models.echo_matrix(models.FLOAT, 2), columns, data, script) == [
        data[1], data[0], [10.0, 20.0], [1.0, 2.0],
    ]  # fmt: skip
    by_name = models.echo({"a": models.INT64})
    assert scored(extension, by_name, [Column("a", INT), Column("k", INT)], [[1, 2], [3, 4]], "keys = k, a") == [
        [3, 4],
        [1, 2],
        [1, 2],
    ]


def test_a_zipmap_model_is_refused_with_the_advice_to_register_it_through_the_pipeline(extension: Extension) -> None:
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    with pytest.raises(ExtensionError) as refused:
        with extension.session(columns, models.classifier("tree", zipmap=True)) as session:
            session.execute([[]] * 6)
    assert "ZipMap" in refused.value.message
    assert len(refused.value.message.splitlines()) == 1
