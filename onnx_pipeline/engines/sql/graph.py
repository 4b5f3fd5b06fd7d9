"""From an ONNX graph and the tensors that are fed to it, to the tensors that it gives."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence

import onnx
import onnx.inliner
from onnx import numpy_helper

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql.expressions import Expression, in_order
from onnx_pipeline.engines.sql.nodes import Node, attributes_of
from onnx_pipeline.engines.sql.operators import OPERATORS, operator
from onnx_pipeline.engines.sql.passes.constants import folded
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["compile_graph"]


def compile_graph(
    model: onnx.ModelProto,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    origins: MutableMapping[Expression, str] | None = None,
) -> dict[str, Tensor]:
    """The tensors of `outputs`, as expressions over those of `inputs`.

    `origins` is filled with the node that each expression comes from, as messages call it.

    What no output asks for is not looked at. Raises NotCompilableError, naming the node, for what has no form in SQL.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    known: dict[str, Tensor | None] = {"": None, **inputs}
    _walk(model, model.graph, known, outputs, origins)
    return {name: _found(known, name) for name in outputs}


def _walk(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    known: dict[str, Tensor | None],
    outputs: Sequence[str],
    origins: MutableMapping[Expression, str] | None,
) -> None:
    """Add to `known` what the outputs of a graph, or of a branch of one, depend on."""
    versions = {opset.domain or "": opset.version for opset in model.opset_import}
    weights = {weight.name: Tensor.of_array(numpy_helper.to_array(weight)) for weight in graph.initializer}
    known |= {name: weight for name, weight in weights.items() if name not in known}
    for proto in _needed(graph, outputs):
        node = Node(
            op_type=proto.op_type,
            domain="" if proto.domain == "ai.onnx" else proto.domain,
            version=versions.get(proto.domain, 1),
            name=proto.name,
            inputs=[known[name] for name in proto.input],
            attributes=attributes_of(proto),
            outputs=len(proto.output),
        )
        if node.op_type == "If" and not node.domain:
            branch = node.attribute("then_branch" if node.constant(0) else "else_branch")
            names = [output.name for output in branch.output]
            _walk(model, branch, known, names, origins)
            made: Sequence[Tensor | None] = [known[name] for name in names]
        else:
            made = folded(proto, node, model) if _is_constant(node) else _compiled(node)
        known.update(zip(proto.output, made, strict=False))
        if origins is not None:
            _note(origins, made, node)


def _note(origins: MutableMapping[Expression, str], made: Sequence[Tensor | None], node: Node) -> None:
    cells = [cell for tensor in made if tensor is not None for cell in tensor]
    for each in in_order(cells, ends_at=origins.__contains__):
        if each.args:
            origins.setdefault(each, node.described)


def _found(known: Mapping[str, Tensor | None], name: str) -> Tensor:
    found = known.get(name)
    if found is None:
        raise NotCompilableError(f"output {name!r}: no node computes it in a form that SQL has")
    return found


def _needed(graph: onnx.GraphProto, outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in the graph's order, which is a topological one."""
    wanted = set(outputs)
    needed = []
    for proto in reversed(graph.node):
        if wanted & set(proto.output):
            needed.append(proto)
            wanted |= set(_read_by(proto))
    return needed[::-1]


def _read_by(proto: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, also within its branches."""
    yield from proto.input
    for attribute in proto.attribute:
        for inner in attribute.g.node:
            yield from _read_by(inner)
        yield from (output.name for output in attribute.g.output)


def _is_constant(node: Node) -> bool:
    return (node.domain, node.op_type) not in OPERATORS or all(
        tensor is None or tensor.is_constant for tensor in node.inputs
    )


def _compiled(node: Node) -> Sequence[Tensor | None]:
    try:
        made = operator(node)(node)
    except ValueError as error:
        raise node.refused(str(error)) from error
    return [made] if isinstance(made, Tensor) else made
