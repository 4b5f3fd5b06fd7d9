"""What a submitted job says: on its output, and to Dagster where Dagster Pipes started it.

On Databricks a job's output is not streamed to whoever waits for it; Pipes' messages are.
https://docs.dagster.io/guides/build/external-pipelines/dagster-pipes-details-and-customization
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_pipes import PipesContext

__all__ = ["on_databricks", "reporting"]

_STARTED_BY_PIPES = "DAGSTER_PIPES_CONTEXT"


def on_databricks() -> bool:
    """Whether this process runs on a cluster of Databricks, which keeps sessions of its own."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


@contextmanager
def reporting() -> Iterator[Callable[[str], None]]:
    """A function that says a line. What ends the block with an error is told to Dagster, too."""
    if _STARTED_BY_PIPES not in os.environ:
        yield _printed
        return
    with _context() as context:

        def say(text: str) -> None:
            _printed(text)
            context.log.info(text)

        yield say


def _context() -> "PipesContext":
    import dagster_pipes

    if not on_databricks():
        return dagster_pipes.open_dagster_pipes()
    # As PipesDatabricksClient puts them, by files in DBFS.
    return dagster_pipes.open_dagster_pipes(
        context_loader=dagster_pipes.PipesDbfsContextLoader(), message_writer=dagster_pipes.PipesDbfsMessageWriter()
    )


def _printed(text: str) -> None:
    print(f"onnx_pipeline: {text}", flush=True)  # noqa: T201
