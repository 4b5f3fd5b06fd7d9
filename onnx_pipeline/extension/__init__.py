"""SQL Server's external language `ONNX`: packing the C++ library of `extension/`, and bringing it to a server."""

LANGUAGE = "ONNX"
"""The language's name in `@language`."""

__all__ = ["LANGUAGE"]
