"""`onnx-pipeline sql apply`: the tables, roles and rights of a pool, from the scripts in `sql/`."""

from pathlib import Path

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.scripts import statements_of

__all__ = ["apply_sql", "scripts_of"]

_ORDER = ("onnx_models", "onnx_scoring_log", "example_target", "roles")
"""Roles come last: they are granted rights on what the others make."""


def scripts_of(pool: Pool) -> list[Path]:
    """A pool's scripts, in the order in which they are to be run."""
    folder = paths.sql_folder() / getattr(pool, "sql_folder", pool.kind)
    known = [folder / f"{name}.sql" for name in _ORDER]
    return [file for file in known if file.exists()]


def apply_sql(url: str | None, *, dry_run: bool) -> None:
    """Run a pool's scripts, or print them. Running them again changes nothing."""
    from onnx_pipeline.pools.tsql.pool import MssqlPool

    pool = open_pool(url or pool_url())
    files = scripts_of(pool)
    if dry_run:
        for file in files:
            print(f"-- {file.name}\n{file.read_text(encoding='utf-8')}")
        return
    if not isinstance(pool, MssqlPool):
        raise SpecError(
            f"{pool.display_name} makes its tables itself; `sql apply` is for servers. --dry-run prints them"
        )
    console = terminal()
    for file in files:
        statements = statements_of(file.read_text(encoding="utf-8"))
        with pool.session(f"applying {file.name}") as session:
            for statement in statements:
                session.execute(statement)
        console.print(f"{file.name}: {len(statements)} statements in {pool.display_name}")
