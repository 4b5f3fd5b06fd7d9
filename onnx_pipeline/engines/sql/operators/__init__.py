"""Which operators have a form in SQL, and where it is written: one module per operator or family of one formula.

A compiled operator is a function from a `Node` to the tensor, or the tensors, that it gives. For what it cannot say in
SQL it raises `node.refused(...)`; ValueError is told in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from onnx_pipeline.base.imports import imported
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["OPERATORS", "operator"]

Compiled: TypeAlias = "Tensor | Sequence[Tensor | None]"

_HERE = "onnx_pipeline.engines.sql.operators"
_ML = "ai.onnx.ml"

OPERATORS: Mapping[tuple[str, str], str] = MappingProxyType({
    ("", "Add"): "arithmetic:add",
    ("", "Div"): "arithmetic:divide",
    ("", "Identity"): "identity:identity",
    ("", "Mul"): "arithmetic:multiply",
    ("", "Neg"): "arithmetic:negate",
    ("", "Sub"): "arithmetic:subtract",
    (_ML, "ArrayFeatureExtractor"): "array_feature_extractor:array_feature_extractor",
    (_ML, "Binarizer"): "binarizer:binarizer",
    (_ML, "CastMap"): "maps:takes_a_map",
    (_ML, "CategoryMapper"): "category_mapper:category_mapper",
    (_ML, "DictVectorizer"): "maps:takes_a_map",
    (_ML, "FeatureVectorizer"): "feature_vectorizer:feature_vectorizer",
    (_ML, "Imputer"): "imputer:imputer",
    (_ML, "LabelEncoder"): "label_encoder:label_encoder",
    (_ML, "LinearClassifier"): "linear_classifier:linear_classifier",
    (_ML, "LinearRegressor"): "linear_regressor:linear_regressor",
    (_ML, "Normalizer"): "normalizer:normalizer",
    (_ML, "OneHotEncoder"): "one_hot_encoder:one_hot_encoder",
    (_ML, "SVMClassifier"): "svm_classifier:svm_classifier",
    (_ML, "SVMRegressor"): "svm_regressor:svm_regressor",
    (_ML, "Scaler"): "scaler:scaler",
    (_ML, "TreeEnsembleRegressor"): "tree_ensemble_regressor:tree_ensemble_regressor",
    (_ML, "ZipMap"): "maps:zip_map",
})  # fmt: skip
"""(domain, operator) → module and function that compile it."""


def operator(node: Node) -> Callable[[Node], Compiled]:
    """What compiles such a node."""
    found: Callable[[Node], Compiled] = imported(f"{_HERE}.{OPERATORS[node.domain, node.op_type]}")
    return found
