"""The format that a spec names."""

from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.engines.remote.wire import Wire
from onnx_pipeline.spec.engines.remote import Wire as WireName

__all__ = ["open_wire"]


def open_wire(name: WireName, layout: Layout) -> Wire:
    """The wire of a spec."""
    if name == "arrow":
        from onnx_pipeline.engines.remote.arrow_wire import ArrowWire

        return ArrowWire(layout)
    if name == "v2":
        from onnx_pipeline.engines.remote.v2_wire import V2Wire

        return V2Wire(layout)
    from onnx_pipeline.engines.remote.json_wires import JSON_WIRES

    return JSON_WIRES[name](layout)
