"""A fingerprint of what beside the model decides a prediction, and how two of them differ.

It is made of named, resolved values, each hashed by itself, so that what changed has a name: which column feeds which
input, what stands in for NULL, which output goes where, the key, the source's text, what becomes of NaN, and what an
engine says of its options. What decides no prediction is not in it: a schedule, thresholds, a group, `changed`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.models.binding import bind
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.signature import Signature
from onnx_pipeline.pools.queries import source_text
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["FORM", "differences", "settings", "settings_of"]

FORM = "1"
"""Raised whenever the same settings would give other hashes: those of two forms are never compared."""

_DIGITS = 16
"""Of each value's sha256: it tells changes, and nobody gains by forging one."""


def settings(spec: ScoringSpec, source: Source, signature: Signature, feature_names: Sequence[str] | None) -> str:
    """`1 engine=<16 digits> features=... key=... nan_predictions=... nulls=... outputs=... source=...`.

    Raises SignatureError where model, source and spec do not go together.
    """
    bound = bind(signature, spec.features, feature_names=feature_names)
    features = {
        place.tensor.name: [source.name(column, role=f"input {place.tensor.name}") for column in place.columns]
        for place in bound.inputs
    }
    values: dict[str, Any] = {
        "engine": dict(spec.engine.decides),
        "features": features,
        "key": sorted(source.name(column, role="key") for column in spec.key),
        "nan_predictions": spec.checks.nan_predictions,
        "nulls": {source.name(column, role="nulls"): _plain(value) for column, value in spec.nulls.items()},
        "outputs": _outputs(spec, signature),
        "source": source_text(spec),
    }
    return " ".join([FORM, *(f"{name}={_hash(value)}" for name, value in values.items())])


def settings_of(spec: ScoringSpec, source: Source, signed: str | None) -> str | None:
    """The fingerprint for a model of which no more is known than what the models table keeps (`planned.signed`).

    None where nobody can tell: the model was not registered, or by an earlier version that kept no names of features
    and the spec goes by them, or it reads what the spec no longer names. Then the model itself has changed.
    """
    if signed is None:
        return None
    try:
        return settings(spec, source, Signature.from_json(signed), json.loads(signed).get("feature_names"))
    except SignatureError:
        return None


def differences(logged: str | None, now: str | None) -> list[str]:
    """The names of the settings that differ; none where one of the two is unknown or of another form."""
    if logged is None or now is None or logged == now:
        return []
    before, after = logged.split(" "), now.split(" ")
    if before[0] != after[0]:
        return []
    known = set(before)
    return [part.partition("=")[0] for part in after[1:] if part not in known]


def _outputs(spec: ScoringSpec, signature: Signature) -> dict[str, str]:
    """Target column to model output. What a column of classes is called follows from the model."""
    output_columns(signature, spec.outputs)
    if spec.outputs is not None:
        return dict(spec.outputs)
    return {output.name: output.name for output in signature.outputs}


def _plain(value: Any) -> Any:
    """`0` and `0.0` stand in for NULL alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hash(value: Mapping[str, Any] | Sequence[Any] | str) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
