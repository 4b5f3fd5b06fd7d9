"""The options of `onnx-pipeline preview`; what it does is loaded when it is called."""

from typing import Annotated

import typer

__all__ = ["preview"]


def preview(
    name: Annotated[str, typer.Argument(metavar="SCORING", help="The scoring.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    partition: Annotated[str | None, typer.Option(help="Partition to take them from.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only rows with that value; repeatable.")
    ] = None,
    nan: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Only rows where it is NULL or NaN; repeatable.")
    ] = None,
) -> None:
    """Score some rows and print features and predictions; nothing is written."""
    from onnx_pipeline.cli.preview import show_preview

    show_preview(name, rows=rows, partition_key=partition, where=where or [], nan=nan or [])
