"""The one rule of listed texts, asked of a pool in every way in which it is asked of one."""

import sqlalchemy as sa

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.spec.scoring import ScoringSpec

TEXTS = (
    "north", "North", "NORTH", "north ", "north    ", "NORTH ", " north", "nörth", "Nörth", "nórth", "no rth", "nor",
    "northe", "", " ", None, "it's", "100%", "_orth", "[n]orth", "ss", "ß", "fi", "ﬁ", "é", "e\u0301", "東", "ｎｏｒｔｈ", "İ", "i", "I",
)  # fmt: skip
"""Texts that some collation holds equal to others."""

LISTED = ["north", "NORTH", "South", "nörth", " north", "ss", "é", "i", "_orth", "ｎｏｒｔｈ", "İ"]


def spec_of(source: str | dict[str, str], column: str, listed: list[str]) -> ScoringSpec:
    return ScoringSpec(
        name="listed", onnx="m.onnx", source=source, key=["id"], target="listed_scored",
        partitions={"column": column, "values": listed},
    )  # fmt: skip


def check(pool: Pool, spec: ScoringSpec, column: str, stored: dict[int, str | None]) -> None:
    """`stored` is what the database itself says of the column, by `id`; Python says which of it has a listed value."""
    keys = list(partitioning(spec).keys())
    expected = {
        key: sorted(i for i, text in stored.items() if text is not None and text.rstrip(" ") == key.rstrip(" "))
        for key in keys
    }
    made, source = partitioning(spec), pool.source(spec)
    inventory = take_inventory(spec, pool, made, source)
    assert {key: piece.rows for key, piece in inventory.slices.items()} == {
        key: len(ids) for key, ids in expected.items() if ids
    }
    assert inventory.unplaced == len(stored) - sum(map(len, expected.values()))

    marker = made.marker(source, pool)
    assert marker is not None
    for chosen in [keys, *([key] for key in keys[:4])]:
        predicate = made.predicate(source, pool, chosen)
        assert predicate is not None
        found = pool.fetch(sa.select(source.column("id").label("id"), marker.label("marker")).where(predicate))
        codes = made.place(found["marker"].combine_chunks(), chosen).tolist()
        by_key: dict[str, list[int]] = {key: [] for key in chosen}
        for index, code in zip(found["id"].to_pylist(), codes, strict=True):
            # A row that the predicate chooses is one that placing knows.
            assert 0 <= code < len(chosen), stored[index]
            by_key[chosen[code]].append(index)
        assert {key: sorted(ids) for key, ids in by_key.items()} == {key: expected[key] for key in chosen}
