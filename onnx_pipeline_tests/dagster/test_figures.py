"""What a partition's plots are made of, and its histograms, against numbers made up here."""

import base64
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.orchestration.figures import (
    engine_figures,
    feature_figures,
    prediction_figures,
    shift_figures,
    size,
)
from onnx_pipeline.orchestration.pictures import histogram
from onnx_pipeline.scoring.statistics import ColumnStatistics

SVG = "{http://www.w3.org/2000/svg}"


def statistics(*values: float | str | None) -> ColumnStatistics:
    column = ColumnStatistics()
    column.update(pa.array(values))
    return column


def picture(column: ColumnStatistics, name: str = "score") -> ET.Element:
    shown = histogram(name, column)
    assert shown is not None
    found = re.search(r"base64,([^)]+)\)", str(shown.value))
    assert found is not None
    return ET.fromstring(base64.b64decode(found.group(1)))


def texts(drawn: ET.Element, anchor: str) -> list[tuple[str, float]]:
    """Labels of an axis with where they stand: of rows at the end of their text, of values in the middle."""
    place = "y" if anchor == "end" else "x"
    return [
        (str(each.text), float(each.get(place, "")))
        for each in drawn.iter(f"{SVG}text")
        if each.get("text-anchor") == anchor and each.text not in ("rows", "score")
    ]


def test_means_and_the_highest_null_rate_of_predictions() -> None:
    columns = {
        "days": statistics(1.0, 2.0, None, 6.0), "label": statistics("a", None, None, "b"),
        "none": statistics(None, None, None, math.nan),
    }  # fmt: skip
    summaries = {name: column.summary() for name, column in columns.items()}
    assert prediction_figures(summaries) == {"mean_days": 3.0, "largest_share_label": 0.5, "null_rate": 1.0}
    assert prediction_figures({"days": summaries["days"]}) == {"mean_days": 3.0, "null_rate": 0.25}
    assert prediction_figures({"empty": ColumnStatistics().summary()}) == {}


def test_labels_of_the_model_have_a_share_in_every_partition_also_where_none_is_predicted() -> None:
    monday = {"risk": statistics("low", "low", "high", None).summary(), "ward": statistics("A", "B", "B").summary()}
    tuesday = {"risk": statistics("high").summary()}
    labels = ("low", "high", "very high")
    assert prediction_figures(monday, labels) == {
        "largest_share_risk": pytest.approx(2 / 3), "largest_share_ward": pytest.approx(2 / 3),
        "share_risk_low": pytest.approx(2 / 3), "share_risk_high": pytest.approx(1 / 3), "share_risk_very_high": 0.0,
        "null_rate": 0.25,
    }  # fmt: skip
    assert prediction_figures(tuesday, labels) == {
        "largest_share_risk": 1.0, "share_risk_low": 0.0, "share_risk_high": 1.0, "share_risk_very_high": 0.0,
        "null_rate": 0.0,
    }  # fmt: skip


def test_plots_of_labels_are_few_and_their_names_are_short_words_that_differ() -> None:
    labels = ["a b", "a/b", "???", "x" * 200, *(f"label {number}" for number in range(300))]
    shown = prediction_figures({"risk": statistics(*labels).summary()}, labels)
    shares = [name.removeprefix("share_risk_") for name in shown if name.startswith("share_risk_")]
    assert shares[:4] == ["a_b", "a_b_2", "blank", "x" * 40]
    assert len(shares) == len(set(shares)) == 12
    many = {f"text_{number}": statistics("a").summary() for number in range(200)}
    assert len(prediction_figures(many, ["a"])) == 12 + 12 + 1


def test_many_columns_have_a_few_plots() -> None:
    wide = {f"class_{number}": statistics(float(number)).summary() for number in range(200)}
    assert len(prediction_figures(wide)) == len(shift_figures(dict.fromkeys(wide, 0.1))) == 13
    shown = feature_figures({f"f{number}": number for number in range(300)}, rows=300)
    assert len(shown) == 13
    assert shown["null_rate"] == shown["null_rate_f299"] == pytest.approx(299 / 300)


def test_null_rates_of_features() -> None:
    assert feature_figures({"a": 0, "b": 5, "c": 1}, rows=20) == {
        "null_rate": 0.25, "null_rate_b": 0.25, "null_rate_c": 0.05,
    }  # fmt: skip
    assert feature_figures({"a": 0}, rows=20) == {"null_rate": 0.0}
    assert feature_figures({"a": 0}, rows=0) == {}


def test_one_index_is_shown_once_and_several_by_output() -> None:
    assert shift_figures({"days": 0.25}) == {"psi": 0.25}
    assert shift_figures({"a": 0.1, "b": 0.3}) == {"psi": 0.3, "psi_a": 0.1, "psi_b": 0.3}
    assert shift_figures({}) == {}


def test_sizes_are_texts() -> None:
    assert size(2_048, 1) == "2 kB in 1 batch" and size(0, 1_200) == "0 bytes in 1,200 batches" and size(5) == "5 bytes"
    facts = {"requests": 3, "bytes_sent": 4_096, "protocol": "HTTP/2"}
    assert engine_figures(facts) == {"requests": 3, "bytes_sent": "4 kB", "protocol": "HTTP/2"}


def test_a_histograms_axes_say_how_many_rows_have_which_value() -> None:
    drawn = picture(statistics(*np.repeat([0.0, 50.0, 100.0], [1_500, 4_000, 500]).tolist()))
    rows, values = texts(drawn, "end"), texts(drawn, "middle")
    assert [text for text, _ in rows] == ["0", "1,000", "2,000", "3,000", "4,000"]
    assert [text for text, _ in values] == ["0", "20", "40", "60", "80", "100"]
    bars = [
        bar for bar in drawn.iter(f"{SVG}rect") if bar.get("fill") == "#4f43dd" and float(bar.get("height", "")) > 0
    ]
    # A bar is as tall as its number of rows is high on the axis, and stands over its value.
    base, top = rows[0][1], rows[-1][1]
    tall = [float(bar.get("height", "")) / (base - top) * 4_000 for bar in bars]
    assert tall == pytest.approx([1_500, 4_000, 500], abs=10)
    left, right = values[0][1], values[-1][1]
    places = [(float(bar.get("x", "")) - left) / (right - left) * 100 for bar in bars]
    assert places == pytest.approx([0, 50, 100], abs=100 / 32)
    named = {each.text: each for each in drawn.iter(f"{SVG}text")}
    assert {"rows", "score"} <= named.keys()


@pytest.mark.parametrize(
    "values",
    [
        [3.0], [3.0, 3.0], [1e-300, 2e-300], [5e-324, 1e-323], [-1e308, 1.0, 1e308], [1e6, 1e6 + 1], [-3e-5, 4e-5],
        [16_777_216.0, 16_777_218.0],
    ],
)  # fmt: skip
def test_a_histogram_of_any_numbers_lies_within_its_picture(values: list[float]) -> None:
    drawn = picture(statistics(*values), name="a <b> & c")
    assert texts(drawn, "middle")
    for each in drawn.iter():
        for place, most in (("x", 520), ("y", 220)):
            assert 0 <= float(each.get(place, 0)) <= most


def test_what_has_no_numbers_has_no_picture() -> None:
    assert histogram("label", statistics("a", "b")) is None
    assert histogram("score", statistics(None, math.nan)) is None
