"""Keys of text that one collation holds for one and another tells apart."""

from collections.abc import Callable

import pytest

from onnx_pipeline.base.errors import KeyColumnError
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.server import Server

NAMES = ["Ann", "ann", "ANN", "Bob"]


def people(server: Server, table: str, names: list[str], collation: str = "COLLATE Latin1_General_CS_AS") -> None:
    server.execute(f"CREATE TABLE {table} (name NVARCHAR(20) {collation} NOT NULL PRIMARY KEY, a REAL NOT NULL)")
    server.insert(table, ["name", "a"], [(name, float(index)) for index, name in enumerate(names)])


def spec_of(table: str, load: str, query: bool = False) -> ScoringSpec:
    source = {"query": f"SELECT name, a FROM {table}"} if query else table
    return ScoringSpec(name=table, onnx="m.onnx", source=source, key=["name"], target=f"{table}_scored", load_mode=load)


def collation(server: Server, table: str) -> str:
    found = server.scalar(
        f"SELECT collation_name FROM sys.columns WHERE object_id = OBJECT_ID('{table}') AND name = 'name'"
    )
    return str(found)


@pytest.mark.parametrize(("load", "query"), [("replace", False), ("upsert", True)])
def test_the_target_compares_keys_as_the_source_does(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score,
    load: str, query: bool,
) -> None:  # fmt: skip
    table = fresh("people")
    people(server, table, NAMES)
    spec = spec_of(table, load, query)
    score(spec, weighted_sum({"a": 2.0}))
    assert collation(server, f"{table}_scored") == collation(server, table)
    server.execute(f"UPDATE {table} SET a = 50 WHERE name = 'ann'")
    score(spec, weighted_sum({"a": 2.0}), run_id="run-2")
    # A join needs no COLLATE.
    found = server.rows(
        f"SELECT s.name, p.score FROM {table} AS s JOIN {table}_scored AS p ON p.name = s.name ORDER BY p.score"
    )
    assert found == [("Ann", 0.0), ("ANN", 4.0), ("Bob", 6.0), ("ann", 100.0)]


def test_a_target_that_stands_with_another_collation_works_until_keys_clash(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("people")
    people(server, table, ["Bob"])
    spec = spec_of(table, "upsert")
    # As an earlier version made it.
    server.execute(
        f"CREATE TABLE {table}_scored (name NVARCHAR(450) NOT NULL, score REAL NULL, partition_key NVARCHAR(450) NOT NULL, "
        "model_sha256 NVARCHAR(64) NOT NULL, scored_at DATETIME2(6) NOT NULL, run_id NVARCHAR(64) NOT NULL)"
    )
    score(spec, weighted_sum({"a": 2.0}))
    standing = collation(server, f"{table}_scored")
    assert standing != collation(server, table)
    server.execute(f"INSERT INTO {table} VALUES ('Cid', 4)")
    score(spec, weighted_sum({"a": 2.0}), run_id="run-2")
    assert server.rows(f"SELECT name, score FROM {table}_scored ORDER BY name") == [("Bob", 0.0), ("Cid", 8.0)]

    server.execute(f"INSERT INTO {table} VALUES ('cid', 5)")
    with pytest.raises(KeyColumnError) as refused:
        score(spec, weighted_sum({"a": 2.0}), run_id="run-3")
    told = str(refused.value)
    assert "1 of its values occur more than once (" in told and "'Cid'" in told and "'cid'" in told
    # Not every server that speaks T-SQL can do it.
    assert (
        f"ALTER TABLE [{table}_scored] ALTER COLUMN [name] NVARCHAR(450) COLLATE {collation(server, table)} NOT NULL"
        in told
    )
    assert server.rows(f"SELECT name, score FROM {table}_scored ORDER BY name") == [("Bob", 0.0), ("Cid", 8.0)]


def test_keys_that_the_source_holds_for_one_are_named(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("people")
    server.execute(f"CREATE TABLE {table} (name VARCHAR(20) NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["name", "a"], [("Ann", 1.0), ("ann", 2.0), ("Bob", 3.0), ("Bob ", 4.0)])
    with pytest.raises(KeyColumnError, match="2 of its values occur more than once") as refused:
        score(spec_of(table, "replace"), weighted_sum({"a": 2.0}))
    named = str(refused.value).partition("once (")[2].partition("). Nothing")[0].split(", ")
    assert len(named) == 3 and set(named) < {"'Ann'", "'ann'", "'Bob'", "'Bob '"}
