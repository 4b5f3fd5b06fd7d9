"""A target whose rows were cut in another way than the spec says now: scored anew beside it, then exchanged.

Keys of the two ways may collide and their windows overlap, so that slices cannot be replaced one by one. The new table
is a place of its own in the scoring log, which says what was scored into it: whoever is killed goes on where they were.
"""

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.clashes import refuse_owned
from onnx_pipeline.pools.exchange import Exchange, Exchanged
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.scoring.pending import PendingSlice, pending
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Repartition", "Start", "side_of"]

_SIDE, _BACKUP = "_onnx_repartition", "_before_repartition"
_LONGEST = 128
"""Characters of a table's name on a server."""


def side_of(spec: ScoringSpec) -> ScoringSpec:
    """The scoring with the table beside its target, where nothing stands that must not be scored again."""
    table = _beside(spec.target_table, _SIDE)
    return spec.model_copy(
        update={
            "target": spec.target_spec.model_copy(update={"table": table}),
            "rescore": "all",
            "load_mode": "upsert" if spec.load_mode == "upsert" else "replace",
        }
    )


def _beside(table: str, suffix: str) -> str:
    schema, name = split_name(table)
    return f"{schema}." * (schema is not None) + name[: _LONGEST - len(suffix)] + suffix


@dataclass(frozen=True)
class Start:
    """What there is to do before the tables can be exchanged."""

    slices: list[PendingSlice]
    """To be scored into the side table."""
    done: int
    """Slices that stand there already."""


class Repartition:
    """Takes a target from the way in which its rows were cut to the way that the spec says."""

    def __init__(self, plan: ScoringPlan, pool: Pool, *, keep: bool) -> None:
        self._plan = plan
        self._pool = pool
        self._spec = plan.spec
        self._side = side_of(plan.spec)
        self._backup = _beside(plan.spec.target_table, _BACKUP) if keep else None
        self._slices: frozenset[str] = frozenset()
        """What has to stand in the side table before it is exchanged."""

    @property
    def backup(self) -> str | None:
        """The table that keeps the rows that stood."""
        return self._backup

    def start(self) -> Start | None:
        """What there is to score; None where the target stands as the spec says, or nothing stands there.

        Raises SpecError where no partition has rows, and where `--keep` has no room, and TargetError where the target
        is another scoring's.
        """
        spec, pool, way = self._spec, self._pool, self._plan.origin["partitions"]
        standing = pool.scored(spec.scoring, spec.target_table)
        refuse_owned(spec.scoring, standing)
        rows = standing.rows.values() if standing.target.exists else ()
        if all(log.partitions == way for log in rows):
            # Left by one that was killed after the exchange.
            pool.discard(self._side.target_table)
            return None
        self._refuse_kept_before()
        # A row that names no target would count as one of any.
        pool.claim(spec.scoring, standing.target.name)
        beside = pool.scored(spec.scoring, self._side.target_table)
        known = beside.rows.values()
        if beside.target.exists and (not known or any(log.partitions != way for log in known)):
            # Of another change of `partitions` that nobody took to its end, or that was killed after its exchange.
            pool.discard(self._side.target_table)
            beside = replace(beside, target=replace(beside.target, exists=False), rows={})
        slices = pending(self._side, pool, self._plan.partitioning, self._plan.model.sha256)
        done = len(beside.rows) if beside.target.exists else 0
        self._slices = frozenset(piece.partition_key for piece in slices)
        if done:
            self._slices |= beside.rows.keys()
        if not slices and not done:
            raise SpecError(
                f"{spec.scoring}: no partition has rows, so {spec.target_table} would be emptied. It is as it was. "
                "Correct `partitions` or the source"
            )
        return Start(slices, done)

    def gone(self) -> int:
        """Rows of the target whose key no row of the side table has: they left the source, or all partitions."""
        key = self._plan.target.key
        (standing, new) = (_keys(table, key) for table in (self._spec.target_table, self._side.target_table))
        known: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(new)
        known = known.where(*(new.c[name] == standing.c[name] for name in key)).correlate(standing)
        counted = sa.select(sa.func.count().label("n")).select_from(standing).where(~sa.exists(known))
        return int(self._pool.fetch(counted).to_pylist()[0]["n"])

    def refuse_loss(self, gone: int) -> None:
        """Raise SpecError where the load mode keeps rows that left the source, and they would be lost."""
        spec = self._spec
        if gone and self._backup is None and spec.load_mode != "replace":
            raise SpecError(
                f"{spec.scoring}: {gone:,} rows of {spec.target_table} have keys that were not scored anew, which "
                f"`load: {spec.load_mode}` keeps and nobody could place in a partition. Nothing was exchanged, and "
                f"what was scored stays. `onnx-pipeline repartition {spec.scoring} --keep` leaves all that stand in "
                f"{_beside(spec.target_table, _BACKUP)}"
            )

    def exchange(self) -> Exchanged:
        """The new rows in place of the old ones, with the log, and the side table dropped."""
        spec, pool, target = self._spec, self._pool, self._plan.target
        side = replace(target, table=self._side.target_table, options=self._side.target_spec)
        place, side_place = (pool.standing(table.table).name for table in (target, side))
        if self._backup is not None:
            self._refuse_kept_before()
            pool.ensure_target(replace(target, table=self._backup))
        upserted = spec.load_mode == "upsert"
        done = pool.exchange(
            Exchange(spec.scoring, target, side, place, side_place, self._slices, self._backup, upserted)
        )
        pool.discard(side.table)
        return done

    def _refuse_kept_before(self) -> None:
        if self._backup is None or not self._pool.standing(self._backup).exists:
            return
        one: sa.Select[Any] = sa.select(sa.literal_column("1").label("n")).select_from(_keys(self._backup, ())).limit(1)
        if self._pool.fetch(one).num_rows:
            raise SpecError(
                f"{self._spec.scoring}: {self._backup} holds rows that an earlier --keep left. Nothing was exchanged. "
                "Drop or rename that table, or leave --keep out"
            )


def _keys(table: str, names: tuple[str, ...]) -> sa.TableClause:
    schema, name = split_name(table)
    return sa.table(name, *(sa.column(column) for column in names), schema=schema)
