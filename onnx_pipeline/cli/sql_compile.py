"""`onnx-pipeline sql compile`: a model as one SELECT, or as a view."""

from collections.abc import Sequence

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines.sql.dialects import dialect_of
from onnx_pipeline.engines.sql.over_table import table_select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.pools import open_pool, pool_class
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.views import DefineView, View

__all__ = ["compile_sql"]


def compile_sql(
    model: str, *, table: str, dialect: str | None, keys: Sequence[str], features: Sequence[str],
    outputs: Sequence[str], view: str | None, apply: bool, pool: str | None,
) -> None:  # fmt: skip
    """Print the SELECT or the CREATE VIEW, or run the latter in the pool."""
    if apply and view is None:
        raise SpecError("--apply makes a view: name it by --view")
    opened = open_pool(pool or pool_url()) if apply or dialect is None else None
    if opened is not None and dialect not in (None, opened.kind):
        raise SpecError(f"{opened.display_name} speaks {opened.kind}, and not {dialect}; leave --dialect out")
    kind = opened.kind if opened is not None else str(dialect)
    written = dialect_of(kind)
    if view is not None:
        _refuse_itself(view, table, pool_class(kind).default_schema)
    loaded = OnnxModel.load(model)
    text = table_select(
        loaded, table, written, keys=keys, features=list(features) or None,
        outputs={name: name for name in outputs} or None,
    )  # fmt: skip
    if view is None:
        print(text)
        return
    made = View(view, text, loaded.sha256)
    if opened is None or not apply:
        print(DefineView(made, pool_class(kind).view_verb).compile(dialect=written.renders_by))
        return
    name = opened.define_view(made)
    print(f"view {name} in {opened.display_name} scores the rows of {table} with model {loaded.sha256}")


def _refuse_itself(view: str, table: str, default_schema: str) -> None:
    """Databases compare names without case, so a view that differs from its table by case alone replaces it."""
    read, made = (
        [(schema or default_schema).casefold(), name.casefold()] for schema, name in map(split_name, (table, view))
    )
    if read == made:
        raise SpecError(f"the view {view!r} would read itself; name another one by --view")
