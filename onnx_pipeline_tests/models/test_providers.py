"""Execution providers and their options, as people write them."""

import pytest

from onnx_pipeline.base.errors import DataError, OutOfMemoryError, RuntimeUnavailableError, SpecError
from onnx_pipeline.models import RuntimeOptions
from onnx_pipeline.models.providers import CPU, PROVIDERS, Provider, as_providers
from onnx_pipeline.models.runtime_errors import at_run, of_provider_options

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"


def test_plain_names_stay_as_they_were():
    options = RuntimeOptions(providers=(CUDA, CPU))
    assert options.providers == (CUDA, CPU)
    assert options == RuntimeOptions(providers=[CUDA, CPU])
    assert RuntimeOptions().providers == (CPU,)
    assert hash(options) == hash(RuntimeOptions(providers=[CUDA, CPU]))


@pytest.mark.parametrize(
    "written",
    [
        {CUDA: {"device_id": 1, "gpu_mem_limit": "8GB", "use_tf32": True}},
        (CUDA, {"use_tf32": "1", "gpu_mem_limit": 8 * 2**30, "device_id": "1"}),
        Provider(CUDA, (("device_id", "1"), ("gpu_mem_limit", str(8 * 2**30)), ("use_tf32", "1"))),
    ],
)
def test_options_are_written_in_several_ways_and_are_the_same(written):
    (provider, cpu) = RuntimeOptions(providers=[written, CPU]).chosen
    assert provider.settings == {"device_id": "1", "gpu_mem_limit": "8589934592", "use_tf32": "1"}
    assert cpu == Provider(CPU)
    assert str(provider) == f"{CUDA} (device_id=1, gpu_mem_limit=8589934592, use_tf32=1)"


def test_a_name_without_options_may_be_written_as_a_mapping():
    assert as_providers([{CUDA: None}, {CPU: {}}]) == (CUDA, CPU)


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        (CUDA, {"use_tf32": "0"}),
        (TENSORRT, {"trt_fp16_enable": "0", "trt_int8_enable": "0"}),
        ("OpenVINOExecutionProvider", {"precision": "ACCURACY"}),
        (CPU, {}),
    ],
)
def test_reduced_precision_is_off_unless_it_is_asked_for(provider, settings):
    options = RuntimeOptions(providers=[provider])
    assert options.chosen[0].settings == settings
    assert options.reduced_precision == ()


@pytest.mark.parametrize(
    ("provider", "options", "reduced"),
    [
        (CUDA, {"use_tf32": True}, ["use_tf32=1"]),
        (CUDA, {"use_tf32": 0}, []),
        (CUDA, {"use_tf32": "false"}, []),
        (TENSORRT, {"trt_fp16_enable": True, "trt_int8_enable": False}, ["trt_fp16_enable=1"]),
        (TENSORRT, {"trt_bf16_enable": "True"}, ["trt_bf16_enable=True"]),
        ("OpenVINOExecutionProvider", {"precision": "FP16"}, ["precision=FP16"]),
        ("OpenVINOExecutionProvider", {"precision": "FP32"}, []),
        (
            "CoreMLExecutionProvider",
            {"AllowLowPrecisionAccumulationOnGPU": 1},
            ["AllowLowPrecisionAccumulationOnGPU=1"],
        ),
        ("MIGraphXExecutionProvider", {"migraphx_fp16_enable": True}, ["migraphx_fp16_enable=1"]),
    ],
)
def test_what_makes_answers_less_exact_is_known_by_name(provider, options, reduced):
    chosen = RuntimeOptions(providers=[{provider: options}])
    assert chosen.reduced_precision == tuple(f"{provider} {option}" for option in reduced)


def test_a_cache_folder_of_tensorrt_turns_its_cache_on_unless_it_is_written_off():
    (kept,) = RuntimeOptions(providers=[{TENSORRT: {"trt_engine_cache_path": "engines"}}]).chosen
    assert kept.settings["trt_engine_cache_enable"] == "1"
    written = {"trt_engine_cache_path": "engines", "trt_engine_cache_enable": False}
    assert RuntimeOptions(providers=[{TENSORRT: written}]).chosen[0].settings["trt_engine_cache_enable"] == "0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"providers is empty, so nothing would run a model; write providers: \[CPUExecutionProvider\]"),
        (CUDA, r"providers is 'CUDAExecutionProvider', which is no list"),
        ([CUDA, {CUDA: {"device_id": 1}}], "names CUDAExecutionProvider twice; write one entry"),
        ([{CUDA: {}, CPU: {}}], "which is no execution provider; write its name, or its name and options"),
        ([7], "holds 7, which is no execution provider"),
        ([{CUDA: ["device_id"]}], r"gives CUDAExecutionProvider the options \['device_id'\], which are no names and"),
        ([{CUDA: {"device_id": [1]}}], r"the option device_id=\[1\], and ONNX Runtime takes texts, numbers"),
        (
            [{CUDA: {"gpu_mem_limit": "much"}}],
            "gpu_mem_limit of CUDAExecutionProvider in providers is 'much', which is no",
        ),
    ],
)
def test_what_is_no_provider_is_told_with_what_to_write(given, message):
    with pytest.raises(SpecError, match=message):
        RuntimeOptions(providers=given)


