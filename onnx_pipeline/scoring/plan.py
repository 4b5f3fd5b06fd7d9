"""Spec, model and source brought together: everything that can be wrong is found here, before a row moves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import DataError, SignatureError, SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.base.rules import type_advice
from onnx_pipeline.base.types import can_feed, column_type_of_arrow, column_type_of_onnx, family_of_arrow
from onnx_pipeline.engines.base import Task
from onnx_pipeline.models.binding import Binding, InputBinding, bind
from onnx_pipeline.models.outputs import OutputColumn, output_columns
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.partitions.base import Codes, Partitioning
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source, Target
from onnx_pipeline.scoring.changed import changed_column, changed_name
from onnx_pipeline.scoring.names import CHANGED, MARKER, is_reserved, staged_name
from onnx_pipeline.scoring.settings import settings
from onnx_pipeline.scoring.unread import Unread
from onnx_pipeline.spec.misfits import attribute_in
from onnx_pipeline.spec.position import position
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.target import PROVENANCE

__all__ = ["ScoringPlan", "schema_facts"]

_MENDS = re.compile(r"\b(features|outputs): \{")


@dataclass(frozen=True)
class ScoringPlan:
    """How one scoring goes from source to target with one model.

    Raises SignatureError or SpecError, naming the scoring, the value and the fix, for whatever does not fit.
    """

    spec: ScoringSpec
    model: PlannedModel
    source: Source
    partitioning: Partitioning = field(init=False)
    binding: Binding = field(init=False)
    """Model inputs to staged feature columns."""
    features: dict[str, str] = field(init=False)
    """Staged feature column to source column."""
    unread: dict[str, str] = field(init=False)
    """The same of columns that move no prediction: they are not extracted."""
    why_unread: dict[str, str] = field(init=False)
    """Staged feature column that is not read to the reason."""
    outputs: tuple[OutputColumn, ...] = field(init=False)
    check: InitVar[bool] = True
    """False: `misfits` are for the caller to look at."""

    def __post_init__(self, check: bool) -> None:
        try:
            self._fill()
            if check:
                for error in self.misfits():
                    raise error
                _ = self.origin  # read now, together with the source: a file may be another one later
        except SignatureError as error:
            raise SignatureError(f"{self.spec.scoring}: {self._where(error)}{error}") from error

    def _where(self, error: SignatureError) -> str:
        """File and line of the attribute that an error begins with, or that mends it; empty where there is neither."""
        named = attribute_in(str(error), ScoringSpec.model_fields)
        mends = _MENDS.search(str(error))
        if not named and mends is not None:
            named = (mends[1],)
        return position(self.spec.base, *named) if named else ""

    def _fill(self) -> None:
        spec, source = self.spec, self.source
        features = spec.features
        bound = bind(
            self.model.signature,
            features,
            feature_names=self.model.feature_names,
            available=source.schema.names,
            fold_case=True,
        )
        key = [source.name(name, role="key") for name in spec.key]
        outputs = output_columns(self.model.signature, spec.outputs)
        asked = Unread(spec, self.model, source, outputs)
        names: dict[str, str] = {}
        why: dict[str, str] = {}
        inputs = []
        for place in bound.inputs:
            columns, unread = [], set()
            for index, column in enumerate(place.columns):
                name = source.name(column, role=f"input {place.tensor.name}")
                staged = staged_name(name, key, source.schema.names)
                names[staged] = name
                columns.append(staged)
                reason = asked.why(place.tensor, index, name)
                if reason is not None:
                    unread.add(index)
                    why[staged] = reason
            inputs.append(InputBinding(place.tensor, tuple(columns), frozenset(unread)))
        binding = Binding(tuple(inputs))
        if not binding.columns:
            # A model that reads nothing is fed as it came: its rows still have to be counted by something.
            binding = Binding(tuple(replace(each, unread=frozenset()) for each in inputs))
        read = binding.columns
        object.__setattr__(self, "binding", binding)
        object.__setattr__(self, "features", {staged: name for staged, name in names.items() if staged in read})
        object.__setattr__(self, "unread", {staged: name for staged, name in names.items() if staged not in read})
        object.__setattr__(self, "why_unread", {staged: why[staged] for staged in self.unread})
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "partitioning", partitioning(spec))
        try:
            self.partitioning.check_source(source)
        except SpecError as error:
            where = position(spec.base, *(attribute_in(str(error), ("partitions",)) or ("partitions", "values")))
            raise SpecError(f"{where}{spec.scoring}: {error}") from error
        changed_name(spec, source)

    def misfits(self) -> Iterator[SignatureError | SpecError]:
        """What else of the spec does not go with model and source, one after the other."""
        yield from self._type_misfits()
        yield from self._null_misfits()
        yield from self._target_misfits()

    def _type_misfits(self) -> Iterator[SignatureError]:
        for name in self.key:
            if is_reserved(name):
                yield SignatureError(
                    f"key: the name {name!r} is kept for what stands beside rows on their way; give the column another "
                    "name in the source query"
                )
            try:
                arrow = self._key_type(name)
            except SignatureError as error:
                yield error
                continue
            if pa.types.is_floating(arrow):
                yield SignatureError(f"key: column {name!r} is {arrow}, and fractions identify no row")
        dtypes = self.binding.columns
        for staged, name in self.features.items():
            arrow, dtype = self.source.schema.field(name).type, dtypes[staged]
            if not can_feed(arrow, dtype):
                yield SignatureError(
                    f"column {name!r} is {arrow}, and the model reads {dtype} from it, which would change its meaning. "
                    f"{type_advice(family_of_arrow(arrow), dtype).capitalize()}, or name another column in `features`"
                )

    def _null_misfits(self) -> Iterator[SignatureError]:
        names = {*self.features.values(), *self.unread.values()}
        known = {name.casefold() for name in names}
        for name in self.spec.nulls:
            if name.casefold() not in known:
                yield SignatureError(f"nulls: {name!r} is no feature; {closest(name, sorted(names))}")

    def _target_misfits(self) -> Iterator[SignatureError | SpecError]:
        taken = {name.casefold(): "a key column" for name in self.key}
        taken |= dict.fromkeys(PROVENANCE, "a provenance column")
        for output in self.outputs:
            if is_reserved(output.name):
                yield SignatureError(
                    f"outputs: the name {output.name!r} is kept for what stands beside rows on their way. Rename it: "
                    f"outputs: {{<column>: {output.output}}}"
                )
            role = taken.get(output.name.casefold())
            if role is not None:
                yield SignatureError(
                    f"outputs: model output {output.output!r} would be column {output.name!r} of "
                    f"{self.spec.target_table}, which is {role}. Rename it: outputs: {{<column>: {output.output}}}"
                )
        source_table = self.spec.source_spec.table
        if source_table is not None and source_table.casefold() == self.spec.target_table.casefold():
            yield SpecError(
                f"{self.spec.scoring}: target {self.spec.target_table!r} is the source itself; name another table"
            )

    @property
    def task(self) -> Task:
        """What the engine is to compute."""
        return Task(self.model, self.binding, self.outputs, self.nulls)

    @property
    def key(self) -> tuple[str, ...]:
        """Key columns as the source spells them."""
        return tuple(self.source.name(name) for name in self.spec.key)

    @property
    def nulls(self) -> Mapping[str, Any]:
        """What stands in for NULL, by staged feature column."""
        given = {name.casefold(): value for name, value in self.spec.nulls.items()}
        return {staged: given[name.casefold()] for staged, name in self.features.items() if name.casefold() in given}

    @cached_property
    def origin(self) -> Mapping[str, str]:
        """What staged rows were made by beside the model, as their facts and the log keep it."""
        made = settings(self.spec, self.source, self.model.signature, self.model.feature_names)
        return {"settings": made, "partitions": self.partitioning.way(self.source)}

    def made(self, facts: Mapping[str, Any], schema: pa.Schema) -> bool:
        """Whether staged rows were made for this plan, by their facts; an earlier version's say less."""
        same = all(facts.get(name, value) == value for name, value in self.origin.items())
        return same and facts["schema"] == schema_facts(schema)

    @cached_property
    def key_schema(self) -> pa.Schema:
        return pa.schema([pa.field(name, self._key_type(name)) for name in self.key])

    def _key_type(self, name: str) -> pa.DataType:
        arrow = self.source.schema.field(name).type
        # A decimal key keeps its digits: as a double, two keys could become one.
        return arrow if pa.types.is_decimal(arrow) else column_type_of_arrow(arrow, column=name).arrow

    @cached_property
    def features_schema(self) -> pa.Schema:
        """Staged features: key columns, then feature columns in the model's dtypes."""
        fields = list(self.key_schema)
        for name, dtype in self.binding.columns.items():
            fields.append(pa.field(name, _staged_type(dtype)))
        return pa.schema(fields)

    @cached_property
    def predictions_schema(self) -> pa.Schema:
        """Staged predictions: key columns, then one column per output."""
        return pa.schema([*self.key_schema, *(pa.field(output.name, output.arrow) for output in self.outputs)])

    @cached_property
    def target(self) -> Target:
        provenance = [
            pa.field("partition_key", pa.string(), nullable=False),
            pa.field("model_sha256", pa.string(), nullable=False),
            pa.field("scored_at", pa.timestamp("us"), nullable=False),
            pa.field("run_id", pa.string(), nullable=False),
        ]
        schema = pa.schema([*self.predictions_schema, *provenance])
        texts = [field.name for field in self.key_schema if pa.types.is_string(field.type)]
        known = self.source.collations() if texts else {}
        collations = {name: known[name] for name in texts if name in known}
        return Target(self.spec.target_table, schema, self.key, self.spec.target_spec, collations)

    def key_columns(self) -> list[sa.ColumnElement[Any]]:
        return [self.source.column(name) for name in self.key]

    def source_columns(self) -> list[sa.ColumnElement[Any]]:
        """The source's columns under their staged names, as they lie there.

        What they become in the model's dtypes is decided in one place for every way in, and by no database: casts
        there round a decimal otherwise, and fail without naming column and value.
        """
        return [self.source.column(self.features[staged]).label(staged) for staged in self.binding.columns]

    def statement(self, pool: Pool, keys: Sequence[str], *, marked: bool) -> sa.Select[Any]:
        """The SELECT of one chunk of partitions: key, features, and what fingerprints and places a row."""
        source = self.source
        columns = [*self.key_columns(), *self.source_columns()]
        changed = changed_column(self.spec, source, pool)
        if changed is not None:
            columns.append(changed.label(CHANGED))
        marker = self.partitioning.marker(source, pool) if marked else None
        if marker is not None:
            columns.append(marker.label(MARKER))
        statement = sa.select(*columns).select_from(source.selectable)
        predicate = self.partitioning.predicate(source, pool, keys)
        return statement if predicate is None else statement.where(predicate)

    def placed(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        """`[N]` markers of rows that a statement found for `keys` → `[N]` int64 indexes into `keys`.

        Raises DataError where a row lies in none of them.
        """
        codes = self.partitioning.place(markers, keys)
        strays = int(((codes < 0) | (codes >= len(keys))).sum())
        if strays:
            raise DataError(
                f"{self.spec.scoring}: the pool returned {strays} rows that lie in none of the partitions {keys[0]!r} "
                f"to {keys[-1]!r}: it compares the partition column otherwise than by value (case, say). Cast it in a "
                "`query`."
            )
        return codes


def schema_facts(schema: pa.Schema) -> list[list[str]]:
    """Names and types as a manifest keeps them, to compare what lies in staging with what a plan expects."""
    return [[field.name, str(field.type)] for field in schema]


def _staged_type(dtype: str) -> pa.DataType:
    return column_type_of_onnx(dtype, tensor="feature").arrow
