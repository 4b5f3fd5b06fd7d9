"""Predictions of a DataFrame into the pool, by the code that every run loads with."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from onnx_pipeline.base.errors import DataError, SignatureError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.cluster.frames import batches_of
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.planned import signed
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.notebook.frames import MODEL
from onnx_pipeline.partitions.whole import WHOLE
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.records import Fingerprint
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.load import LoadedSlice
from onnx_pipeline.scoring.load import load as load_slices
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import SourceFacts, stage
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["load"]


def load(
    predictions: "DataFrame",
    scoring: ScoringSpec | Mapping[str, Any],
    *,
    pool: str,
    partition: str | None = None,
    folder: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> LoadedSlice:
    """Load what `score` gave into the scoring's target, in one transaction with its row of the scoring log.

    `scoring` are the attributes of a defs.yaml with a `name`: the same checks, the same log, the same provenance, so
    that a schedule of that project finds nothing left to do. `pool` is the pool's URL. `partition` is the one whose
    rows these are, where the scoring has partitions. Rows wait in `folder`, by default one of this machine's own, until
    they are loaded; this process holds one partition of the DataFrame at a time.

    The source is looked at before and after the DataFrame is computed: rows that changed meanwhile load nothing.

    Raises SpecError, PartitionError or SignatureError for what does not fit, DataError for predictions that a check
    refuses or a source that changed, KeyColumnError, TargetError and PoolError. The target is then as it was.
    """
    spec = scoring if isinstance(scoring, ScoringSpec) else ScoringSpec(**scoring)
    key = WHOLE if partition is None else partition
    opened = open_pool(pool)
    run_id = str(uuid.uuid4())
    with tempfile.TemporaryDirectory(prefix="onnx_pipeline-") as own:
        found = model_origin(spec).fetch(ArtifactStore(Path(own)), RuntimeOptions())
        plan = ScoringPlan(spec, found.model, opened.source(spec))
        plan.partitioning.check([key])
        _check(predictions, plan)
        opened.register_model(spec.scoring, found.model.sha256, found.data, signed(found.model), form=found.form)
        staging = Staging(Path(folder) if folder is not None else Path(own) / "staging")
        before = _now(plan, opened, key)
        stage(
            plan,
            _in_schema(predictions, plan.predictions_schema),
            SourceFacts(before.rows, before.changed),
            staging,
            key,
            facts=dict,
            started=time.monotonic(),
            say=say,
        )
        after = _now(plan, opened, key)
        if before != after:
            raise DataError(
                f"{spec.scoring}: while the DataFrame was computed {plan.source.description} changed, from "
                f"{_shown(before)} to {_shown(after)}. Nothing was loaded; score and load again"
            )
        (loaded,) = load_slices(plan, opened, staging, [key], run_id=run_id, say=say)
    return loaded


def _check(predictions: "DataFrame", plan: ScoringPlan) -> None:
    """The DataFrame has what the target takes, made by the model that lies at the spec's URI."""
    wanted = plan.predictions_schema.names
    for name in wanted:
        if name not in predictions.columns:
            raise SignatureError(
                f"{plan.spec.scoring}: the DataFrame has no column {name!r}; {closest(name, predictions.columns)}. "
                f"The target takes {', '.join(wanted)}: score(..., key={list(plan.key)!r})"
            )
    extra = [name for name in predictions.columns if name not in wanted]
    if extra:
        raise SignatureError(
            f"{plan.spec.scoring}: the DataFrame has the column {extra[0]!r}, which the target does not take; drop it, "
            "or name it in `outputs` or `key`"
        )
    for output in plan.outputs:
        made_by = predictions.schema[output.name].metadata.get(MODEL)
        if made_by == plan.model.sha256:
            continue
        told = f"was made by model {made_by[:12]}" if made_by else "does not say which model made it"
        raise SignatureError(
            f"{plan.spec.scoring}: column {output.name!r} {told}, and {plan.spec.onnx} is {plan.model.sha256[:12]}. "
            "The log would name the wrong model: load what score() gave, by the model that lies there now"
        )


def _in_schema(predictions: "DataFrame", schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches_of(predictions.select(schema.names)):
        yield pa.RecordBatch.from_arrays([batch.column(field.name).cast(field.type) for field in schema], schema=schema)


def _now(plan: ScoringPlan, pool: Pool, key: str) -> Fingerprint:
    return take_inventory(plan.spec, pool, plan.partitioning, plan.source).slices.get(key, Fingerprint(0))


def _shown(fingerprint: Fingerprint) -> str:
    changed = f", changed last {fingerprint.changed}" if fingerprint.changed else ""
    return f"{fingerprint.rows:,} rows{changed}"
