"""A signature as a person writes it: `{age: float32, features: float32[27]}`."""

import re
from collections.abc import Mapping

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.types import COLUMN_TYPES
from onnx_pipeline.models.signature import OutputSignature, Signature, TensorSignature

__all__ = ["declared_signature"]

_ONNX = {kind.name: kind.onnx for kind in COLUMN_TYPES if kind.onnx is not None}
_TYPE = re.compile(r"(?P<dtype>\w+)(\[(?P<width>[1-9]\d{0,3})\])?")


def declared_signature(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Signature:
    """The signature; `float32` is a tensor `[N]`, `float32[27]` one of `[N, 27]`.

    Raises ValueError (of Pydantic's kind, so that a spec reports it with its line) for a type that is none.
    """
    if not inputs or not outputs:
        raise ValueError("engine: `inputs` and `outputs` name at least one column each")
    try:
        return Signature(
            tuple(TensorSignature(name, *_tensor(name, text)) for name, text in inputs.items()),
            tuple(OutputSignature(name, *_tensor(name, text)) for name, text in outputs.items()),
        )
    except SignatureError as error:
        raise ValueError(str(error)) from error


def _tensor(name: str, text: str) -> tuple[str, tuple[int | None, ...]]:
    found = _TYPE.fullmatch(text.strip())
    dtype = _ONNX.get(found["dtype"]) if found is not None else None
    if found is None or dtype is None:
        raise SignatureError(
            f"engine: {name!r} has the type {text!r}; write one of {', '.join(_ONNX)}, with [27] behind for 27 columns"
        )
    width = found["width"]
    return dtype, (None,) if width is None else (None, int(width))
