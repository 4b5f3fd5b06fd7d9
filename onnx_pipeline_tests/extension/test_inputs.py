"""Columns in: every type, with and without NULLs, in one chunk and in several."""

import decimal
import random
from collections.abc import Sequence
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
    FLOAT,
    INT,
    NUMERIC,
    REAL,
    SMALLINT,
    TINYINT,
    WCHAR,
    Kind,
)  # fmt: skip
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, values_of

INTEGERS = {TINYINT: (0, 255), SMALLINT: (-32768, 32767), INT: (-(2**31), 2**31 - 1), BIGINT: (-(2**63), 2**63 - 1)}
TEXTS = ["", "a", "Zürich", "日本語", "🙂 x", 'it\'s; "quoted"', "z" * 90]


def some(kind: Kind, rows: int, seed: int = 0) -> list[Any]:
    """Values of a type, its extremes among them."""
    generator = random.Random(f"{kind} {seed}")
    if kind is BIT:
        return [generator.random() < 0.5 for _ in range(rows)]
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return [generator.choice((low, high, 0, 1, generator.randint(low, high))) for _ in range(rows)]
    if kind is REAL:
        return [float(np.float32(generator.gauss(0, 1000))) for _ in range(rows)]
    if kind is FLOAT:
        return [generator.choice((0.1, -1e30, generator.gauss(0, 1000))) for _ in range(rows)]
    if kind is NUMERIC:
        return [decimal.Decimal(generator.randint(-(10**12), 10**12)).scaleb(-3) for _ in range(rows)]
    return [generator.choice(TEXTS) for _ in range(rows)]


def holed(values: Sequence[Any], every: int = 3) -> list[Any]:
    """The values with NULLs among them, at the beginning too."""
    return [None if index % every == 0 else value for index, value in enumerate(values)]


def chunks_of(columns: Sequence[Sequence[Any]], sizes: Sequence[int]) -> list[list[list[Any]]]:
    found, start = [], 0
    for size in sizes:
        found.append([list(column[start : start + size]) for column in columns])
        start += size
    return found


def scored(extension: Extension, model: bytes, columns: Sequence[Column], data: Sequence[Sequence[Any]],
           script: str = "", sizes: Sequence[int] | None = None, **more: Any) -> list[list[Any]]:  # fmt: skip
    """The values of each result column."""
    with extension.session(columns, model, script, **more) as session:
        return values_of([session.execute(chunk) for chunk in chunks_of(data, sizes or [len(data[0])])])


def tensor(values: Sequence[Any], dtype: int) -> np.ndarray[Any, Any]:
    """A column as an `[N, 1]` tensor, by NumPy's own conversion."""
    floats = dtype in (models.FLOAT, models.DOUBLE, models.FLOAT16)
    converted = [
        (np.nan if value is None else float(value)) if floats else str(value) if dtype == models.STRING else value
        for value in values
    ]
    return np.array(converted, dtype=models.NUMPY[dtype]).reshape(-1, 1)


NUMBERS = (BIT, TINYINT, SMALLINT, INT, BIGINT, REAL, FLOAT, NUMERIC)
FLOATS = (models.FLOAT, models.DOUBLE)
FEEDS = [
    *((kind, dtype) for kind in NUMBERS for dtype in FLOATS),
    *((kind, dtype) for kind in (BIT, TINYINT, SMALLINT, INT, BIGINT) for dtype in (models.INT64,)),
    *((kind, dtype) for kind in (BIT, TINYINT, SMALLINT, INT) for dtype in (models.INT32,)),
    (BIT, models.BOOL), (CHAR, models.STRING), (WCHAR, models.STRING),
]  # fmt: skip
NAMES = {models.FLOAT: "float", models.DOUBLE: "double", models.INT64: "int64", models.INT32: "int32",
         models.BOOL: "bool", models.STRING: "string", models.INT16: "int16", models.INT8: "int8", models.UINT8: "uint8",
         models.UINT16: "uint16", models.UINT32: "uint32", models.FLOAT16: "float16"}  # fmt: skip


@pytest.mark.parametrize("flat", [False, True], ids=["[N, 1]", "[N]"])
@pytest.mark.parametrize("sizes", [[23], [1, 0, 7, 15]], ids=["one chunk", "chunks"])
@pytest.mark.parametrize(("kind", "dtype"), FEEDS, ids=[f"{kind}-{NAMES[dtype]}" for kind, dtype in FEEDS])
def test_a_column_feeds_an_input_of_its_name(
    extension: Extension, kind: Kind, dtype: int, sizes: list[int], flat: bool
) -> None:
    values = some(kind, 23)
    model = models.echo({"x": dtype}, flat=flat)
    found = scored(extension, model, [Column("x", kind, size=400, nullable=False)], [values], sizes=sizes)
    fed = tensor(values, dtype)
    assert found == models.columns_of(models.truth(model, {"x": fed[:, 0] if flat else fed}))


