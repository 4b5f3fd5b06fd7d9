"""Names that bodies of one graph share: the two branches of an If may each have a tensor `t`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["with_unique_names"]

_SUFFIX = " in another body"


def with_unique_names(model: "ModelProto") -> "ModelProto":
    """The model, or a copy in which a name that two bodies use for tensors of their own is another one in the second.

    ONNX wants names to be unique within a graph and those around it, and says nothing of bodies that lie side by side.
    """
    if not _is_shared(model.graph, set()):
        return model
    changed = type(model)()
    changed.CopyFrom(model)
    _rename(changed.graph, {}, set())
    return changed


def _bodies(node: "NodeProto") -> "Iterator[GraphProto]":
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _own(graph: "GraphProto") -> Iterator[str]:
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from filter(None, node.output)


def _is_shared(graph: "GraphProto", taken: set[str]) -> bool:
    own = set(_own(graph))
    if own & taken:
        return True
    taken |= own
    return any(_is_shared(body, taken) for node in graph.node for body in _bodies(node))


def _rename(graph: "GraphProto", outer: Mapping[str, str], taken: set[str]) -> None:
    names = dict(outer)
    for name in set(_own(graph)):
        free = name
        while free in taken:
            free += _SUFFIX
        taken.add(free)
        names[name] = free
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
        for body in _bodies(node):
            _rename(body, names, taken)
