"""What a scored table is: the attributes of one `defs.yaml`, checked before anything runs.

It and its parts beside this module are frozen Pydantic models that Dagster resolves from YAML, so that a wrong
attribute is reported with its file and line. `docs/spec.md` is made from their field descriptions.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import dagster as dg
from pydantic import BaseModel, Field, SerializeAsAny, field_validator, model_validator

from onnx_pipeline.azure.secrets import secret_in
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.spec.as_written import resolve_mapping
from onnx_pipeline.spec.checks import CheckSpec
from onnx_pipeline.spec.engines.choice import engine_options, resolve_engine
from onnx_pipeline.spec.engines.onnxruntime import OnnxRuntimeOptions
from onnx_pipeline.spec.engines.options import ColumnsRead, EngineOptions
from onnx_pipeline.spec.engines.registry import engine_kinds, options_of
from onnx_pipeline.spec.misfits import AttributeMisfitError, place_in
from onnx_pipeline.spec.part import SpecPart
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.source import SourceSpec
from onnx_pipeline.spec.target import PROVENANCE, TargetSpec

__all__ = ["LoadMode", "ScoringSpec"]


LoadMode = Literal["replace", "append", "upsert"]

_NAME = re.compile(r"[A-Za-z0-9_]+")

_RESCORE = re.compile(r"none|all|latest [1-9]\d*")


def _text_or(part: type[SpecPart]) -> dg.Resolver:
    """Takes a text or a part. Of a union Dagster tries each member and keeps their errors to itself."""

    def resolve(context: dg.ResolutionContext, value: Any) -> Any:
        return part.resolve_from_model(context, value) if isinstance(value, BaseModel) else context.resolve_value(value)

    return dg.Resolver(resolve, model_field_type=str | part.model())


def _load_mode(context: dg.ResolutionContext, value: Any) -> Any:
    mode = context.resolve_value(value)
    if mode not in get_args(LoadMode):
        raise AttributeMisfitError(f"{place_in(context, ())}load must be `replace`, `append` or `upsert`; got {mode!r}")
    return mode


class ScoringSpec(SpecPart):
    """One scored table: a model, its source, and where its predictions go."""

    onnx: str | None = Field(
        None,
        description="The model: a path (beside `defs.yaml`, or from the project's root), a `file://` URI, a blob in "
        "Azure (`az://<container>/<path>`) or a registered model of Azure ML "
        "(`azureml://models/<name>/versions/<version>`). A SAS or a key in it is refused: sign in from the "
        "environment. Required, unless the engine `remote` scores with a model that stays where it is.",
    )
    source: Annotated[str | SourceSpec, _text_or(SourceSpec)] = Field(
        description="The rows to score: a table name, or `{table: ...}`, `{query: ...}`, `{file: ...}`."
    )
    key: Sequence[str] = Field(description="Columns that identify a row, unique and not NULL within a partition.")
    target: Annotated[str | TargetSpec, _text_or(TargetSpec)] = Field(description="Target table.")
    name: str | None = Field(None, description="Name of the scoring and its job; by default the folder's name.")
    group: str | None = Field(None, description="Asset group; by default the scoring's name.")
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = Field(
        None,
        description="Which column feeds which model input, where the names differ: `{input: column}`. A list gives "
        "the columns of an `[N,F]` tensor in order.",
    )
    partitions: Annotated[PartitionSpec | Literal["none"], _text_or(PartitionSpec)] = Field(
        "none", description="How the source is cut into partitions."
    )
    outputs: Mapping[str, str] | None = Field(
        None,
        description="`{target column: model output}`; an `[N,K]` output gives `<column>_<class>`, and "
        "`output[class]` is one of its classes. By default every output under its own name.",
    )
    engine: Annotated[
        SerializeAsAny[EngineOptions],
        dg.Resolver(resolve_engine, model_field_type=dict[str, Any]),
    ] = Field(
        default_factory=OnnxRuntimeOptions,
        description="Who computes the predictions: `{kind: ...}` with that engine's options.",
    )
    # `load` in YAML: on the component, that name is Dagster's own. Not `Resolver.default`, which forgets the name.
    load_mode: Annotated[LoadMode, dg.Resolver(_load_mode, model_field_name="load", model_field_type=str)] = Field(
        "replace",
        description="`replace` exchanges a partition's rows; `append` loads it once and refuses it afterwards; "
        "`upsert` updates and inserts by key, and keeps rows that left the source.",
    )
    nulls: Annotated[
        Mapping[str, float | int | bool | str],
        dg.Resolver(resolve_mapping, model_field_type=dict[str, float | int | bool | str], inject_before_resolve=False),
    ] = Field(
        default_factory=dict,
        description="What stands in for NULL, per source column: a value, or `nan` for a float column that may be "
        "NULL.",
    )
    rescore: str = Field(
        "none", description="Which partitions a new model scores again: `none`, `latest <n>` or `all`."
    )
    checks: CheckSpec = Field(default_factory=CheckSpec, description="Thresholds of the checks.")
    schedule: str | None = Field(
        None, description="Cron expression, in the partitions' time zone, at which pending partitions are scored."
    )
    fresh_by: str | None = Field(
        None,
        description="Cron expression, in the partitions' time zone: by then the latest time partition that can be "
        "scored is expected in the target, and the check `freshness_check` warns where it is missing.",
    )
    partitions_per_run: int = Field(
        100, ge=1, description="Most partitions that one run of a backfill, schedule or sensor takes."
    )
    directory: str | None = Field(
        None, description="Folder that relative paths start from; by default that of `defs.yaml`."
    )

    # Not in the annotation, which Dagster copies to the model that it reads YAML by: there, errors would quote keys.
    @field_validator("engine", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any) -> Any:
        return engine_options(value)

    @field_validator("onnx")
    @classmethod
    def _without_secret(cls, value: str | None) -> str | None:
        found = None if value is None else secret_in(value)
        if found is not None:
            # No ValueError: Pydantic's report of one quotes the value.
            raise SpecError(
                f"onnx holds {found}, which may be a secret, and Dagster shows this URI in its UI and keeps it in its "
                "history. Write the URI without it, e.g. az://<container>/<path>.onnx, and sign in from the "
                "environment: AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_KEY, or a managed identity or `az login`"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "ScoringSpec":
        if not self.key or len({name.casefold() for name in self.key}) != len(self.key):
            raise ValueError(f"key must be one or more distinct columns; got {list(self.key)}")
        if not _RESCORE.fullmatch(self.rescore):
            raise ValueError(f"rescore must be `none`, `all` or `latest <n>`, e.g. `latest 7`; got {self.rescore!r}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} may hold letters, digits and underscores only")
        self._check_model()
        reserved = sorted({name.casefold() for name in self.key} & set(PROVENANCE))
        if reserved:
            raise ValueError(f"key column {reserved[0]!r} has the name of a provenance column: rename it in a query")
        if self.outputs is not None:
            taken = {name.casefold() for name in (*self.key, *PROVENANCE)}
            for column in self.outputs:
                if column.casefold() in taken:
                    raise ValueError(
                        f"outputs: {column!r} is a key or provenance column of the target; choose another name"
                    )
            if not self.outputs:
                raise ValueError("outputs is empty: name at least one, or leave it out for all of them")
        for name, cron in (("schedule", self.schedule), ("fresh_by", self.fresh_by)):
            if cron is not None:
                self._check_cron(name, cron)
        if self.fresh_by is not None and (self.partition_spec is None or self.partition_spec.kind != "time"):
            raise ValueError(
                "fresh_by expects a partition by the clock, and this scoring has none: add partitions with `every`, or "
                "leave fresh_by out"
            )
        return self

    def _check_model(self) -> None:
        engine = self.engine
        if self.onnx is None and engine.needs_artifact:
            others = [
                f"`engine: {{kind: {kind}, ...}}`" for kind in engine_kinds() if not options_of(kind).needs_artifact
            ]
            raise ValueError(f"onnx is missing: name the model's path or URI, or a service by {' or '.join(others)}")
        if self.onnx is None and engine.columns_read is not ColumnsRead.EVERY:
            raise ValueError(
                "engine: skip_unread needs `onnx`, in which it is found what a model reads; name the model's path or "
                "URI, or take skip_unread out"
            )
        if self.onnx is not None:
            for name in engine.describe_model:
                if getattr(engine, name) is not None:
                    raise ValueError(
                        f"engine: {name!r} describes a model without `onnx`, and `onnx` is {self.onnx!r}; leave one out"
                    )

    @staticmethod
    def _check_cron(name: str, cron: str) -> None:
        from dagster._utils.schedules import is_valid_cron_schedule

        if not is_valid_cron_schedule(cron):
            raise ValueError(f"{name} {cron!r} is not a cron expression; five fields, e.g. '0 6 * * *'")

    def placed(self, *, name: str, directory: Path) -> "ScoringSpec":
        """This spec with its name and the folder that its relative paths start from."""
        values = {field: getattr(self, field) for field in type(self).model_fields if field in ScoringSpec.model_fields}
        values["name"] = self.name or name
        values["directory"] = self.directory or str(directory)
        if not _NAME.fullmatch(values["name"]):
            raise SpecError(
                f"{directory}: the folder's name becomes the scoring's name, and {values['name']!r} holds other "
                "characters than letters, digits and underscores. Rename the folder, or give `name:`."
            )
        return ScoringSpec(**values)

    @property
    def scoring(self) -> str:
        """Name of the scoring."""
        if self.name is None:
            raise SpecError("a scoring outside a defs folder needs `name`")
        return self.name

    @property
    def base(self) -> Path:
        return Path(self.directory or ".")

    @property
    def model_place(self) -> str:
        """Where the model lies, or stays; holds no secret."""
        return self.onnx or self.engine.model_url or ""

    @property
    def source_spec(self) -> SourceSpec:
        return SourceSpec(table=self.source) if isinstance(self.source, str) else self.source

    @property
    def target_table(self) -> str:
        return self.target if isinstance(self.target, str) else self.target.table

    @property
    def target_spec(self) -> TargetSpec:
        return TargetSpec(table=self.target) if isinstance(self.target, str) else self.target

    @property
    def partition_spec(self) -> PartitionSpec | None:
        return None if self.partitions == "none" else self.partitions

    @property
    def rescore_latest(self) -> int | None:
        """How many of the latest partitions a new model scores again: 0 for none, None for all."""
        if self.rescore == "all":
            return None
        return 0 if self.rescore == "none" else int(self.rescore.split()[1])
