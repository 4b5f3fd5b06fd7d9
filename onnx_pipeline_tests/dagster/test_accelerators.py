"""Execution providers in the pipeline: how they are configured, and what is recorded of them.

There is no GPU here: `AzureExecutionProvider`, which takes no operator of these models, stands for one.
"""

import dagster as dg
import numpy as np
import onnxruntime as ort
import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.models import RuntimeOptions
from onnx_pipeline.models.providers import CPU, PROVIDERS
from onnx_pipeline.orchestration.resources import OnnxRuntimeResource
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, definitions

ELSEWHERE = "AzureExecutionProvider"
CUDA = "CUDAExecutionProvider"
here = pytest.mark.skipif(
    ELSEWHERE not in ort.get_available_providers(), reason=f"this package of ONNX Runtime has no {ELSEWHERE}"
)


def test_the_resource_takes_names_and_options():
    resource = OnnxRuntimeResource(providers=[{CUDA: {"device_id": 1, "use_tf32": True}}, CPU], provider_tolerance=1e-4)
    options = resource.options()
    assert options == RuntimeOptions(
        providers=[(CUDA, {"use_tf32": "1", "device_id": "1"}), CPU], provider_tolerance=1e-4
    )
    assert OnnxRuntimeResource(providers=["A", "B"]).options().providers == ("A", "B")
    with pytest.raises(SpecError, match="providers of the resource onnx_runtime holds 7"):
        OnnxRuntimeResource(providers=[7]).options()


def test_the_resource_leaves_to_the_environment_what_it_does_not_say(monkeypatch):
    assert OnnxRuntimeResource().options().providers == (CPU,)
    monkeypatch.setenv(PROVIDERS, f"{CUDA}, {CPU}")
    assert OnnxRuntimeResource().options().providers == (CUDA, CPU)
    assert OnnxRuntimeResource(providers=[CPU]).options().providers == (CPU,)


@here
@pytest.mark.parametrize("written", [ELSEWHERE, {ELSEWHERE: {}}])
def test_where_a_model_ran_and_how_far_its_answers_are_the_cpus_is_shown(
    project: Project, make_spec: MakeSpec, runner: Runner, written: object
) -> None:
    spec = make_spec()
    config = {"resources": {"onnx_runtime": {"config": {"providers": [written, CPU]}}}}
    result = (
        definitions(spec)
        .resolve_job_def(spec.scoring)
        .execute_in_process(instance=runner.instance, run_config=config, tags={"dagster/partition": DAYS[0]})
    )
    metadata = runner.materialized(result, "predictions")[DAYS[0]]
    assert metadata["providers"].value == f"{ELSEWHERE}, {CPU}"
    assert metadata["difference_from_cpu"] == dg.MetadataValue.float(0.0)
    assert "reduced_precision" not in metadata
    project.assert_scored(f"day = '{DAYS[0]}'")


def test_without_another_provider_nothing_is_said_of_them(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    result = runner.run(make_spec(), partition=DAYS[0])
    assert not {"providers", "difference_from_cpu"} & set(runner.materialized(result, "predictions")[DAYS[0]])


def test_a_provider_that_misses_the_cpu_loads_nothing(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch
) -> None:
    if ELSEWHERE not in ort.get_available_providers():
        pytest.skip(f"this package of ONNX Runtime has no {ELSEWHERE}")
    from onnx_pipeline.models.accelerators import opened

    opened._agreements.clear()
    run = opened.Calls.__call__

    def imprecise(self, feeds, rows, **more):
        answers = run(self, feeds, rows, **more)
        return (
            [answer * np.float32(1.001) for answer in answers] if isinstance(self, opened.AcceleratedCalls) else answers
        )

    monkeypatch.setattr(opened.Calls, "__call__", imprecise)
    monkeypatch.setenv(PROVIDERS, f"{ELSEWHERE},{CPU}")
    said = runner.failure(runner.run(make_spec(), partition=DAYS[0]))
    assert f"the answers of {ELSEWHERE} differ from the CPU's by 1.0e-03 relative" in said
    assert "`provider_tolerance`" in said
    opened._agreements.clear()
