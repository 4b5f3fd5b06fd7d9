"""The `.sql` files of `sql/`, one folder per kind of pool: the code holds no copy of them."""

from onnx_pipeline.base import paths

__all__ = ["script", "statements_of"]


def script(folder: str, name: str) -> str:
    """The text of a script: `script("sqlserver", "onnx_models")`."""
    return (paths.sql_folder() / folder / f"{name}.sql").read_text(encoding="utf-8")


def statements_of(text: str) -> list[str]:
    """A script's statements: each ends with a semicolon at the end of a line."""
    statements: list[str] = []
    lines: list[str] = []
    for line in text.splitlines():
        if not lines and (not line.strip() or line.lstrip().startswith("--")):
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            statements.append("\n".join(lines).rstrip().rstrip(";"))
            lines = []
    return [*statements, "\n".join(lines)] if lines else statements
