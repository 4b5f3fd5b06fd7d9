"""What the options of every engine are: data that can be read without importing the engine."""

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Literal, TypeAlias

from onnx_pipeline.spec.part import SpecPart

__all__ = ["JSON", "ColumnsRead", "EngineOptions"]

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"


class ColumnsRead(Enum):
    """Which columns of a model's inputs an engine wants."""

    EVERY = "every"
    MOVING = "moving"
    """Those that can move some prediction, whatever stands in them."""
    NEEDED = "needed"
    """Those that can move a wanted prediction, by what stands in them."""


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
    def columns_read(self) -> ColumnsRead:
        """Which columns the pool has to give."""
        return ColumnsRead.NEEDED

    @property
    def decides(self) -> Mapping[str, JSON]:
        """Of these options, what decides a prediction: where it changes, rows count as scored with other settings.

        Named values that JSON can hold. How fast, where and by how many an engine works decides none.
        """
        return {}

    @property
    def model_url(self) -> str | None:
        """Where a model without an artifact stays; holds no secret. None for an engine that needs one."""
        return None
