"""A fingerprint of what beside the model decides a prediction, and how two of them differ.

It is made of named, resolved values, each hashed by itself, so that what changed has a name: which column feeds which
input, what stands in for NULL, which output goes where, the key, the source's text, what becomes of NaN, and what an
engine says of its options, with reduced precision where the environment asks for it. What decides no prediction is not
in it: a schedule, thresholds, a group, `changed`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.models.binding import bind
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.providers import Provider, default_providers
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
    features = _features(spec, source, signature, feature_names)
    return _text({**_without_model(spec, source), "features": features, "outputs": _outputs(spec, signature)})


def settings_of(spec: ScoringSpec, source: Source, signed: str | None) -> str | None:
    """The fingerprint for a model of which no more is known than what the models table keeps (`planned.signed`).

    Without what nobody can tell: of a model that is not registered, or was by an earlier version that kept no names of
    features where the spec goes by them, its features; of one that the spec no longer fits, its outputs. None where the
    spec fits not even the source.
    """
    try:
        values = _without_model(spec, source)
    except SignatureError:
        return None
    if signed is not None:
        signature, names = Signature.from_json(signed), json.loads(signed).get("feature_names")
        with suppress(SignatureError):
            values["features"] = _features(spec, source, signature, names)
        with suppress(SignatureError):
            values["outputs"] = _outputs(spec, signature)
    return _text(values)


def _without_model(spec: ScoringSpec, source: Source) -> dict[str, Any]:
    """What the spec and the source say by themselves."""
    return {
        "engine": {**spec.engine.decides, **_precision(spec)},
        "key": sorted(source.name(column, role="key") for column in spec.key),
        "nan_predictions": spec.checks.nan_predictions,
        "nulls": {source.name(column, role="nulls"): _plain(value) for column, value in spec.nulls.items()},
        "source": source_text(spec),
    }


def _precision(spec: ScoringSpec) -> dict[str, list[str]]:
    """Reduced precision, where the environment asks for it: nothing else, so that no other fingerprint changes.

    What a run's configuration alone asks for is not in it, since commands ask no resource and would see a change.
    """
    asked = spec.engine.kind == "onnxruntime" and [
        f"{provider.name} {option}"
        for provider in default_providers()
        if isinstance(provider, Provider)
        for option in provider.reduced
    ]
    return {"reduced_precision": asked} if asked else {}


def _features(
    spec: ScoringSpec, source: Source, signature: Signature, names: Sequence[str] | None
) -> dict[str, list[str]]:
    """Source columns by model input."""
    bound = bind(signature, spec.features, feature_names=names)
    return {
        place.tensor.name: [source.name(column, role=f"input {place.tensor.name}") for column in place.columns]
        for place in bound.inputs
    }


def _text(values: Mapping[str, Any]) -> str:
    return " ".join([FORM, *(f"{name}={_hash(values[name])}" for name in sorted(values))])


def differences(logged: str | None, now: str | None) -> list[str]:
    """The names of the settings that differ, as far as both know them; none where one is of another form."""
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
