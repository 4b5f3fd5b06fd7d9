"""What an engine of the pool has to give, on every pool: the tests of `test_landing.py` and of the live ones."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import (
    KeyColumnError,
    NullFeatureError,
    PoolError,
    PredictionError,
    SpecError,
    StagingError,
)
from onnx_pipeline.engines import open_engine
from onnx_pipeline.engines.base import PoolEngine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.scoring.extract import ExtractedSlice, extract
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.landing import land, survey
from onnx_pipeline.scoring.load import LoadedSlice, load
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import PredictedSlice, predict
from onnx_pipeline.scoring.refusals import Watch
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.scoring.statistics import summaries_from_json
from onnx_pipeline.scoring.verdicts import Verdict
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.pools.grounds import Ground

WARDS = ("east", "west")
COUNT = 60
NOON = datetime.datetime(2026, 1, 2, 12)


def visits(count: int = COUNT, *, changed: bool = True) -> pa.Table:
    """Rows of two wards in turn: `a` and `b` are fractions that no float32 is."""
    ids = list(range(count))
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.int64()),
        "ward": pa.array([WARDS[i % 2] for i in ids], pa.string()),
        "a": pa.array([i / 7 - 3 for i in ids], pa.float64()),
        "b": pa.array([i % 5 for i in ids], pa.int32()),
    }
    if changed:
        columns["at"] = pa.array([NOON + datetime.timedelta(seconds=i) for i in ids], pa.timestamp("us"))
    return pa.table(columns)


def expected(rows: pa.Table) -> dict[int, np.float32]:
    """2·a + b, as float32 features give it."""
    a = np.array(rows["a"].to_pylist(), dtype=np.float32)
    b = np.array(rows["b"].to_pylist(), dtype=np.float32)
    return dict(zip(rows["id"].to_pylist(), np.float32(2) * a + b, strict=True))


class House:
    """A scoring by one of the engines that another package brings."""

    def __init__(
        self, ground: Ground, staging: Staging, model: OnnxModel, engine: str = "house_sql", **more: Any
    ) -> None:
        self.ground, self.staging = ground, staging
        self.spec = ScoringSpec(
            **{
                "name": "house",
                "onnx": "house.onnx",
                "source": {"table": "visits", "changed": "at"},
                "key": ["id"],
                "partitions": {"column": "ward", "values": list(WARDS)},
                "target": "house_scores",
                "engine": {"kind": engine},
                **more,
            }
        )
        self.model = model

    @property
    def plan(self) -> ScoringPlan:
        return ScoringPlan(self.spec, self.model, self.ground.pool.source(self.spec))

    def engine(self) -> Any:
        return open_engine(self.spec.engine, self.plan.task, RuntimeOptions())

    def land(self, key: str = "east", *, engine: Any = None, watch: Watch | None = None) -> PredictedSlice:
        try:
            self.staging.find("house", "features", key)
        except StagingError:
            self.survey(key)
        marks = Marks(self.plan, self.ground.pool)
        return land(marks, engine or self.engine(), self.staging, key, say=lambda _: None, watch=watch)

    def survey(self, key: str = "east") -> ExtractedSlice:
        (surveyed,) = survey(self.plan, self.ground.pool, self.staging, [key])
        return surveyed

    def load(self, *keys: str, run_id: str = "run-1") -> list[LoadedSlice]:
        return list(load(self.plan, self.ground.pool, self.staging, keys or ("east",), run_id=run_id))

    def scores(self, ward: str) -> dict[int, float]:
        return dict(self.ground.query(f"SELECT id, score FROM house_scores WHERE partition_key = '{ward}' ORDER BY id"))


@pytest.fixture
def house(ground: Ground, staging: Staging, weighted_sum: Any, outside: None) -> House:
    ground.store("visits", visits())
    return House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}))


def of_ward(rows: pa.Table, ward: str) -> pa.Table:
    return rows.filter(pa.array([value == ward for value in rows["ward"].to_pylist()]))


def test_rows_are_surveyed_landed_and_loaded_without_passing_through_here(house: House) -> None:
    for ward in WARDS:
        surveyed = house.survey(ward)
        assert (surveyed.rows, surveyed.null_counts) == (COUNT // 2, {"a": 0, "b": 0})
        assert "SELECT" in house.staging.find("house", "features", ward).facts["sql"]
        assert house.land(ward).rows == COUNT // 2
    loaded = house.load(*WARDS)
    assert [(piece.loaded.inserted, piece.loaded.present) for piece in loaded] == [(COUNT // 2, COUNT // 2)] * 2
    for ward in WARDS:
        truth = expected(of_ward(visits(), ward))
        found = house.scores(ward)
        assert list(found) == list(truth)
        np.testing.assert_allclose(list(found.values()), list(truth.values()), rtol=1e-6, atol=1e-6)


def test_nothing_but_the_target_and_the_log_stays_in_the_pool(house: House) -> None:
    house.land()
    house.load()
    left = {name for name in house.ground.tables() if name.startswith("onnx_")}
    assert left == {"onnx_scoring_log"}


def test_the_log_tells_what_an_inventory_finds(house: House) -> None:
    for ward in WARDS:
        house.land(ward)
    house.load(*WARDS)
    plan = house.plan
    inventory = take_inventory(house.spec, house.ground.pool, plan.partitioning)
    logged = house.ground.pool.scoring_log("house")
    assert {key: row.fingerprint for key, row in logged.items()} == inventory.slices


def test_statistics_are_those_of_an_engine_that_streams(house: House) -> None:
    landed = house.land()
    plan = house.plan
    stream = House(house.ground, house.staging, house.model, "house_stream", name="streamed")
    list(extract(stream.plan, stream.ground.pool, stream.staging, ["east"], say=lambda _: None))
    streamed = predict(stream.plan, stream.engine(), stream.staging, "east", say=lambda _: None)
    one, other = landed.statistics["score"], streamed.statistics["score"]
    assert (one.summary().edges, one.summary().shares) == (other.summary().edges, other.summary().shares)
    assert one.histogram() == other.histogram()
    assert one.summary().mean == pytest.approx(other.summary().mean, rel=1e-9)
    assert one.summary().deviation == pytest.approx(other.summary().deviation, rel=1e-9)
    facts = house.staging.find("house", "predictions", "east").facts
    assert summaries_from_json(facts["statistics"])["score"] == one.summary()
    assert facts["model_sha256"] == plan.model.sha256


def test_a_row_that_changes_between_the_assets_is_judged_by_what_was_scored(house: House) -> None:
    house.survey()
    later = visits(COUNT + 20)
    house.ground.store("visits", later)
    landed = house.land()
    assert landed.rows == COUNT // 2 + 10
    # And whatever changes after it is found by the next run, not taken for scored.
    house.ground.store("visits", visits(COUNT + 40))
    (loaded,) = house.load()
    assert loaded.log.rows == loaded.log.fingerprint.rows == COUNT // 2 + 10
    assert loaded.log.fingerprint.changed == (NOON + datetime.timedelta(seconds=COUNT + 18)).isoformat()
    assert list(house.scores("east")) == list(expected(of_ward(later, "east")))


def test_an_empty_slice_lands_and_is_loaded(house: House) -> None:
    house.ground.store("visits", visits(0))
    assert house.land().rows == 0
    (loaded,) = house.load()
    assert loaded.log.fingerprint.rows == 0
    assert house.scores("east") == {}


def with_nulls(column: str, *ids: int) -> pa.Table:
    rows = visits()
    place = rows.schema.get_field_index(column)
    values = [None if i in ids else value for i, value in enumerate(rows[column].to_pylist())]
    return rows.set_column(place, column, pa.array(values, rows.schema.field(column).type))


def test_nulls_are_counted_by_feature_in_what_landed_and_in_what_is_surveyed(house: House) -> None:
    house = House(house.ground, house.staging, house.model, checks={"nan_predictions": "allow"})
    house.ground.store("visits", with_nulls("a", 0, 2, 3))
    house.survey()
    assert house.staging.find("house", "features", "east").facts["null_counts"] == {"a": 2, "b": 0}
    told: list[dict[str, int]] = []
    plan = hearing(house, told.append)
    pool, staging = house.ground.pool, house.staging
    landed = land(Marks(plan, pool), house.engine(), staging, "east", say=lambda _: None)
    assert told == [{"a": 2, "b": 0}]
    # NULL in, NULL out, as SQL has it: which is no value.
    assert landed.missing == {"score": 2}


def hearing(house: House, hear: Callable[[dict[str, int]], None]) -> ScoringPlan:
    """The plan, with a model that passes on what it is told of NULLs."""
    model = house.model

    class Hearing:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def check_nulls(self, binding: Any, counts: Any, nulls: Any, outputs: Any = None) -> None:
            hear(dict(counts))

    plan = house.plan
    object.__setattr__(plan, "model", Hearing())
    return plan


def test_null_where_the_model_has_no_form_for_it_stages_nothing(house: House) -> None:
    house.ground.store("visits", with_nulls("b", 4))

    def refuse(counts: dict[str, int]) -> None:
        raise NullFeatureError(f"{counts}")

    pool, staging = house.ground.pool, house.staging
    list(survey(house.plan, pool, staging, ["east"]))
    with pytest.raises(NullFeatureError, match="'b': 1"):
        land(Marks(hearing(house, refuse), pool), house.engine(), staging, "east", say=lambda _: None)
    assert_nothing_left(house)


def test_a_null_key_stages_nothing(house: House) -> None:
    house.ground.store("visits", with_nulls("id", 4, 6))
    with pytest.raises(
        KeyColumnError, match=r"key column 'id' is NULL in 2 of 30 rows of partition 'east'.*Nothing was"
    ):
        house.land()
    assert_nothing_left(house)


def test_what_a_verdict_refuses_is_removed_and_what_was_staged_before_stays(house: House) -> None:
    house.land()
    before = house.staging.find("house", "predictions", "east")

    def refuse(verdict: Verdict) -> None:
        raise PredictionError(f"{verdict.check} of {verdict.partition_key} is not wanted")

    with pytest.raises(PredictionError, match="no_missing_predictions of east is not wanted"):
        house.land(watch=Watch(refuse))
    assert house.staging.find("house", "predictions", "east") == before
    house.load()
    assert len(house.scores("east")) == COUNT // 2


def assert_nothing_left(house: House) -> None:
    with pytest.raises(StagingError, match="no predictions of partition"):
        house.staging.find("house", "predictions", "east")
    assert not [name for name in house.ground.tables() if name.startswith("onnx_landing")]
    assert not list(house.staging.folder("house", "predictions", "east").glob("*.parquet"))


def test_a_key_that_occurs_twice_is_found_before_the_swap(house: House) -> None:
    rows = visits()
    house.ground.store("visits", pa.concat_tables([rows, rows.slice(0, 1)]))
    house.land()
    with pytest.raises(KeyColumnError, match="1 of its values occur more than once"):
        house.load()


def test_landing_again_replaces_what_landed_before(house: House) -> None:
    house.land()
    house.ground.store("visits", visits(10))
    house.land()
    house.land()
    assert len([name for name in house.ground.tables() if name.startswith("onnx_landing")]) <= 1
    assert len(list(house.staging.folder("house", "predictions", "east").glob("*.parquet"))) <= 1
    house.load()
    assert len(house.scores("east")) == 5


def test_a_stream_engine_takes_over_from_one_of_the_pool_and_back(house: House) -> None:
    house.land()
    stream = House(house.ground, house.staging, house.model, "house_stream")
    list(extract(stream.plan, stream.ground.pool, stream.staging, ["east"], say=lambda _: None))
    predict(stream.plan, stream.engine(), stream.staging, "east", say=lambda _: None)
    house.load(run_id="streamed")
    by_stream = house.scores("east")
    house.land()
    house.load(run_id="landed")
    np.testing.assert_allclose(list(house.scores("east").values()), list(by_stream.values()), rtol=1e-6, atol=1e-6)


def test_slices_that_one_statement_surveys_have_their_own_counts(house: House) -> None:
    rows = with_nulls("a", 0, 2, 3)
    house.ground.store("visits", rows)
    surveyed = list(survey(house.plan, house.ground.pool, house.staging, WARDS))
    assert [piece.partition_key for piece in surveyed] == list(WARDS)
    for piece in surveyed:
        own = of_ward(rows, piece.partition_key)
        assert (piece.rows, piece.null_counts) == (own.num_rows, {"a": own["a"].null_count, "b": 0})
        facts = house.staging.find("house", "features", piece.partition_key).facts
        house.survey(piece.partition_key)
        alone = house.staging.find("house", "features", piece.partition_key).facts
        assert {**facts, "seconds": 0} == {**alone, "seconds": 0}
        assert facts["changed"] is not None


def test_surveyed_features_are_no_rows_for_an_engine_that_streams(house: House) -> None:
    house.survey()
    with pytest.raises(StagingError, match="staged by an engine of the pool, and are no rows here"):
        with house.staging.open("house", "features", "east"):
            pass


def test_an_engine_that_lands_nothing_is_an_error_with_what_to_do(house: House) -> None:
    class Idle(PoolEngine[Any]):
        def land(self, landing: Landing) -> None:
            """Forgets to."""

    engine = Idle(house.spec.engine, house.plan.task, None)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"put nothing into the landing of partition 'east'. Its `land` has to call"):
        house.land(engine=engine)


def test_an_engine_that_fails_leaves_nothing_behind(house: House) -> None:
    class Failing(PoolEngine[Any]):
        def land(self, landing: Landing) -> None:
            features = landing.features.subquery("features")
            score = sa.literal_column("1").label("score")
            landing.insert(sa.select(*(features.c[name] for name in landing.marks), score))
            raise ArithmeticError("after all")

    engine = Failing(house.spec.engine, house.plan.task, None)  # type: ignore[arg-type]
    with pytest.raises(ArithmeticError, match="after all"):
        house.land(engine=engine)
    assert_nothing_left(house)


def test_several_statements_land_as_one(house: House) -> None:
    class InParts(PoolEngine[Any]):
        def land(self, landing: Landing) -> None:
            kept = landing.marks

            def doubled(source: sa.FromClause) -> sa.Select[Any]:
                a = (source.c.a + source.c.a).label("twice")
                return sa.select(*(source.c[name] for name in kept), a, source.c.b).select_from(source)

            def moved(source: sa.FromClause) -> sa.Select[Any]:
                low = (source.c.twice - sa.literal_column("1")).label("low")
                return sa.select(*(source.c[name] for name in kept), low, source.c.b).select_from(source)

            def summed(source: sa.FromClause) -> sa.Select[Any]:
                score = sa.cast(source.c.low + source.c.b + sa.literal_column("1"), sa.REAL).label("score")
                return sa.select(*(source.c[name] for name in kept), score).select_from(source)

            for _ in range(2):  # as an attempt that broke would leave it
                landing.insert(doubled(landing.features.subquery("features")), moved, summed)

    engine = InParts(house.spec.engine, house.plan.task, None)  # type: ignore[arg-type]
    assert house.land(engine=engine).rows == COUNT // 2
    house.load()
    wanted = expected(of_ward(visits(), "east"))
    assert house.scores("east") == pytest.approx({key: float(value) for key, value in wanted.items()}, rel=1e-5)
    assert not [name for name in house.ground.tables() if name.startswith("onnx_landing")]


def test_a_statement_that_fails_after_others_leaves_nothing_behind(house: House) -> None:
    class Breaks(PoolEngine[Any]):
        def land(self, landing: Landing) -> None:
            features = landing.features.subquery("features")
            first = sa.select(*(features.c[name] for name in landing.marks), features.c.a)
            absent: sa.ColumnElement[Any] = sa.literal_column("no_such_column").label("score")
            landing.insert(
                first, lambda source: sa.select(*(source.c[n] for n in landing.marks), absent).select_from(source)
            )

    engine = Breaks(house.spec.engine, house.plan.task, None)  # type: ignore[arg-type]
    with pytest.raises(PoolError, match="no_such_column"):
        house.land(engine=engine)
    assert_nothing_left(house)


def test_more_features_than_one_column_of_bits_holds_are_counted_each(house: House, weighted_sum: Any) -> None:
    names = [f"f{i}" for i in range(40)]
    rows = visits(8, changed=False)
    for i, name in enumerate(names):
        rows = rows.append_column(name, pa.array([None if row < i % 3 else 1.0 for row in range(8)], pa.float64()))
    house.ground.store("visits", rows)
    wide = House(
        house.ground, house.staging, weighted_sum(dict.fromkeys(names, 1.0)), source="visits", partitions="none",
    )  # fmt: skip
    (surveyed,) = survey(wide.plan, wide.ground.pool, wide.staging, wide.plan.partitioning.keys())
    assert surveyed.null_counts == {name: i % 3 for i, name in enumerate(names)}


def test_the_manifest_names_one_place(house: House) -> None:
    house.land()
    manifest = json.loads((house.staging.folder("house", "predictions", "east") / "manifest.json").read_text())
    assert len({"file", "table"} & set(manifest)) == 1
    assert manifest["facts"]["rows"] == COUNT // 2
