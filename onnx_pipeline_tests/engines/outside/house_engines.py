"""A package of somebody else's that adds two engines: both compute 2·a + b, one in the pool and one here."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.engines.base import PoolEngine, StreamEngine
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.spec.engines.options import EngineOptions


class HouseSqlOptions(EngineOptions):
    """Scores in the pool."""

    kind: Literal["house_sql"] = "house_sql"
    engine = "house_engines:HouseSql"
    runs = "pool"


class HouseSql(PoolEngine[HouseSqlOptions]):
    """2·a + b as SQL."""

    def land(self, landing: Landing) -> None:
        features = landing.features.subquery("features")
        a, b = (features.c[name] for name in self.task.binding.columns)
        (output,) = landing.outputs
        score = sa.cast(sa.literal_column("2e0") * a + b, sa.REAL)
        landing.insert(sa.select(*(features.c[name] for name in landing.marks), score.label(output)))


class HouseStreamOptions(EngineOptions):
    """Scores batches."""

    kind: Literal["house_stream"] = "house_stream"
    engine = "house_engines:HouseStream"


class HouseStream(StreamEngine[HouseStreamOptions]):
    """2·a + b by pyarrow."""

    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        for batch in batches:
            a, b = (batch.column(name) for name in self.task.binding.columns)
            doubled: Any = pc.multiply(a, pa.scalar(2.0, pa.float32()))
            yield batch, [pc.add(doubled, b).cast(pa.float32())]
