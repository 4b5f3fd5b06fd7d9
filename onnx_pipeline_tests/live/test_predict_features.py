"""The table that the engine `predict` makes of a slice's features, on a server: no server here answers PREDICT itself."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.engines.predict.fitted import fitted
from onnx_pipeline.engines.predict.statements import UNFIT_TEXT, features_of, is_unfit_text
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline_tests.engines.parity import CASES, Scored, rows
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path) -> LiveGround:
    return LiveGround(server, open_with("mssqlpython"), tmp_path)


def selected(ground: LiveGround, folder: Path) -> tuple[sa.Select[Any], sa.FromClause]:
    """The first statement of a slice of the case with texts, and the features that it reads."""
    one = Scored(ground, folder, CASES["one-hot"], {"kind": "predict"})
    plan = one.plan
    marks = Marks(plan, ground.pool)
    features = marks.features("p").subquery("features")
    return features_of(fitted(plan.task, one.case.model()), features, marks.schema.names), features


def with_text(place: int, text: str) -> pa.Table:
    table = rows()
    words = [text if row == place else word for row, word in enumerate(table["word"].to_pylist())]
    return table.set_column(table.column_names.index("word"), "word", pa.array(words, pa.string()))


def test_no_null_is_among_the_scalars_and_every_value_is_what_it_was(ground: LiveGround, tmp_path: Path) -> None:
    table = with_text(10, "it's red ~ \t")
    ground.store("rows", table)
    statement, _ = selected(ground, tmp_path)
    found = ground.pool.fetch(statement.order_by(sa.literal_column("mark0"))).to_pydict()
    sources = {name: table[name].to_pylist()[::2] for name in ("a", "b", "word")}
    instead = {"a": 0.5, "b": -0.5, "word": "unknown"}
    for name, column in (("a", "f0"), ("b", "f1"), ("word", "f2")):
        wanted = [instead[name] if value is None else value for value in sources[name]]
        assert found[column] == (wanted if name == "word" else pytest.approx(wanted, rel=1e-6))
    assert set(found["texts"]) == {1}


@pytest.mark.parametrize("text", ["é", "зелёный", "red\u2028"])
def test_a_text_that_varchar_would_change_ends_the_statement_and_is_found(
    text: str, ground: LiveGround, tmp_path: Path
) -> None:
    ground.store("rows", with_text(10, text))
    statement, features = selected(ground, tmp_path)
    with pytest.raises(PoolError, match=UNFIT_TEXT):
        ground.pool.fetch(statement)
    unfit = sa.select(features.c.word).select_from(features).where(is_unfit_text(features.c.word))
    assert ground.pool.fetch(unfit)["word"].to_pylist() == [text]
