"""A model over a table that need be no scoring's source: what `sql compile` prints, and what a view is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.engines.sql.compiler import CompiledModel, compile_model
from onnx_pipeline.engines.sql.dialects.base import SqlDialect
from onnx_pipeline.engines.sql.passes.steps import Program
from onnx_pipeline.engines.sql.printing import laid_out
from onnx_pipeline.engines.sql.rendering import Template
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn, output_columns
from onnx_pipeline.pools.tables import split_name

__all__ = ["table_select"]


def table_select(
    model: OnnxModel,
    table: str,
    dialect: SqlDialect,
    *,
    keys: Sequence[str] = (),
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    nulls: Mapping[str, StandIn] | None = None,
) -> str:
    """SELECT of the keys and the predictions over `table`, laid out for people.

    `features`, `outputs` and `nulls` mean what they mean in a defs.yaml. Raises NotCompilableError for a model that has
    no form in SQL, SignatureError where columns and model do not go together.
    """
    keys = tuple(dict.fromkeys(keys))
    bound = model.bind(features)
    columns = output_columns(model.signature, outputs)
    _check_names(keys, columns)
    names = _names(keys, bound)
    binding = Binding(
        tuple(replace(each, columns=tuple(names[name] for name in each.columns)) for each in bound.inputs)
    )
    standing = {names.get(name, name): value for name, value in (nulls or {}).items()}
    compiled = compile_model(model.normalised, binding, columns, nulls=standing, stores_nan=dialect.stores_nan)
    source = _features(table, keys, {names[name]: name for name in bound.columns}, binding, compiled)
    template = Template(compiled.outputs, source, dialect, keep=keys, in_one=True)
    return laid_out(template.over(source), dialect, _notes(compiled, template.program, dialect))


def _notes(compiled: CompiledModel, program: Program, dialect: SqlDialect) -> dict[str, str]:
    """Which nodes of the graph each column comes from."""
    outputs = dict(zip(compiled.outputs, program.outputs, strict=True))
    columns = {name: each for step in program.steps for name, each in step.items()} | outputs
    guarded = dialect.guarded(compiled.outputs)
    origins = {guarded[each]: node for each, node in compiled.origins.items() if each in guarded}
    compiled = replace(compiled, origins={**compiled.origins, **origins})
    return {
        name: " ".join(", ".join(compiled.nodes_of(each, ends_at=program.names.__contains__)).split())
        for name, each in columns.items()
    }


def _check_names(keys: Sequence[str], columns: Sequence[OutputColumn]) -> None:
    """A SELECT may give two columns of one name, and a view may not."""
    taken: dict[str, str] = {}
    for name, said in [
        *((key, f"key {key!r}") for key in keys),
        *((each.name, f"output {each.name!r}") for each in columns),
    ]:
        other = taken.setdefault(name.casefold(), said)
        if other is not said:
            raise SignatureError(
                f"{other} and {said} would be two columns of one name, which databases compare without case. Leave one "
                "of them out, or rename the key in a view over the table"
            )


def _names(keys: Sequence[str], binding: Binding) -> dict[str, str]:
    """What each feature is called below the model: a key that is a feature is there twice, and cast for the model."""
    taken = {key.casefold() for key in keys}
    names = {}
    for column in binding.columns:
        name = column
        while name.casefold() in taken:
            name = f"{name} (feature)"
        taken.add(name.casefold())
        names[column] = name
    return names


def _features(
    table: str, keys: Sequence[str], columns: Mapping[str, str], binding: Binding, compiled: CompiledModel
) -> sa.FromClause:
    """The keys, and the columns that decide a prediction in the model's types; `columns`: their names in the table."""
    schema, name = split_name(table)
    needed = set(compiled.columns)
    wanted = {each: dtype for each, dtype in binding.columns.items() if each in needed}
    held = dict.fromkeys([*keys, *(columns[each] for each in wanted)])
    source = sa.table(name, *(sa.column(each) for each in held), schema=schema)
    cast = [
        source.c[columns[each]].label(each)
        if dtype == "string"
        else sa.cast(source.c[columns[each]], column_type_of_onnx(dtype, tensor=each).sql()).label(each)
        for each, dtype in wanted.items()
    ]
    return sa.select(*(source.c[key] for key in keys), *cast).select_from(source).subquery("features")
