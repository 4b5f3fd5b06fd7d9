"""`onnx-pipeline sample` and `onnx-pipeline dev`: what a checkout is tried out with."""

from typing import Annotated

import typer

__all__ = ["dev", "sample"]


def sample(
    days: Annotated[int, typer.Option(min=1, help="Days, from the first one on.")] = 30,
    rows_per_day: Annotated[int, typer.Option(min=0, help="Encounters a day.")] = 1000,
    start: Annotated[
        str | None,
        typer.Option(
            envvar="ONNX_PIPELINE_SAMPLE_START", help="The first day; by default the last day is today, in UTC."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave a table that exists as it is.")] = False,
) -> None:
    """Fill the embedded pool with sample data: hospital encounters.

    A day's rows follow from its date, so another time gives the same. Days that the table has already are
    replaced, other days stay.
    """
    from onnx_pipeline.cli.sample import create_sample

    create_sample(days=days, rows_per_day=rows_per_day, start=start, keep=keep)


def dev(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port; by default 3000, or the next one that is free.")
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="What Dagster's services print: critical, error, warning, info or debug.")
    ] = "warning",
) -> None:
    """Start Dagster's user interface with its daemon, and say where it is; Ctrl+C ends both.

    Where one of this folder runs already, this says so and starts none.
    """
    from onnx_pipeline.cli.dev import start

    start(host=host, port=port, log_level=log_level)
