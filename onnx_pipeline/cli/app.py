"""The commands, and how an error reaches a person."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import OnnxPipelineError
from onnx_pipeline.cli.end_runs import end_runs
from onnx_pipeline.cli.preview_options import preview
from onnx_pipeline.cli.try_out import dev, sample

__all__ = ["app", "main"]

app = typer.Typer(
    help="Score warehouse tables with ONNX models.", no_args_is_help=True, pretty_exceptions_enable=False,
    add_completion=False,
)  # fmt: skip

Names = Annotated[list[str] | None, typer.Argument(metavar="[SCORING]...", help="Scorings; all of them by default.")]


def main() -> None:
    """Entry point: our own errors are one clear message and exit code 1, anything else keeps its traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _take_environment_of(paths.home())
    # Dagster announces which of its parameters are in beta each time it builds definitions.
    warnings.filterwarnings("ignore", module="dagster")
    try:
        app()
    except OnnxPipelineError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]{type(error).__name__}[/red]: ", end="")
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


def _take_environment_of(project: Path) -> None:
    """Do as every `dagster` and `dg` command does in a project's root, so that all of them speak of one pool."""
    file = project / ".env"
    if file.is_file():
        from dotenv import dotenv_values

        os.environ.update({name: value for name, value in dotenv_values(file).items() if value is not None})


app.command("sample")(sample)
app.command("dev")(dev)


@app.command()
def pending(
    names: Names = None, json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False
) -> None:
    """List the partitions that need scoring, and why."""
    from onnx_pipeline.cli.run import show_pending

    show_pending(names or [], as_json=json)


