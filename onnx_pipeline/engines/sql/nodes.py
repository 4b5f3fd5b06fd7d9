"""What a compiled operator sees of its node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["Node", "attributes_of"]


@dataclass(frozen=True)
class Node:
    """One node of the graph with what flows into it."""

    op_type: str
    domain: str
    version: int
    """Of the operator set that the model imports for the domain."""
    name: str
    inputs: Sequence[Tensor | None]
    """In order; None for one that is left out."""
    attributes: Mapping[str, Any]
    """Numbers, texts, lists and arrays; texts are decoded."""
    outputs: int
    """How many of its outputs somebody names."""

    def __getitem__(self, place: int) -> Tensor:
        found = self.input(place)
        if found is None:
            raise self.refused(f"its input {place} is missing")
        return found

    def input(self, place: int) -> Tensor | None:
        """An input that may be left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def constant(self, place: int) -> Any:
        """The array of an input that must be the same for every row. Raises NotCompilableError where rows decide it."""
        found = self[place]
        if not found.is_constant:
            raise self.refused(f"its input {place} differs from row to row, and it has to be a constant")
        return found.array

    def optional_constant(self, place: int) -> Any:
        """The same; None where it is left out."""
        return None if self.input(place) is None else self.constant(place)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def refused(self, why: str) -> NotCompilableError:
        """The error for what this operator cannot be compiled from."""
        return NotCompilableError(f"{self.described}: {why}")

    @property
    def described(self) -> str:
        """The node for messages: `Gemm 'layer_1'`."""
        domain = f"{self.domain}." if self.domain else ""
        return f"{domain}{self.op_type}" + (f" {self.name!r}" if self.name else "")


def attributes_of(proto: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values, arrays and graphs."""
    found: dict[str, Any] = {}
    for attribute in proto.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [item.decode() for item in value]
        elif isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        found[attribute.name] = value
    return found
