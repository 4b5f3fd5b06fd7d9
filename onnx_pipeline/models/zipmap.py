"""Removal of ZipMap: by default skl2onnx gives probabilities as a list of dicts, which is very slow.

The operator only renames: https://onnx.ai/onnx/operators/onnx_aionnxml_ZipMap.html
"""

from typing import TYPE_CHECKING

from onnx_pipeline.models.labels import labels_attribute

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["remove_zipmaps"]


def remove_zipmaps(model: "ModelProto") -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Turns every output of a ZipMap into the `[N, K]` tensor behind it, under the same name; in place.

    Gives the class labels of each such output, in column order, and what was done, as sentences.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    labels: dict[str, tuple[str, ...]] = {}
    outputs = {value.name: value for value in graph.output}
    zipmaps = [node for node in graph.node if node.op_type == "ZipMap" and node.output[0] in outputs]
    for node in zipmaps:
        name = node.output[0]
        labels[name] = labels_attribute(node) or ()
        # An Identity and not a rename: the tensor may have other readers, or be an output itself.
        position = list(graph.node).index(node)
        graph.node.remove(node)
        graph.node.insert(position, helper.make_node("Identity", [node.input[0]], [name]))
        width = len(labels[name]) or None
        outputs[name].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]))
    changes = [
        f"ZipMap removed: output {name!r} is a tensor with one column per class ({', '.join(classes)})"
        for name, classes in labels.items()
    ]
    return labels, changes