@pytest.mark.parametrize("sizes", [[30], [10, 20]], ids=["one chunk", "chunks"])
@pytest.mark.parametrize("dtype", FLOATS, ids=["float", "double"])
@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_null_in_a_float_input_is_nan_and_comes_back_as_null(
    extension: Extension, kind: Kind, dtype: int, sizes: list[int]
) -> None:
    values = holed(some(kind, 30))
    model = models.echo({"x": dtype})
    found = scored(extension, model, [Column("x", kind)], [values], sizes=sizes)
    assert found == models.columns_of(models.truth(model, {"x": tensor(values, dtype)}))
    assert found[0].count(None) == 10


@pytest.mark.parametrize("bits", ["number", "digit"])
def test_a_bit_is_a_number_or_a_digit(extension: Extension, bits: str) -> None:
    values = [True, False, False, True]
    found = scored(extension, models.echo({"x": models.BOOL}), [Column("x", BIT)], [values], bits=bits)
    assert found == [values]


UNFORMED = [(BIT, models.BOOL), (INT, models.INT64), (BIGINT, models.INT64), (INT, models.INT32), (CHAR, models.STRING),
            (WCHAR, models.STRING)]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype"), UNFORMED, ids=[f"{kind}-{NAMES[dtype]}" for kind, dtype in UNFORMED])
def test_null_where_onnx_has_no_form_for_it_is_an_error_that_names_column_and_row(
    extension: Extension, kind: Kind, dtype: int
) -> None:
    values = some(kind, 12)
    values[7] = None
    with extension.session([Column("the column", kind, size=400)], models.echo({"the column": dtype})) as session:
        with pytest.raises(ExtensionError) as refused:
            session.execute([values])
    assert "the column" in refused.value.message and "NULL" in refused.value.message
    assert "8" in refused.value.message or "7" in refused.value.message
    assert len(refused.value.message.splitlines()) == 1


STAND_INS = [
    (INT, models.INT64, "-7", -7), (BIT, models.BOOL, "true", True), (CHAR, models.STRING, "none é", "none é"),
    (WCHAR, models.STRING, "none é", "none é"), (REAL, models.FLOAT, "40.5", 40.5), (NUMERIC, models.DOUBLE, "1e3", 1000.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "dtype", "text", "value"), STAND_INS, ids=[f"{case[0]}-{NAMES[case[1]]}" for case in STAND_INS]
)
def test_an_option_says_what_stands_in_for_null(
    extension: Extension, kind: Kind, dtype: int, text: str, value: Any
) -> None:
    values = holed(some(kind, 12))
    filled = [value if one is None else one for one in values]
    model = models.echo({"x": dtype})
    found = scored(extension, model, [Column("x", kind, size=400)], [values], f"null.x = {text}")
    assert found == models.columns_of(models.truth(model, {"x": tensor(filled, dtype)}))


def test_nulls_error_refuses_them_in_floats_too(extension: Extension) -> None:
    with extension.session([Column("x", REAL)], models.echo({"x": models.FLOAT}), "nulls = error") as session:
        assert session.execute([[1.0, 2.0]])[0].values == [1.0, 2.0]
        with pytest.raises(ExtensionError, match="NULL"):
            session.execute([[1.0, None]])


@pytest.mark.parametrize("sizes", [[40], [13, 27]], ids=["one chunk", "chunks"])
@pytest.mark.parametrize("dtype", [models.FLOAT, models.DOUBLE], ids=["float", "double"])
def test_columns_of_all_types_fill_one_matrix_in_order(extension: Extension, dtype: int, sizes: list[int]) -> None:
    columns = [Column(f"c{place}", kind) for place, kind in enumerate(NUMBERS)]
    data = [holed(some(kind, 40), every=5 + place) for place, kind in enumerate(NUMBERS)]
    model = models.echo_matrix(dtype, len(NUMBERS))
    found = scored(extension, model, columns, data, sizes=sizes)
    fed = np.hstack([tensor(values, dtype) for values in data])
    assert found == models.columns_of(models.truth(model, {"x": fed}))


