"""Which options of execution providers trade exactness for speed. None of them is on unless it was asked for."""

from collections.abc import Mapping

__all__ = ["full_precision", "reduced_precision"]

_FULL: Mapping[str, Mapping[str, str]] = {
    # TF32 keeps 10 bits of a factor's mantissa of 23: answers of networks differ by 5e-4 to 9e-4, and by 2e-7 to 7e-7
    # without it. ONNX Runtime turns it on.
    "CUDAExecutionProvider": {"use_tf32": "0"},
    # Off is their own default, too; said so that no later one changes it.
    "TensorrtExecutionProvider": {"trt_fp16_enable": "0", "trt_int8_enable": "0"},
    # On a GPU OpenVINO computes in FP16 unless told to keep the model's own types.
    "OpenVINOExecutionProvider": {"precision": "ACCURACY"},
}
_REDUCED: Mapping[str, tuple[str, ...]] = {
    "CUDAExecutionProvider": ("use_tf32",),
    "TensorrtExecutionProvider": ("trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable", "trt_fp8_enable"),
    "MIGraphXExecutionProvider": (
        "migraphx_fp16_enable",
        "migraphx_bf16_enable",
        "migraphx_fp8_enable",
        "migraphx_int8_enable",
    ),
    "CoreMLExecutionProvider": ("AllowLowPrecisionAccumulationOnGPU",),
    "QNNExecutionProvider": ("enable_htp_fp16_precision",),
    "ACLExecutionProvider": ("enable_fast_math",),
}
_OFF = frozenset({"", "0", "false"})
_EXACT_PRECISIONS = frozenset({"FP32", "ACCURACY"})


def full_precision(provider: str) -> dict[str, str]:
    """Options that keep a provider at the precision of the model, by name."""
    return dict(_FULL.get(provider, {}))


def reduced_precision(provider: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a provider's options that make its answers less exact: `use_tf32=1`."""
    found = [
        f"{name}={options[name]}"
        for name in _REDUCED.get(provider, ())
        if options.get(name, "").strip().lower() not in _OFF
    ]
    precision = options.get("precision", "ACCURACY") if provider == "OpenVINOExecutionProvider" else "ACCURACY"
    if precision.upper() not in _EXACT_PRECISIONS:
        found.append(f"precision={precision}")
    return tuple(found)
