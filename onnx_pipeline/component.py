"""`OnnxScoring`: one folder with one `defs.yaml` per scored table."""

from pathlib import Path

import dagster as dg

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.assets.build import build_assets
from onnx_pipeline.orchestration.automation import build_automation
from onnx_pipeline.orchestration.scaffold import OnnxScoringScaffolder
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["OnnxScoring"]


@dg.scaffold_with(OnnxScoringScaffolder)
class OnnxScoring(ScoringSpec, dg.Component):
    """Scores a table with an ONNX model: four assets, a job, sensors, and a schedule if wanted."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        folder = Path(context.path)
        folder = folder if folder.is_dir() else folder.parent
        try:
            spec = self.placed(name=folder.name, directory=folder)
            partitioning(spec)
        except SpecError as error:
            raise SpecError(f"{folder / 'defs.yaml'}: {error}") from error
        return dg.Definitions.merge(dg.Definitions(assets=build_assets(spec)), build_automation(spec))
