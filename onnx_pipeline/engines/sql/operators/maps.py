"""Operators of maps, which are no columns: DictVectorizer and CastMap take one per row, ZipMap gives one."""

from typing import NoReturn

from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["takes_a_map", "zip_map"]


def takes_a_map(node: Node) -> NoReturn:
    """DictVectorizer and CastMap."""
    raise node.refused(
        "it takes a map per row, and a column of a pool holds none; export the model with one input per feature, "
        "e.g. a ColumnTransformer with a OneHotEncoder in place of a DictVectorizer"
    )


def zip_map(node: Node) -> NoReturn:
    """ZipMap inside of a graph: at its end it is taken off when the model is read."""
    raise node.refused("it gives a map per row, and no column holds one; export the model with `zipmap: False`")