@pytest.mark.parametrize("tolerance", [0, -1e-5, float("inf"), float("nan")])
def test_a_tolerance_is_a_positive_number(tolerance):
    with pytest.raises(SpecError, match="write a number such as 1e-5"):
        RuntimeOptions(provider_tolerance=tolerance)


@pytest.mark.parametrize(
    ("text", "providers"),
    [
        ("", (CPU,)),
        (f" {CUDA}, {CPU} ", (CUDA, CPU)),
        (f'["{CUDA}"]', (CUDA,)),
        (f'[{{"{CUDA}": {{"device_id": 1}}}}, "{CPU}"]', (Provider(CUDA, (("device_id", "1"),)), CPU)),
        (f'{{"{CUDA}": {{"use_tf32": true}}}}', (Provider(CUDA, (("use_tf32", "1"),)),)),
    ],
)
def test_the_environment_names_what_nothing_else_does(monkeypatch, text, providers):
    monkeypatch.setenv(PROVIDERS, text)
    assert RuntimeOptions().providers == providers
    assert RuntimeOptions(providers=("Other",)).providers == ("Other",)


def test_the_service_runs_models_by_the_environment_too(monkeypatch):
    pytest.importorskip("starlette")
    from onnx_pipeline.serving.settings import ServingSettings

    monkeypatch.setenv(PROVIDERS, f"{CUDA},{CPU}")
    assert ServingSettings.from_environment({}).runtime.providers == (CUDA, CPU)


@pytest.mark.parametrize(("text", "message"), [("[CUDA", "which is no JSON"), ("[1]", f"{PROVIDERS} holds 1")])
def test_an_environment_that_cannot_be_read_is_named(monkeypatch, text, message):
    monkeypatch.setenv(PROVIDERS, text)
    with pytest.raises(SpecError, match=message):
        RuntimeOptions()


# As onnxruntime-gpu 1.31.1 says it.
_PLACE = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static FromProviderOptions"
)
SAID = [
    (
        f'{_PLACE} [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse Unknown provider option: "no".\n',
        SpecError, r'refuses its options \(CUDAExecutionProvider \(no=1\)\): Unknown provider option: "no"\. Correct them',
    ),
    (
        f'{_PLACE} [ONNXRuntimeError] : 1 : FAIL : Parse Failed to parse provider option "device_id": Invalid device ID: 7',
        SpecError, 'Failed to parse provider option "device_id": Invalid device ID: 7',
    ),
    (
        "void RegisterTensorRTPluginsAsCustomOps(const onnxruntime::ProviderOptions&) Please install TensorRT libraries",
        RuntimeUnavailableError, "did not start .*Please install TensorRT libraries",
    ),
    ("CUDA failure 100: no CUDA-capable device is detected ; GPU=0", RuntimeUnavailableError, "Check the device"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "message"), SAID)
def test_what_a_provider_refuses_is_no_fault_of_the_model(said, kind, message):
    found = of_provider_options(RuntimeError(said), RuntimeOptions(providers=[{CUDA: {"no": 1}}]).accelerators)
    with pytest.raises(kind, match=message):
        raise found


def test_what_is_wrong_with_the_model_stays_that():
    providers = RuntimeOptions(providers=[CUDA]).accelerators
    assert of_provider_options(RuntimeError("No Op registered for Foo"), providers) is None
    assert of_provider_options(RuntimeError("Unknown provider option"), ()) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "Error in execution: bfc_arena.cc:360 BFCArena::AllocateRawInternal Available memory is smaller",
            OutOfMemoryError,
        ),
        ("CUDA failure 2: out of memory ; GPU=0", OutOfMemoryError),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", RuntimeUnavailableError),
        ("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED", RuntimeUnavailableError),
        ("indices element out of data bounds", DataError),
    ],
)
def test_a_device_that_fails_is_no_fault_of_the_rows(said, kind):
    assert type(at_run(RuntimeError(said), 3)) is kind