def test_text_and_numbers_feed_inputs_by_name_whatever_their_order(extension: Extension) -> None:
    dtypes = {"amount": models.FLOAT, "city": models.STRING, "count": models.INT64, "flag": models.BOOL}
    kinds = {"flag": BIT, "CITY": WCHAR, "count": INT, "Amount": NUMERIC}
    data = {name: some(kind, 17) for name, kind in kinds.items()}
    model = models.echo(dtypes)
    columns = [Column(name, kind, size=400) for name, kind in kinds.items()]
    found = scored(extension, model, columns, list(data.values()))
    by_name = {name.lower(): values for name, values in data.items()}
    assert found == models.columns_of(
        models.truth(model, {name: tensor(by_name[name], dtype) for name, dtype in dtypes.items()})
    )


TWO_INPUTS = models.echo({"first": models.FLOAT, "second": models.INT64})


def test_columns_without_names_feed_inputs_by_order(extension: Extension) -> None:
    found = scored(extension, TWO_INPUTS, [Column("", REAL), Column("", INT)], [[0.5, 1.5], [7, 8]])
    assert found == [[0.5, 1.5], [7, 8]]


def test_columns_of_other_names_feed_no_input_unless_features_orders_them(extension: Extension) -> None:
    columns, data = [Column("b", INT), Column("a", REAL)], [[7, 8], [0.5, 1.5]]
    with pytest.raises(ExtensionError) as refused:
        scored(extension, TWO_INPUTS, columns, data)
    assert "'first', 'second'" in refused.value.message and "features = ..." in refused.value.message
    assert scored(extension, TWO_INPUTS, columns, data, "features = a, b") == [[0.5, 1.5], [7, 8]]


@pytest.mark.parametrize(
    ("property_", "names"),
    [
        ('["p", "q", "r"]', ["p", "q", "r"]),
        (' [ "a \\"b\\"" ,"c\\\\d\\/","\\t"] ', ['a "b"', "c\\d/", "\t"]),
        ('["\\u00e9", "\\ud83d\\ude00", "日本"]', ["é", "😀", "日本"]),
    ],
)
def test_a_matrix_is_filled_by_the_names_that_the_model_has_for_its_columns(
    extension: Extension, property_: str, names: list[str]
) -> None:
    model = models.echo_matrix(models.FLOAT, 3, property_)
    data = dict(zip(names, [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], strict=True))
    order = [names[2], names[0], names[1]]
    found = scored(extension, model, [Column(name, REAL) for name in order], [data[name] for name in order])
    assert found == list(data.values())
    by_hand = scored(
        extension, model, [Column(name, REAL) for name in "xyz"], list(data.values()), "features = x, y, z"
    )
    unnamed = scored(extension, model, [Column("", REAL)] * 3, list(data.values()))
    assert found == by_hand == unnamed


def test_a_column_that_the_model_names_and_the_query_lacks_is_an_error(extension: Extension) -> None:
    model = models.echo_matrix(models.FLOAT, 2, '["age", "bmi"]')
    with pytest.raises(ExtensionError) as refused:
        scored(extension, model, [Column("age", REAL), Column("weight", REAL)], [[1.0], [2.0]])
    for said in ("'bmi'", "'weight'", "features = ..."):
        assert said in refused.value.message


@pytest.mark.parametrize(
    "property_", ["", "p, q", '["p", 1]', '["p" "q"]', '["p", "q"', '["\\u12", "q"]', '{"p": "q"}']
)
def test_a_property_that_is_no_list_of_names_names_nothing(extension: Extension, property_: str) -> None:
    model = models.echo_matrix(models.FLOAT, 2, property_)
    assert scored(extension, model, [Column("b", REAL), Column("a", REAL)], [[1.0], [2.0]]) == [[1.0], [2.0]]


def test_features_order_the_columns_of_a_matrix(extension: Extension) -> None:
    columns = [Column("c", REAL), Column('odd, "name"', REAL), Column("a", REAL)]
    data = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    found = scored(extension, models.echo_matrix(models.FLOAT, 3), columns, data, 'features = a, "odd, ""name""", c')
    assert found == [data[2], data[1], data[0]]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_a_value_that_an_integer_input_cannot_hold_is_an_error_with_column_and_row(
    extension: Extension, value: int
) -> None:
    with extension.session([Column("x", BIGINT)], models.echo({"x": models.INT32})) as session:
        with pytest.raises(ExtensionError) as refused:
            session.execute([[1, 2, value]])
    assert "x" in refused.value.message and str(value) in refused.value.message


