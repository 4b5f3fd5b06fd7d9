"""Where a scoring's model comes from, as its spec says."""

from onnx_pipeline.base import paths
from onnx_pipeline.engines import described_model
from onnx_pipeline.models.origins import ArtifactOrigin, ModelOrigin, ServiceOrigin
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["model_origin"]


def model_origin(spec: ScoringSpec) -> ModelOrigin:
    """An artifact at the spec's `onnx`, else the service that its engine names.

    A relative path starts beside `defs.yaml` where it exists there, else at the project's root.
    """
    if spec.onnx is None:
        return ServiceOrigin(spec.scoring, spec.model_place, lambda: described_model(spec.engine))
    if "://" in spec.onnx:
        return ArtifactOrigin(spec.scoring, spec.onnx)
    beside, from_root = (spec.base / spec.onnx).resolve(), paths.resolve(spec.onnx)
    # Of a model that lies in neither place the error names the one that was meant: nobody climbs out of the root.
    is_beside = beside.exists() or (spec.onnx.startswith(("./", "../")) and not from_root.exists())
    return ArtifactOrigin(spec.scoring, str(beside if is_beside else from_root))
