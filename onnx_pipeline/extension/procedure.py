"""A procedure for one model, with its RESULT SETS written from the model's signature."""

import re
from collections.abc import Mapping, Sequence
from string import Template

from onnx_pipeline.base.errors import SpecError, UnsupportedModelError
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.signature import Signature
from onnx_pipeline.pools import scripts as sql_scripts
from onnx_pipeline.pools.records import NORMALISED
from onnx_pipeline.pools.tables import split_name

__all__ = ["SQL_TYPES", "TEXT_LENGTH", "key_column", "option_name", "procedure", "result_columns", "script"]

TEXT_LENGTH = 4000
"""The extension's `text_length`, unless told otherwise."""
SQL_TYPES = {
    "float": "REAL", "float16": "REAL", "double": "FLOAT", "int64": "BIGINT", "uint32": "BIGINT", "int32": "INT",
    "uint16": "INT", "int16": "SMALLINT", "int8": "SMALLINT", "uint8": "TINYINT", "bool": "BIT",
    "string": f"NVARCHAR({TEXT_LENGTH})",
}  # fmt: skip
"""What the extension makes of a tensor's elements: docs/external-language.md."""
_KEY = re.compile(
    r"\s*(?P<name>\[(?:[^\]]|\]\])+\]|\w+)\s+(?P<type>[A-Za-z][A-Za-z0-9_]*(?:\s*\(\s*[\d, a-zA-Z]+\s*\))?)\s*"
)


def result_columns(signature: Signature, outputs: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Name and SQL type of each column that the model's outputs become, by the names that targets have.

    Raises SignatureError, as `output_columns` does, and UnsupportedModelError for a dtype that no column has.
    """
    dtypes = {output.name: output.dtype for output in signature.outputs}
    chosen = None if outputs is None else {name: name for name in outputs}
    found = []
    for column in output_columns(signature, chosen):
        dtype = dtypes[column.output]
        if dtype not in SQL_TYPES:
            raise UnsupportedModelError(
                f"output {column.output!r} is {dtype}, which the external language cannot return; leave it out, or "
                f"export the model with a Cast to one of {', '.join(SQL_TYPES)}"
            )
        found.append((column.name, SQL_TYPES[dtype]))
    return found


def option_name(name: str) -> str:
    """A name as the extension's options spell it."""
    return '"' + name.replace('"', '""') + '"'


def script(keys: Sequence[str], features: Sequence[str] | None, outputs: Sequence[str] | None) -> str:
    """The options for `@script`."""
    named = {"keys": keys, "features": features, "outputs": outputs}
    lines = [f"{option} = {', '.join(map(option_name, names))}" for option, names in named.items() if names]
    for names in named.values():
        for name in names or ():
            if "\n" in name or "\r" in name:
                raise SpecError(f"the name {name!r} holds a line break, which an option of the language cannot")
    return "\n".join(lines)


def _key_example(text: str) -> str:
    """What to write instead: a name of several words goes into brackets."""
    words = text.split(" ")
    for count in range(len(words) - 1, 0, -1):
        name, kind = " ".join(words[:count]).strip(), " ".join(words[count:])
        bracketed = f"[{name.replace(']', ']]')}] {kind}"
        if name and "[" not in name and _KEY.fullmatch(bracketed):
            return f"and a name with blanks or other characters goes into brackets: --key '{bracketed}'"
    return "e.g. --key 'encounter_id BIGINT' or --key '[Order No] INT'"


def key_column(text: str) -> tuple[str, str]:
    """`encounter_id BIGINT` → name and type; SpecError for anything else."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise SpecError(f"--key {text!r} must be a column and its SQL type, {_key_example(text)}")
    name = found["name"]
    return (name[1:-1].replace("]]", "]") if name.startswith("[") else name), found["type"].upper()


def procedure(
    name: str, signature: Signature, sha256: str, keys: Mapping[str, str], *, features: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None, language: str = "ONNX",
) -> str:  # fmt: skip
    """CREATE OR ALTER PROCEDURE for the model of that sha256, which the models table must hold in the form that runs.

    The sha256 is that of the bytes as they came.
    `keys` is column → SQL type. The procedure takes a query that gives keys and features, and returns keys and
    predictions. Raises SpecError, SignatureError or UnsupportedModelError.
    """
    from onnx_pipeline.pools.tsql.dialect import literal, national, quoted

    columns = [*keys.items(), *result_columns(signature, outputs)]
    return Template(sql_scripts.script("sqlserver", "templates/one_model").rstrip()).substitute(
        procedure=quoted(*split_name(name)),
        sha256=literal(sha256),
        form=literal(NORMALISED),
        language=national(language),
        script=national(script(list(keys), features, outputs)),
        columns=",\n        ".join(f"{quoted(column)} {kind} NULL" for column, kind in columns),
    )
