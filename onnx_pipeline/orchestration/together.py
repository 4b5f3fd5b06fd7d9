"""What concerns all scorings at once: their sources, the jobs over all of them, targets that no two may share."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.names import SCORING_TAG, SOURCE_METADATA, asset_key, table_key
from onnx_pipeline.orchestration.pod_sizes import largest_pod_tags
from onnx_pipeline.orchestration.resources import default_schema, pool_kind
from onnx_pipeline.pools.tables import split_name

__all__ = ["place_of", "refuse_shared", "refuse_shared_targets", "score_all_jobs", "source_assets"]


def score_all_jobs(scorings: dg.Definitions) -> list[Any]:
    """`score_all`, the job over every scoring.

    A Dagster job has one set of partitions. Where scorings are partitioned differently there is one job for each
    way, `score_all_<scoring>` after the first scoring of it; scorings without partitions are in each job. Where a way
    has one scoring alone, that scoring's own job is it.
    """
    groups: dict[dg.PartitionsDefinition[Any] | None, dict[str, list[dg.AssetKey]]] = defaultdict(dict)
    assets: dict[str, list[dg.AssetSpec]] = defaultdict(list)
    for spec in _specs(scorings):
        if SCORING_TAG in spec.tags:
            assets[spec.tags[SCORING_TAG]].append(spec)
    for scoring, specs in sorted(assets.items()):
        partitions = next((spec.partitions_def for spec in specs if spec.partitions_def is not None), None)
        groups[partitions][scoring] = [spec.key for spec in specs]
    whole = groups.pop(None, {})
    if not groups and whole:
        groups[None] = {}
    jobs = []
    for members in groups.values():
        keys = [key for group in (members, whole) for asset_keys in group.values() for key in asset_keys]
        names = sorted((*members, *whole))
        if len(names) == 1 and len(groups) > 1:
            continue
        name = "score_all" if len(groups) == 1 else f"score_all_{next(iter(members))}"
        jobs.append(
            dg.define_asset_job(
                name,
                selection=dg.AssetSelection.assets(*keys),
                description=f"Score {', '.join(names)}.",
                tags=largest_pod_tags(),
            )
        )
    return jobs


def refuse_shared_targets(scorings: dg.Definitions) -> None:
    """Two scorings with one target would delete each other's rows: raise SpecError."""
    refuse_shared(
        (spec.tags[SCORING_TAG], str(spec.metadata["dagster/table_name"]))
        for spec in _specs(scorings)
        if SCORING_TAG in spec.tags and "dagster/table_name" in spec.metadata
    )


def refuse_shared(targets: Iterable[tuple[str, str]], *, only: str | None = None) -> None:
    """Raise SpecError where two scorings, or `only` and another, name one table; `targets` are scoring and table.

    `t` and `dbo.t` are one table, and case tells no two apart: this is known without a connection. What a load finds
    in the pool is compared as the pool resolves it (`pools/clashes.py`), also between projects.
    """
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for scoring, table in targets:
        other, spelling = owners.setdefault(place_of(table), (scoring, table))
        if other != scoring and only in (None, other, scoring):
            also = "" if table == spelling else f" ({other} writes {spelling!r})"
            raise SpecError(
                f"scorings {other} and {scoring} both have the target {table!r}{also}, and would delete each other's "
                "rows. Give each a target of its own."
            )


def place_of(table: str) -> tuple[str, str]:
    """Schema and name of a table, as far as they are known without a connection: what tells two apart."""
    schema, name = split_name(table)
    return (schema or default_schema()).casefold(), name.casefold()


def _specs(scorings: dg.Definitions) -> Iterator[dg.AssetSpec]:
    """What is said of each asset. `resolve_all_asset_specs` would put a whole repository together first."""
    for asset in scorings.assets or ():
        if isinstance(asset, dg.AssetsDefinition):
            yield from asset.specs


def source_assets(scorings: dg.Definitions) -> list[dg.AssetSpec]:
    """External assets that stand for the sources; scorings of one table share one."""
    sources: dict[dg.AssetKey, dg.AssetSpec] = {}
    made = {
        key for asset in scorings.assets or () for key in getattr(asset, "keys", None) or (getattr(asset, "key", None),)
    }
    for spec in _specs(scorings):
        table = spec.metadata.get(SOURCE_METADATA)
        scoring = spec.tags.get(SCORING_TAG)
        if table is None or scoring is None:
            continue
        for dep in spec.deps:
            # A component's `get_asset_spec` may add others, which are not ours to describe.
            if dep.asset_key not in (table_key(table), asset_key(scoring, "source")) or dep.asset_key in made:
                continue
            is_query = dep.asset_key == asset_key(scoring, "source")
            sources[dep.asset_key] = dg.AssetSpec(
                dep.asset_key,
                description=f"The query that {scoring} reads." if is_query else f"Table `{table}` of the pool.",
                group_name="sources",
                kinds={pool_kind(), "table"},
                metadata={} if is_query else {"dagster/table_name": table},
            )
    return list(sources.values())
