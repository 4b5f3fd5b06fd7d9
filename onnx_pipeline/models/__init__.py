"""Models: what they take and give, how they are made uniform, and how they score rows.

In a notebook: `OnnxModel.load("model.onnx").score(frame)`.
"""

from typing import TYPE_CHECKING

from onnx_pipeline.base.imports import on_first_use

if TYPE_CHECKING:
    from onnx_pipeline.models.artifact_store import ArtifactStore, CurrentModel
    from onnx_pipeline.models.binding import Binding, InputBinding, bind
    from onnx_pipeline.models.features import Packer, pack
    from onnx_pipeline.models.null_policy import StandIn
    from onnx_pipeline.models.onnx_model import OnnxModel, Scorer
    from onnx_pipeline.models.outputs import OutputColumn, output_columns, unpack
    from onnx_pipeline.models.runtime import RuntimeOptions, session
    from onnx_pipeline.models.signature import OutputSignature, Signature, TensorSignature
    from onnx_pipeline.models.stores import Artifact, FileModelStore, ModelStore, open_store

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Binding",
    "CurrentModel",
    "FileModelStore",
    "InputBinding",
    "ModelStore",
    "OnnxModel",
    "OutputColumn",
    "OutputSignature",
    "Packer",
    "RuntimeOptions",
    "Scorer",
    "Signature",
    "StandIn",
    "TensorSignature",
    "bind",
    "open_store",
    "output_columns",
    "pack",
    "session",
    "unpack",
]

_HOMES = {
    "artifact_store": ("ArtifactStore", "CurrentModel"),
    "binding": ("Binding", "InputBinding", "bind"),
    "features": ("Packer", "pack"),
    "null_policy": ("StandIn",),
    "onnx_model": ("OnnxModel", "Scorer"),
    "outputs": ("OutputColumn", "output_columns", "unpack"),
    "runtime": ("RuntimeOptions", "session"),
    "signature": ("OutputSignature", "Signature", "TensorSignature"),
    "stores": ("Artifact", "FileModelStore", "ModelStore", "open_store"),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

# Late: pyarrow and onnxruntime take a second, which most commands never need.
__getattr__ = on_first_use(__name__, _MODULE_OF)
