"""What Dagster loads: every scoring under `defs/`, the job over all of them, resources and executor."""

from pathlib import Path

import dagster as dg

from onnx_pipeline.executor import in_process_executor
from onnx_pipeline.resources import default_resources
from onnx_pipeline.together import refuse_shared_targets, score_all_jobs, source_assets

__all__ = ["defs"]


@dg.definitions
def defs() -> dg.Definitions:
    scorings = dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(resources=default_resources(), executor=in_process_executor),
    )
    refuse_shared_targets(scorings)
    return dg.Definitions.merge(
        scorings, dg.Definitions(assets=source_assets(scorings), jobs=score_all_jobs(scorings))
    )
