"""Which rows have a listed text, on DuckDB; `live/test_listed_texts.py` asks a server the same."""

import duckdb
import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline_tests.partitions.listed_texts import LISTED, TEXTS, check, spec_of

TYPES = {
    "VARCHAR": "VARCHAR",
    "NOCASE": "VARCHAR COLLATE NOCASE",
    "NOCASE and NOACCENT": "VARCHAR COLLATE NOCASE.NOACCENT",
    "a locale's": "VARCHAR COLLATE de",
    "ENUM": "ENUM",
}


@pytest.fixture(params=TYPES)
def stored(request, sql):
    kind = TYPES[request.param]
    if kind == "ENUM":
        labels = ", ".join("'" + text.replace("'", "''") + "'" for text in TEXTS if text is not None)
        sql(f"CREATE TYPE region AS ENUM ({labels})")
        kind = "region"
    if kind.endswith("de"):
        try:
            sql("SELECT 'a' COLLATE de")
        except duckdb.Error:
            pytest.skip("this DuckDB has no ICU")
    sql(f"CREATE TABLE regions (id INTEGER, region {kind}, a FLOAT)")
    marks = ", ".join("(?, ?, ?)" for _ in TEXTS)
    sql(f"INSERT INTO regions VALUES {marks}", [cell for i, text in enumerate(TEXTS) for cell in (i, text, i / 2)])
    return dict(sql("SELECT id, region FROM regions"))


@pytest.mark.parametrize("source", ["regions", {"query": "SELECT * FROM regions"}], ids=["table", "query"])
def test_inventory_predicate_and_placing_agree(pool, stored, source):
    check(pool, spec_of(source, "region", LISTED), "region", stored)


def test_values_that_a_collation_holds_equal_are_partitions_of_their_own(pool, sql, score, weighted_sum):
    sql("CREATE TABLE regions (id INTEGER, region VARCHAR COLLATE NOCASE, a FLOAT)")
    names = ["north"] * 5 + ["NORTH"] * 4 + ["South"] * 3 + ["south ", "South  "]
    for index, name in enumerate(names):
        sql("INSERT INTO regions VALUES ($1, $2, $3)", [index, name, index / 2])
    spec = spec_of("regions", "region", ["north", "NORTH", "South"])
    model = weighted_sum({"a": 2.0})
    score(spec, model, ["north"])
    assert sql("SELECT id, partition_key FROM listed_scored ORDER BY id") == [(index, "north") for index in range(5)]
    score(spec, model)
    assert sql("SELECT partition_key, count(*), count(DISTINCT id) FROM listed_scored GROUP BY ALL ORDER BY ALL") == [
        ("NORTH", 4, 4), ("South", 4, 4), ("north", 5, 5),
    ]  # fmt: skip
    assert pending(spec, pool, partitioning(spec), None) == []
