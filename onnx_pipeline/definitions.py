"""What Dagster loads: every scoring under `defs/`, the job over all of them, resources and executor."""

import warnings
from pathlib import Path

import dagster as dg

from onnx_pipeline.orchestration.broken import broken_definitions
from onnx_pipeline.orchestration.executor import in_process_executor
from onnx_pipeline.orchestration.readable import unreadable
from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.orchestration.together import refuse_shared_targets, score_all_jobs, source_assets

__all__ = ["defs"]

# Dagster says at each use what is in beta or preview, in every process that loads this: 150 lines of `dagster dev`.
for category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=category)


@dg.definitions
def defs() -> dg.Definitions:
    tree = dg.ComponentTree.for_project(Path(__file__).parent)
    broken = [broken_definitions(each.name, each.error) for each in unreadable(tree)]
    scorings = dg.Definitions.merge(
        *broken,
        # Not `load_from_defs_folder`: it also imports every installed package that offers components, to describe them
        # in the UI, and that takes longer than scoring a small partition (1.2 s with dagster-azure).
        tree.build_defs(tree.defs_module_path),
        dg.Definitions(resources=default_resources(), executor=in_process_executor),
    )
    refuse_shared_targets(scorings)
    return dg.Definitions.merge(scorings, dg.Definitions(assets=source_assets(scorings), jobs=score_all_jobs(scorings)))
