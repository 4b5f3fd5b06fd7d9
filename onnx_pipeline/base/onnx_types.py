"""Element types of ONNX tensors as NumPy has them: what is known of a type without Arrow, which imports slowly."""

from typing import Any

import numpy as np

from onnx_pipeline.base.errors import UnsupportedModelError

__all__ = ["ELEMENT_TYPES", "element_type"]

ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    **{
        name: np.dtype(name)
        for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16")
    },
    "float": np.dtype("float32"),
    "double": np.dtype("float64"),
    "string": np.dtype("object"),
}
"""By ONNX Runtime's name: the types that `base.types` has a table column for."""


def element_type(name: str, *, tensor: str) -> np.dtype[Any]:
    """The NumPy type of a tensor's elements, by ONNX Runtime's name with or without `tensor(...)`.

    Raises UnsupportedModelError, naming tensor and dtype, for a dtype that no table column has.
    """
    bare = name.removeprefix("tensor(").removesuffix(")") if name.startswith("tensor(") else name
    if bare in ELEMENT_TYPES:
        return ELEMENT_TYPES[bare]
    raise UnsupportedModelError(
        f"tensor {tensor!r} has the dtype {bare}, which no table column has; "
        f"export the model with a Cast to one of {', '.join(ELEMENT_TYPES)}"
    )
