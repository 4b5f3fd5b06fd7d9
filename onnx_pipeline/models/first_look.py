"""The first look at a model: whatever loading it does to a process, it does to one of its own.

ONNX Runtime ends its process by an abort for some models, works for ever for others, or takes all memory. So a model
that was never seen is loaded, normalised and tried by `look_child` in another process, within limits. What was found,
a refusal too, is kept: only the first look at a model pays.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort

from onnx_pipeline.base import errors
from onnx_pipeline.base.errors import ModelError, OnnxPipelineError, RuntimeUnavailableError, UnsafeModelError
from onnx_pipeline.base.sizes import readable_bytes
from onnx_pipeline.models import limits
from onnx_pipeline.models.kept_looks import KeptLooks
from onnx_pipeline.models.look_process import Death, ask
from onnx_pipeline.models.runtime import RuntimeOptions, check_providers
from onnx_pipeline.models.user_cache import user_looks

__all__ = ["FirstLook", "look"]

_SOURCE = "\N{LEFT DOUBLE ANGLE BRACKET}model\N{RIGHT DOUBLE ANGLE BRACKET}"
"""What kept messages call the model: the same bytes may lie at any URI."""

_HAD_ITS_CHANCE = 0.1
"""Part of the time for which a look must have had the processor for its refusal to be kept: on a machine that is busy
with other things a good model takes long, too, and would stay refused."""


@dataclass(frozen=True)
class FirstLook:
    """What looking at a model found, for `OnnxModel.from_description`."""

    normalised: bytes
    """The model that runs."""
    facts: Mapping[str, Any]


def look(
    data: bytes, *, source: str, options: RuntimeOptions | None = None, looks: KeptLooks | None = None
) -> FirstLook:
    """What is known of the model in `data`, found out now where nobody did before. `source` is what messages call it.

    Raises InvalidModelError or UnsupportedModelError for a model that cannot be scored, UnsafeModelError for one that
    ended the process that looked at it or went over its limits, RuntimeUnavailableError where this machine lacks
    something that the model needs, or cannot start a process.
    """
    wanted = options or RuntimeOptions()
    check_providers(wanted)
    # By the CPU's provider, whose answers are the truth: what a model is does not depend on where it will run, and a
    # device adds up in another order in batches of another size.
    chosen = wanted.on_cpu()
    if chosen.trust_models:
        from onnx_pipeline.models.inspection import inspect

        return FirstLook(*inspect(data, source=source, options=chosen))
    kept = looks or user_looks()
    sha256 = hashlib.sha256(data).hexdigest()
    found = kept.find(sha256, chosen) if kept is not None else None
    if found is None:
        found = _found_out(data, chosen)
        if kept is not None and found["lasting"]:
            kept.keep(sha256, chosen, found, found.get("normalised"))
    if "refusal" in found:
        raise _refusal(found["refusal"], source)
    return FirstLook(found.get("normalised") or data, found["facts"])


def _found_out(data: bytes, options: RuntimeOptions) -> dict[str, Any]:
    request = {
        "source": _SOURCE,
        "graph_optimization": options.graph_optimization,
        "memory": options.look_memory,
        "seconds": options.look_seconds,
    }
    answer, payload = ask(request, data, seconds=options.look_seconds)
    if isinstance(answer, Death):
        refusal, lasting = _of_death(answer, options)
        return {"refusal": refusal, "lasting": lasting}
    if "facts" in answer:
        return {"facts": answer["facts"], "lasting": True, **({"normalised": payload} if payload else {})}
    kind = answer["error"]
    known = getattr(errors, kind, None)
    # What is wrong with this machine or this package says nothing about the model.
    lasting = isinstance(known, type) and issubclass(known, ModelError)
    return {"refusal": {"error": kind, "message": answer["message"]}, "lasting": lasting}


def _of_death(death: Death, options: RuntimeOptions) -> tuple[dict[str, Any], bool]:
    """What the end of the process says about the model, and whether it would end so again."""
    said = f" ({death.said})" if death.said else ""
    begin = f"{_SOURCE} is refused: loading and trying it in a process of its own"
    if death.cause == "time":
        limit = {"seconds": options.look_seconds}
        lasting = death.processor_seconds >= options.look_seconds * _HAD_ITS_CHANCE
        why = "A loop in it may never end; if it is only slow,"
        if not lasting:
            had = f"It had the processor for {death.processor_seconds:.1f} s of them"
            why = f"{had}, so this machine has much else to do: run it again when that is done, or"
        message = (
            f"{begin} took more than {options.look_seconds:g} s. {why} give it longer by {limits.LOOK_SECONDS} or "
            "`look_seconds` of the resource `onnx_runtime`"
        )
    elif death.cause == "memory":
        limit, lasting = {"memory": options.look_memory}, True
        message = (
            f"{begin} took more than {readable_bytes(options.look_memory)} of memory{said}. If it is meant to be that "
            f"large, allow more by {limits.LOOK_MEMORY} or `look_memory` of the resource `onnx_runtime`"
        )
    else:
        limit, lasting = {}, death.of_the_model
        message = (
            f"{begin} ended that process by {death.cause}{said}, as it would have ended this one. Export it again (a "
            f"classifier that knows a single class is a known cause), or use another release of ONNX Runtime than "
            f"{ort.__version__}"
        )
        if not death.of_the_model:
            message = (
                f"{begin} was cut short by {death.cause}{said}: somebody ended that process, or the machine ran out of "
                "memory. Run it again with more memory"
            )
    return {"error": UnsafeModelError.__name__, "message": message, "limit": limit}, lasting


def _refusal(refusal: Mapping[str, Any], source: str) -> OnnxPipelineError:
    kind = getattr(errors, refusal["error"], None)
    message = refusal["message"].replace(_SOURCE, source)
    if isinstance(kind, type) and issubclass(kind, OnnxPipelineError):
        return kind(message)
    return RuntimeUnavailableError(message)
