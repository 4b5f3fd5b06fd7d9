"""What the options of every engine are: data that can be read without importing the engine."""

from typing import ClassVar, Literal

from onnx_pipeline.spec.part import SpecPart

__all__ = ["EngineOptions"]


class EngineOptions(SpecPart):
    """The attribute `engine`, for one kind of engine. A subclass gives `kind` its one value and adds its options."""

    kind: str

    engine: ClassVar[str]
    """`module:Class` of the `Engine` that takes these options; imported where it is used."""
    needs_artifact: ClassVar[bool] = True
    """Whether the scoring has to name the model's artifact as `onnx`."""
    runs: ClassVar[Literal["here", "pool", "cluster"]] = "here"
    """Where rows meet the model: in this process, in the pool that holds them, or on a cluster."""
    describe_model: ClassVar[tuple[str, ...]] = ()
    """Options that describe a model without an artifact, and so go without `onnx`."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that the engine imports and a plain installation lacks."""
    extra: ClassVar[str] = ""
    """What to install for them: `pip install '<extra>'`."""

    @property
    def model_url(self) -> str | None:
        """Where a model without an artifact stays; holds no secret. None for an engine that needs one."""
        return None