@app.command()
def validate(
    names: Names = None, json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False
) -> None:
    """Look at everything that can be known without scoring: model, engine, columns, NULLs, target, partitions.

    Nothing is written. Exits with 1 where a scoring cannot run.
    """
    from onnx_pipeline.cli.validate import validate_scorings

    validate_scorings(names or [], as_json=json)


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Path or URI of the model.")],
    pool: Annotated[str | None, typer.Option(metavar="URL", help="The pool; by default ONNX_PIPELINE_POOL.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="KIND", help="Look at this engine alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Show which engines can run a model here, why not, and what would make them; and what the pool offers.

    Nothing is written. Exits with 1 where no engine can run it, or not the one that --engine names.
    """
    from onnx_pipeline.cli.doctor import examine

    examine(model, pool, engine=engine, as_json=json)


@app.command()
def run(
    names: Names = None,
    partition: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Score this partition, pending or not; may be given several times."),
    ] = None,
    span: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="KEY..KEY", help="Score these partitions and all between them, pending or not."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Score every partition that has rows, or was scored and has none any more.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Score what is pending, and what stands by another model or settings, whatever `rescore` says.",
        ),
    ] = False,
) -> None:
    """Score what is pending with `dagster job execute`, then show what stands in the pool.

    --partition, --range, --all and --force exclude each other.
    """
    given = {"--partition": partition, "--range": span, "--all": everything, "--force": force}
    asked = [option for option, value in given.items() if value not in (None, False, [])]
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} exclude each other; give one of them")
    from onnx_pipeline.cli.run import run_slices
    from onnx_pipeline.scoring.request import Request

    run_slices(names or [], Request(partition or (), span, everything, force))


@app.command()
def repartition(
    name: Annotated[str, typer.Argument(metavar="SCORING", help="The scoring.")],
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the rows that stood in <target>_before_repartition.")
    ] = False,
) -> None:
    """Bring a target to the `partitions` that the spec says now: score into a new table, then exchange table and log.

    Killed anywhere, the old rows stand or the new ones; type it again, and it goes on where it was.
    """
    from onnx_pipeline.cli.repartition import repartition_scoring

    repartition_scoring(name, keep=keep)


@app.command()
def status(names: Names = None) -> None:
    """Show what stands in the pool: partitions, rows, speed, mean prediction, model."""
    from onnx_pipeline.cli.status import show_status

    show_status(names or [])


app.command()(preview)


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR|az://...|[NAME=]URI", help="What to serve; may be given several times."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]COLUMN,...|FILE.json",
            help="Names of the columns of a model that brings none, in the order of training; repeatable.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine it takes an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    keys_file: Annotated[Path | None, typer.Option(help="File of API keys, one a line.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Requests scored at once; by default one per core.")
    ] = None,
    queue: Annotated[int | None, typer.Option(min=0, help="Requests that may wait; more get 429.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(min=1, help="Bytes of a request; more gets 413.")] = None,
    reload_seconds: Annotated[float | None, typer.Option(min=0.1, help="Between looks at the models.")] = None,
    access_log: Annotated[bool, typer.Option(help="One line per request.")] = True,
) -> None:
    """Serve models over HTTP: JSON, Arrow and the Open Inference Protocol."""
    from onnx_pipeline.cli.serve import serve_models

    serve_models(
        models or [], features=features or [], host=host, port=port, keys_file=keys_file, access_log=access_log,
        threads=threads, queue=queue, max_body_bytes=max_body_bytes, reload_seconds=reload_seconds,
    )  # fmt: skip


@app.command()
def metrics(
    names: Names = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 9465,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the pool.")] = 60,
    once: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one look to a file and end; `-` prints it.")
    ] = None,
) -> None:
    """Serve figures of the scorings to Prometheus: rows, seconds, failures, what is pending and for how long.

    They come from the scoring log, the source and Dagster's run storage. A scrape shows the last look and asks nobody.
    """
    from onnx_pipeline.cli.metrics import export_metrics

    export_metrics(names or [], host=host, port=port, every=every, once=once)


sql = typer.Typer(help="The pool's tables, roles and rights.", no_args_is_help=True)
app.add_typer(sql, name="sql")
app.command("end-runs")(end_runs)


@sql.command("apply")
def sql_apply(
    pool: Annotated[str | None, typer.Option(metavar="URL", help="The pool; by default ONNX_PIPELINE_POOL.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements and change nothing.")] = False,
) -> None:
    """Make the models table, the scoring log, an example target and roles with least privilege.

    Running it again changes nothing. `sqlcmd -i` runs the same files.
    """
    from onnx_pipeline.cli.sql import apply_sql

    apply_sql(pool, dry_run=dry_run)


@sql.command("compile")
def sql_compile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Path or URI of the model.")],
    table: Annotated[str, typer.Option(help="The table or view whose rows are scored: `name` or `schema.name`.")],
    dialect: Annotated[
        str | None, typer.Option(help="duckdb, mssql, synapse or fabric; by default that of ONNX_PIPELINE_POOL.")
    ] = None,
    key: Annotated[list[str] | None, typer.Option(help="A column to keep beside the predictions; repeatable.")] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="A column of the [N, F] input, in order; by default the model's own names.")
    ] = None,
    output: Annotated[list[str] | None, typer.Option(help="An output to give; by default all.")] = None,
    view: Annotated[str | None, typer.Option(metavar="NAME", help="Print a CREATE VIEW of that name.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Make the view in the pool.")] = False,
    pool: Annotated[str | None, typer.Option(metavar="URL", help="The pool; by default ONNX_PIPELINE_POOL.")] = None,
) -> None:
    """Print the SELECT that a model is compiled to, with a comment above each column on what it comes from.

    A view of it shows predictions of the rows as they stand, to reports for instance.
    """
    from onnx_pipeline.cli.sql_compile import compile_sql

    compile_sql(
        model, table=table, dialect=dialect, keys=key or [], features=feature or [], outputs=output or [], view=view,
        apply=apply, pool=pool,
    )  # fmt: skip


extension = typer.Typer(help="ONNX as an external language of SQL Server.", no_args_is_help=True)
app.add_typer(extension, name="extension")

Language = Annotated[str, typer.Option(help="The language's name in `@language`.")]


@extension.command("package")
def extension_package(
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("onnxextension.zip"),
    platform: Annotated[str, typer.Option(help="The server's: linux or windows.")] = "linux",
    library: Annotated[Path | None, typer.Option(help="The extension; by default what `make extension` built.")] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="A wheel of onnxruntime to take its library from; by default the installed one.")
    ] = None,
) -> None:
    """Pack the extension and ONNX Runtime, after checking that a server can load both.

    The same parts give the same bytes.
    """
    from onnx_pipeline.cli.extension import package_extension

    package_extension(output, platform=platform, library=library, wheel=wheel)


@extension.command("deploy")
def extension_deploy(
    pool: Annotated[str | None, typer.Option(metavar="URL", help="The server; by default ONNX_PIPELINE_POOL.")] = None,
    package: Annotated[Path, typer.Option(help="What `extension package` wrote.")] = Path("onnxextension.zip"),
    language: Language = "ONNX",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements and change nothing.")] = False,
    script: Annotated[
        Path | None, typer.Option(help="Write the statements for `sqlcmd -i` there, and ask no server.")
    ] = None,
) -> None:
    """Register the language over the connection, or replace it, with sp_onnx_scoring and the grants to onnx_scorer."""
    from onnx_pipeline.cli.extension import deploy_extension

    deploy_extension(pool, package, language=language, dry_run=dry_run, script=script)


@extension.command("register")
def extension_register(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Path or URI of the model.")],
    name: Annotated[str, typer.Option(help="The model's name in onnx_models.")],
    pool: Annotated[str | None, typer.Option(metavar="URL", help="The server; by default ONNX_PIPELINE_POOL.")] = None,
) -> None:
    """Put a model into the models table in the form that the language runs: checked, and without ZipMap.

    It is known there by the sha256 of the file as it came.
    """
    from onnx_pipeline.cli.extension import register_model

    register_model(pool, model, name=name)


@extension.command("procedure")
def extension_procedure(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Path or URI of the model.")],
    name: Annotated[str, typer.Option(help="The procedure: `name` or `schema.name`.")],
    key: Annotated[list[str], typer.Option(help="A key column with its SQL type, e.g. 'encounter_id BIGINT'.")],
    output: Annotated[list[str] | None, typer.Option(help="An output to return; by default all.")] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="A column of the [N, F] input, in order; by default the model's own names.")
    ] = None,
    language: Language = "ONNX",
) -> None:
    """Print a procedure that scores with one model, its RESULT SETS written from the model's signature."""
    from onnx_pipeline.cli.extension import print_procedure

    print_procedure(model, name=name, keys=key, outputs=output or [], features=feature or [], language=language)