@pytest.mark.parametrize("wide", [False, True], ids=["alone", "in a matrix"])
@pytest.mark.parametrize(
    ("kind", "dtype", "value", "message"),
    [
        (FLOAT, models.FLOAT, 1e39, "1e+39 is out of the range of the model's input, which ends at 3.40282e+38"),
        (FLOAT, models.FLOAT16, 65520.0, "65520 is out of the range"),
        (BIGINT, models.FLOAT16, 70000, "70000 is out of the range"),
        (NUMERIC, models.FLOAT16, decimal.Decimal("1234567.500"), "1.23457e+06 is out of the range"),
        (FLOAT, models.INT64, 1.5, "1.5 has a fraction"),
        (FLOAT, models.INT64, 2.0**63, "9.22337e+18 does not fit"),
        (NUMERIC, models.INT64, decimal.Decimal("1.500"), "1.5 is no integer"),
    ],
    ids=str,
)
def test_a_number_that_the_input_cannot_hold_is_an_error_with_column_and_row(
    extension: Extension, kind: Kind, dtype: int, value: Any, message: str, wide: bool
) -> None:
    columns = [Column(name, kind, digits=3 if kind is NUMERIC else 0) for name in ("x", "y")[: 1 + wide]]
    model = models.echo_matrix(dtype, 2) if wide else models.echo({"x": dtype})
    good = decimal.Decimal("3.000") if kind is NUMERIC else 3
    data = [[good, None if dtype in (*FLOATS, models.FLOAT16) else good, value]] * len(columns)
    with extension.session(columns, model) as session, pytest.raises(ExtensionError) as refused:
        session.execute(data)
    assert f"'x' (number 1), row 3: {message}" in refused.value.message


@pytest.mark.parametrize("nulls", ["null.x = 7", "nulls = error"])
@pytest.mark.parametrize("kind", [REAL, FLOAT], ids=str)
def test_nan_in_a_column_of_floats_is_null(extension: Extension, kind: Kind, nulls: str) -> None:
    model = models.matrix_sum(2)
    with extension.session([Column("x", kind), Column("y", kind)], model, nulls) as session:
        if "error" in nulls:
            with pytest.raises(ExtensionError, match=r"row 2: the value is NULL or NaN"):
                session.execute([[1.0, np.nan], [1.0, 1.0]])
        else:
            (column,) = session.execute([[1.0, np.nan], [1.0, 1.0]])
            assert column.values == [3.0, 9.0]


REFUSED = [(CHAR, models.FLOAT), (REAL, models.BOOL), (INT, models.BOOL), (BINARY, models.FLOAT), (INT, models.STRING)]


@pytest.mark.parametrize(("kind", "dtype"), REFUSED, ids=[f"{kind}-{NAMES[dtype]}" for kind, dtype in REFUSED])
def test_a_column_of_another_kind_is_refused_with_both_types_named(
    extension: Extension, kind: Kind, dtype: int
) -> None:
    with pytest.raises(ExtensionError) as refused:
        with extension.session([Column("the column", kind)], models.echo({"the column": dtype})) as session:
            session.execute([[]])
    assert "the column" in refused.value.message and NAMES[dtype] in refused.value.message


def test_rows_of_all_nulls_and_empty_texts_do_not_shift_their_neighbours(extension: Extension) -> None:
    values = ["", None, "b", "", None, "ccc", "é", None]
    for kind in (CHAR, WCHAR):
        found = scored(extension, models.echo({"x": models.STRING}), [Column("x", kind)], [values], "null.x = (none)")
        assert found == [["(none)" if value is None else value for value in values]]
        only = scored(
            extension, models.echo({"x": models.STRING}), [Column("x", kind)], [[None, None]], "null.x = (none)"
        )
        assert only == [["(none)", "(none)"]]


def test_zero_rows_have_the_columns_of_the_others(extension: Extension) -> None:
    for model in (models.matrix_sum(2), models.classifier("tree", "text", width=2)):
        with extension.session([Column("a", REAL), Column("b", REAL)], model) as session:
            empty = session.execute([[], []])
            again = session.execute([[1.0], [2.0]])
        assert [column.form for column in empty] == [column.form for column in again]
        assert all(column.values == [] for column in empty) and all(len(column.values) == 1 for column in again)


def test_many_rows_agree_with_onnx_runtime_in_the_same_batches(extension: Extension) -> None:
    random_numbers = np.random.default_rng(5)
    matrix = random_numbers.normal(size=(10_000, 6)).astype(np.float32)
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    # Labels of text, which are ONNX Runtime's: it gives the same bits for the same batches.
    for kind in ("tree", "logistic"):
        model = models.classifier(kind, "text")
        found = scored(extension, model, columns, matrix.T.tolist(), "batch = 512", sizes=[6144, 3856])
        label, *probabilities = models.columns_of(models.truth(model, {"X": matrix}, batch=512))
        assert found[0] == label
        np.testing.assert_allclose(found[1:], probabilities, rtol=0, atol=0)


