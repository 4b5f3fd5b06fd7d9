"""`onnx-pipeline extension`: the external language of SQL Server, packed, registered, and a procedure per model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import ExtensionPackageError, SpecError

if TYPE_CHECKING:
    from onnx_pipeline.pools.tsql.pool import MssqlPool

__all__ = ["deploy_extension", "package_extension", "print_procedure", "register_model"]


def package_extension(output: Path, *, platform: str, library: Path | None, wheel: Path | None) -> None:
    """Write the package, and say what is in it."""
    from onnx_pipeline.extension.files import built_library, installed_runtime, runtime_of_wheel
    from onnx_pipeline.extension.package import pack

    system = _platform(platform)
    file = library or built_library(system)
    runtime = runtime_of_wheel(wheel, system) if wheel is not None else installed_runtime()
    try:
        ours = file.read_bytes()
    except OSError as error:
        raise ExtensionPackageError(f"--library {file} cannot be read: {error.strerror}") from error
    package = pack(ours, runtime, system)
    with _writing(output, len(package.content)):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(package.content)
    for name, size in package.files:
        print(f"{size:>12,}  {name}")
    print(f"{output}: {len(package.content):,} bytes for {system.title()}, sha256 {package.sha256}")


def _writing(file: Path, size: int | None = None) -> AbstractContextManager[None]:
    return writing(
        file, ExtensionPackageError, lost="it is not whole", elsewhere="name another file", then="run this again",
        size=size,
    )  # fmt: skip


def _platform(text: str) -> str:
    if text.upper() not in ("LINUX", "WINDOWS"):
        raise SpecError(f"--platform {text} must be linux or windows")
    return text.upper()


def deploy_extension(url: str | None, package: Path, *, language: str, dry_run: bool, script: Path | None) -> None:
    """Register the package's language in a database, with its procedure and grants; or print what that would be."""
    from onnx_pipeline.extension.deploy import abbreviated, deploy, deployment, registration
    from onnx_pipeline.extension.package import read_package

    found = read_package(package)
    if script is not None:
        texts = deployment(found, language, ())
        with _writing(script):
            script.write_text("".join(f"{text}\nGO\n" for text in texts), encoding="utf-8")
        print(f"{script}: {len(texts)} statements, for `sqlcmd -i` on a database without the language {language}")
        return
    if dry_run:
        # No server is asked, so that the statements can be read before there is one, or a way to it.
        texts = deployment(found, language, ())
        print("\n\n".join(f"{abbreviated(text)};" for text in texts))
        instead = abbreviated(registration(found, language, {found.platform}))
        print(f"\n-- Where {language} stands already, instead of the first: {instead};")
        return
    pool = _server(url)
    server = deploy(pool, found, language)
    did = "replaced" if found.platform in server.registered else "registered"
    print(f"{did} external language {language} in {pool.display_name}: {len(found.content):,} bytes")
    if not server.scripts_enabled:
        print(
            "The server does not run external scripts yet: EXEC sp_configure 'external scripts enabled', 1; "
            "RECONFIGURE WITH OVERRIDE;"
        )


def _server(url: str | None) -> "MssqlPool":
    from onnx_pipeline.orchestration.resources import pool_url
    from onnx_pipeline.pools import open_pool
    from onnx_pipeline.pools.synapse.pool import SynapsePool
    from onnx_pipeline.pools.tsql.pool import MssqlPool

    pool = open_pool(url or pool_url())
    if not isinstance(pool, MssqlPool) or isinstance(pool, SynapsePool):
        raise SpecError(f"{pool.display_name} runs no external languages; name a SQL Server by --pool mssql+...://")
    return pool


def register_model(url: str | None, model: str, *, name: str) -> None:
    """Register a model in the form that the language runs."""
    from onnx_pipeline.extension.deploy import register
    from onnx_pipeline.models import OnnxModel

    loaded = OnnxModel.load(model)
    pool = _server(url)
    number = register(pool, loaded, name)
    for change in loaded.changes:
        print(change)
    print(f"model {number} in onnx_models of {pool.display_name}: EXEC sp_onnx_scoring @model_id = {number}, ...")


def print_procedure(
    model: str, *, name: str, keys: Sequence[str], outputs: Sequence[str], features: Sequence[str], language: str
) -> None:
    """Print a procedure that scores with one model."""
    from onnx_pipeline.extension.procedure import key_column, procedure
    from onnx_pipeline.models import OnnxModel

    loaded = OnnxModel.load(model)
    columns = dict(key_column(key) for key in keys)
    matrix = any(tensor.is_matrix for tensor in loaded.signature.inputs)
    order = list(features) or (list(loaded.feature_names) if loaded.feature_names and matrix else None)
    text = procedure(
        name, loaded.signature, loaded.sha256, columns, features=order, outputs=list(outputs) or None, language=language
    )
    print(f"{text};")
