"""Write the sample's scikit-learn pipelines as ONNX: the names, dtypes and shapes of the two .onnx files."""

import json
from typing import TYPE_CHECKING

from onnx_pipeline.sample.encounters import CATEGORIES, FLAGS, NUMBERS, TREE_FEATURES

if TYPE_CHECKING:
    import onnx
    from sklearn.pipeline import Pipeline

__all__ = ["export_length_of_stay", "export_readmission"]

TARGET_OPSET = {"": 17, "ai.onnx.ml": 3}
"""At most these: ONNX 1.12 of 2022, so that older runtimes, in a pool or at an endpoint, read them."""


def export_length_of_stay(pipeline: "Pipeline") -> bytes:
    """`features` float32 [N, 27] → `variable` float32 [N, 1].

    The metadata property `feature_names` is the JSON list of the columns in the tensor's order.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    model = convert_sklearn(
        pipeline,
        name="length_of_stay",
        initial_types=[("features", FloatTensorType([None, len(TREE_FEATURES)]))],
        target_opset=TARGET_OPSET,
    )
    return _clean(model, properties={"feature_names": json.dumps(TREE_FEATURES)}, names={})


def export_readmission(pipeline: "Pipeline") -> bytes:
    """One input per column → `label` int64 [N] and `probabilities`, a list of {class: probability}.

    Inputs are [N, 1]: numbers float32, flags bool, categories string. The ZipMap behind `probabilities` is
    what scikit-learn users get who ask for nothing else; it stays, so that the sample shows it removed.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, StringTensorType

    model = convert_sklearn(
        pipeline,
        name="readmission",
        initial_types=[
            *((name, FloatTensorType([None, 1])) for name in NUMBERS),
            *((name, BooleanTensorType([None, 1])) for name in FLAGS),
            *((name, StringTensorType([None, 1])) for name in CATEGORIES),
        ],
        target_opset=TARGET_OPSET,
    )
    # skl2onnx has "label" and "probabilities" inside the graph, and calls its outputs otherwise.
    names = {
        "label": "regression_label",
        "probabilities": "regression_probabilities",
        "output_label": "label",
        "output_probability": "probabilities",
    }
    return _clean(model, properties={}, names=names)


def _clean(model: "onnx.ModelProto", *, properties: dict[str, str], names: dict[str, str]) -> bytes:
    """Rename values of the graph, set metadata properties, check, and serialise to reproducible bytes."""
    import onnx

    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names.get(output.name, output.name)
    # skl2onnx 1.20 lists the default domain twice for a Pipeline that ends in a tree; ONNX allows it once.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, opsets[domain]) for domain in sorted(opsets))
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