@pytest.mark.parametrize("rows", [1, 4, 10])
def test_a_model_of_a_fixed_batch_scores_any_number_of_rows(extension: Extension, rows: int) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["score"])
    weights = {"w": np.array([[1.0], [10.0]], np.float32)}
    model = models.build([node], [("x", models.FLOAT, [4, 2])], [("score", models.FLOAT, [4, 1])], weights)
    data = [[float(row) for row in range(rows)], [0.5] * rows]
    with extension.session([Column("a", REAL), Column("b", REAL)], model) as session:
        assert session.execute(data)[0].values == [row + 5.0 for row in range(rows)]


@pytest.mark.parametrize("batch", [2**24 + 1, 2**62])
def test_a_fixed_batch_that_no_memory_holds_is_refused(extension: Extension, batch: int) -> None:
    # 2^62 rows of four columns: their number is a multiple of 2^64, and counts as none.
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = models.build(nodes, [("x", models.FLOAT, [batch, 4])], [("y", models.FLOAT, [batch, 4])])
    with extension.session([Column(name, REAL) for name in "abcd"], model) as session:
        with pytest.raises(ExtensionError, match=rf"takes {batch} rows at once; the most is {2**24}\."):
            session.execute([[1.0]] * 4)


def test_a_model_without_inputs_scores_more_rows_than_a_batch_holds(extension: Extension) -> None:
    constant = helper.make_tensor("c", models.FLOAT, [512], np.arange(512, dtype=np.float32))
    nodes = [helper.make_node("Constant", [], ["y"], value=constant)]
    model = models.build(nodes, [], [("y", models.FLOAT, [None])])
    with extension.session([], model, "batch = 512") as session:
        found = session.execute([], rows=512 * 40)[0].values
    assert found == [float(row % 512) for row in range(512 * 40)]


def test_columns_that_no_input_is_named_after_fill_the_wide_one(extension: Extension) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node("Identity", ["city"], ["city_out"])]
    inputs = [("x", models.FLOAT, [None, 2]), ("city", models.STRING, [None, 1])]
    outputs = [("sum", models.FLOAT, [None, 1]), ("city_out", models.STRING, [None, 1])]
    model = models.build(nodes, inputs, outputs, {"w": np.array([[1.0], [100.0]], np.float32)})
    columns = [Column("a", INT), Column("city", WCHAR, size=100), Column("id", BIGINT), Column("b", NUMERIC)]
    data: list[list[Any]] = [[1, 2], ["Bern", None], [7, 8], [decimal.Decimal("0.5"), None]]
    found = scored(extension, model, columns, data, "keys = id\nnull.city = nowhere")
    assert found == [[7, 8], [51.0, None], ["Bern", "nowhere"]]


def test_threads_of_onnx_runtime_change_nothing(extension: Extension) -> None:
    matrix = np.random.default_rng(6).normal(size=(500, 6)).astype(np.float32)
    columns = [Column(f"c{place}", REAL) for place in range(6)]
    answers = [
        scored(extension, models.classifier("tree"), columns, matrix.T.tolist(), f"threads = {threads}")
        for threads in (1, 2, 0)
    ]
    assert answers[0] == answers[1] == answers[2]


SAME_NAME = {
    "GRÖSSE": "grösse", "Ärzte": "ÄRZTE", "ΑΒΓΣ": "αβγς", "ŽĚŘ": "žěř", "Id": "ＩＤ", "ДОМ": "дом", "Ÿ": "ÿ",
    "Ǆ": "ǆ", "ﬁx": "ﬁX",
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_NAME)
def test_names_are_one_but_for_case_in_every_script(extension: Extension, name: str) -> None:
    """As under SQL Server's collations _CI_AS, which know no ASCII apart."""
    model = models.echo({SAME_NAME[name]: models.FLOAT})
    with extension.session([Column(name, REAL)], model, f'null."{SAME_NAME[name]}" = 3') as session:
        assert session.execute([[None, 2.0]])[0].values == [3.0, 2.0]


@pytest.mark.parametrize(("name", "other"), [("é", "e"), ("ß", "ss"), ("ı", "i"), ("ab", "a"), ("日", "曰"), ("", "a")])
def test_other_names_are_not_one(extension: Extension, name: str, other: str) -> None:
    columns = [Column(name, REAL), Column("y", REAL)]
    with extension.session(columns, models.echo({other: models.FLOAT, "y": models.FLOAT})) as session:
        with pytest.raises(ExtensionError, match="the query has no column for the model's input"):
            session.execute([[1.0], [2.0]])
