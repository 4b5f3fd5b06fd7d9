"""What Dagster injects into assets and sensors, defined once for all scorings.

Relative paths start at the project's root (or ONNX_PIPELINE_HOME), whatever the working directory is.
"""

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from onnx_pipeline.azure.account import account_configured
from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.sizes import bytes_of
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.providers import CPU, as_providers
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.scoring.staging import Staging

__all__ = [
    "DEFAULT_POOL",
    "ArtifactStoreResource",
    "OnnxRuntimeResource",
    "PoolResource",
    "StagingResource",
    "concurrency_pool",
    "default_resources",
    "pool_kind",
    "pool_url",
    "scoring_resources",
]

DEFAULT_POOL = "duckdb:///data/pool.duckdb"
DEFAULT_ARTIFACTS = "data/artifacts"
_DEFAULTS = RuntimeOptions(providers=(CPU,))


def pool_url() -> str:
    """ONNX_PIPELINE_POOL, else the embedded pool of the sample."""
    return os.environ.get("ONNX_PIPELINE_POOL") or DEFAULT_POOL


def pool_kind() -> str:
    """The kind of the configured pool, as the UI shows it on assets."""
    return _as_named(pool_url()).kind


def default_schema() -> str:
    """The schema of a table of the configured pool that is named without one."""
    return _as_named(pool_url()).default_schema


def concurrency_pool(url: str) -> str:
    """Dagster's concurrency pool for a database: how many partitions may touch it at once."""
    return re.sub(r"\W+", "_", _as_named(url).display_name).strip("_").lower()


@lru_cache(maxsize=4)
def _as_named(url: str) -> Pool:
    """For what the URL alone says: each scoring asks ten times while its definitions load."""
    return open_pool(url)


class PoolResource(dg.ConfigurableResource[Pool]):
    """The database that holds sources, targets, models and the scoring log; the environment's ONNX_PIPELINE_POOL names it."""

    url: str = Field(
        default="",
        description="Leave it out: the pool is what ONNX_PIPELINE_POOL says, and another URL here is refused.",
    )

    def open(self) -> Pool:
        """The pool; `SpecError` where `url` names another one than the environment.

        The environment is its one home: slots and kinds are known before any resource is, commands ask no resource,
        and Dagster's UI shows what stands here.
        """
        of_environment = open_pool(pool_url())
        if self.url not in ("", pool_url()):
            raise SpecError(
                f"the resource `pool` has a URL of its own, {open_pool(self.url).display_name}, and the environment "
                f"says {of_environment.display_name}: commands, slots and assets' kinds would follow the one, and "
                "runs the other. Set ONNX_PIPELINE_POOL to that URL (in the project's .env, say), and leave `url` out"
            )
        return of_environment


class OnnxRuntimeResource(dg.ConfigurableResource[RuntimeOptions]):
    """How ONNX Runtime runs models in this process. Sessions are cached by the model's sha256."""

    providers: list[Any] = Field(
        default=[],
        description="Execution providers, first choice first: names, or a name with options, "
        "`{CUDAExecutionProvider: {device_id: 0, gpu_mem_limit: 8GB}}`. Reduced precision (`use_tf32`, `trt_fp16_enable`) "
        "is off unless an option asks for it. One that is not installed is an error. By default what "
        "ONNX_PIPELINE_PROVIDERS says, else the CPU's.",
    )
    provider_tolerance: float = Field(
        default=_DEFAULTS.provider_tolerance,
        gt=0,
        description="Largest relative difference between another provider's answers and the CPU's. A model that misses "
        "it is refused, or named where reduced precision was asked for.",
    )
    intra_op_threads: int = Field(
        default=_DEFAULTS.intra_op_threads, ge=0, description="Threads within an operator; 0: one per core."
    )
    inter_op_threads: int = Field(
        default=_DEFAULTS.inter_op_threads, ge=0, description="Operators that run at once; 0: ONNX Runtime decides."
    )
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = Field(
        default=_DEFAULTS.graph_optimization, description="How far ONNX Runtime rewrites the graph."
    )
    batch_rows: int = Field(default=_DEFAULTS.batch_rows, ge=1, description="Most rows that one call of a model takes.")
    call_memory: str = Field(
        default="",
        description="Memory that the tensors of one call may take, e.g. `1GB`: a model that makes much of a row gets "
        "fewer rows a call. By default what ONNX_PIPELINE_CALL_MEMORY says, else 1GB.",
    )
    look_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Seconds that loading and trying a model may take when it is new; 0: what "
        "ONNX_PIPELINE_LOOK_SECONDS says, else 60.",
    )
    look_memory: str = Field(
        default="",
        description="Memory that it may take then, e.g. `4GB`; by default what ONNX_PIPELINE_LOOK_MEMORY says, else 4GB.",
    )

    def options(self) -> RuntimeOptions:
        """What the resource says, and the environment where it says nothing.

        Raises SpecError for what is no size, and for providers that are none.
        """
        given: dict[str, Any] = {}
        if self.look_seconds:
            given["look_seconds"] = self.look_seconds
        for name in ("call_memory", "look_memory"):
            if text := getattr(self, name):
                given[name] = bytes_of(text, setting=f"{name} of the resource onnx_runtime")
        if self.providers:
            given["providers"] = as_providers(self.providers, setting="providers of the resource onnx_runtime")
        return RuntimeOptions(
            **given,
            provider_tolerance=self.provider_tolerance,
            intra_op_threads=self.intra_op_threads,
            inter_op_threads=self.inter_op_threads,
            graph_optimization=self.graph_optimization,
            batch_rows=self.batch_rows,
        )


class StagingResource(dg.ConfigurableResource[Staging]):
    """Where features and predictions of a partition lie between assets: Arrow files, swept after `keep_hours`."""

    folder: str = Field(default="data/staging", description="Folder on a disk that all runs share.")
    keep_hours: float = Field(default=24.0, gt=0, description="Hours after which a staged partition may be swept.")

    def open(self) -> Staging:
        return Staging(paths.resolve(self.folder), keep_hours=self.keep_hours)


class ArtifactStoreResource(dg.ConfigurableResource[ArtifactStore]):
    """Copies of the models that score, by sha256, so that a run finds the model that it was planned with."""

    folder: str = Field(
        default="",
        description="A folder on a disk that all runs share, or `az://container/folder`; by default what "
        "ONNX_PIPELINE_ARTIFACTS says, else `data/artifacts`.",
    )

    def open(self) -> ArtifactStore:
        place = self.folder or os.environ.get("ONNX_PIPELINE_ARTIFACTS") or DEFAULT_ARTIFACTS
        return ArtifactStore.at(place, home=paths.home())


def scoring_resources() -> dict[str, dg.ConfigurableResource[Any]]:
    """The resources that every scoring asks for, by name."""
    return {
        "pool": PoolResource(),
        "onnx_runtime": OnnxRuntimeResource(),
        "staging": StagingResource(),
        "artifacts": ArtifactStoreResource(),
    }


def default_resources() -> dict[str, dg.ConfigurableResource[Any]]:
    """`scoring_resources`, and `azure_blob` where the environment names an account."""
    resources = scoring_resources()
    if account_configured() and find_spec("dagster_azure") is not None:
        from onnx_pipeline.azure.resource import azure_blob_resource

        resources["azure_blob"] = azure_blob_resource()
    return resources
