"""Scores the rows of a query inside SQL Server: this file is the `@script` of `sp_execute_external_script`.

It runs in the server's own Python, 3.7 with SQL Server 2019 and 3.10 with 2022, and takes numpy, pandas and onnxruntime
from there. So it keeps to what they all know, and imports nothing of this package, which reads it as text. The runtime
runs it once for each chunk of rows, with `InputDataSet`, a DataFrame, and the parameters `model` and `layout` among its
globals, and takes the DataFrame `OutputDataSet`.

What arrives is not what the table holds: the documented mapping makes float64 of BIGINT, and does not say what becomes
of NULL in a column of integers or bits.
https://learn.microsoft.com/sql/machine-learning/python/python-libraries-and-data-types
So the query gives numbers as FLOAT, where NULL is NaN, and whatever a double does not hold as text, where NULL is None;
predictions go back in the same two forms.
"""

import hashlib
import json
import sys
from typing import Any, Dict

import numpy as np
import onnxruntime
import pandas as pd
from pandas.api.types import infer_dtype

Record = Dict[str, Any]

WRONG_SERIES = ("1.26.", "1.27.")
"""Releases of ONNX Runtime that give wrong labels for trees and forests."""
FLOATS = ("float", "double", "float16")
EXACT = 2.0**53
"""From here on a double is no longer every integer."""
SESSIONS = globals().get("SESSIONS", {})  # type: Record
"""The session of the last model, by its sha256; the next chunk finds it, where its globals are the same."""


def scored(frame: pd.DataFrame, model: Any, layout: str) -> pd.DataFrame:
    """The rows that pass through and their predictions, one row for each of `frame`, in its order.

    `layout` is JSON: `keys`, the columns that pass through, each with its form; `inputs`, the model's with name, dtype,
    rank and columns, where null stands for one that moves no prediction; `outputs`, each with the model's output, the
    column of it and its form; `batch_rows` and `fixed_batch`, rows of one call; `threads`. A form is `number`, which is
    float64, `text` or `bytes`.

    A row with a NULL that the model has no form for gets NULL predictions: whoever asked refuses it by its own count.
    Raises ValueError, which the server shows.
    """
    asked = json.loads(layout)
    made = {}  # type: Record
    for key in asked["keys"]:
        made[key["column"]] = passed(frame[key["column"]], key)
    parts = []  # type: Any
    if len(frame):
        session = session_of(model, asked["threads"])
        size = max(asked["batch_rows"], asked["fixed_batch"] or 1)
        batches = (frame.iloc[start : start + size] for start in range(0, len(frame), size))
        parts = [predictions(batch, session, asked) for batch in batches]
    for place, output in enumerate(asked["outputs"]):
        found = [part[place] for part in parts] or [nothing(0, output["form"])]
        values = np.concatenate(found)
        made[f"p{place}"] = pd.Series(values, dtype=values.dtype)
    return pd.DataFrame(made, columns=list(made))


def passed(series: Any, key: Record) -> Any:
    """A column that passes through, checked to have arrived in the form that holds it exactly."""
    if key["form"] == "number":
        return pd.Series(np.asarray(series, dtype=np.float64))
    values = np.array(series, dtype=object) if key["form"] == "bytes" else text_of(series, key["called"])
    values[np.asarray(pd.isna(values))] = None
    return pd.Series(values, dtype=object)


def text_of(series: Any, name: str) -> Any:
    """A copy of a column of text, which must have arrived as such."""
    values = np.array(series, dtype=object)
    if infer_dtype(values, skipna=True) not in ("string", "empty"):
        raise ValueError(
            f"onnx_pipeline: column {name} did not arrive as text but as {series.dtype}, which may hold another value "
            "than the table; convert it to NVARCHAR in the query"
        )
    return values


def session_of(model: Any, threads: int) -> Any:
    """A session for the bytes of a model."""
    if model is None:
        raise ValueError("onnx_pipeline: the parameter @model is NULL: onnx_models has no such row that you may read")
    version = onnxruntime.__version__
    if version.startswith(WRONG_SERIES):
        raise ValueError(
            f"onnx_pipeline: the server's Python has ONNX Runtime {version}, which silently gives wrong labels for "
            "trees and forests; install another into it"
        )
    identity = hashlib.sha256(model).hexdigest()
    if identity not in SESSIONS:
        SESSIONS.clear()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            SESSIONS[identity] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            python = ".".join(map(str, sys.version_info[:2]))
            raise ValueError(
                f"onnx_pipeline: ONNX Runtime {version} of the server's Python {python} cannot load the model: "
                f"{error}. Install a newer one there (for Python 3.7 there is none after 1.14, which knows opset 18 "
                "and ai.onnx.ml 3), or export the model with an earlier opset"
            ) from error
    return SESSIONS[identity]


def predictions(part: pd.DataFrame, session: Any, asked: Record) -> Any:
    """An array for each output, of as many values as `part` has rows."""
    usable = has_a_form(part, asked["inputs"])
    rows = part if usable.all() else part[usable]
    if not len(rows):
        return [nothing(len(part), output["form"]) for output in asked["outputs"]]
    feeds = {tensor["name"]: fed(rows, tensor) for tensor in asked["inputs"]}
    answers = called(session, feeds, len(rows), asked)
    found = []
    for output in asked["outputs"]:
        values = column_of(answers[output["output"]], len(rows), output)
        if len(rows) < len(part):
            whole = nothing(len(part), output["form"])
            whole[usable] = values
            values = whole
        found.append(values)
    return found


def has_a_form(part: pd.DataFrame, inputs: Any) -> Any:
    """Which rows have no NULL where the model takes none: in a float it is NaN."""
    usable = np.ones(len(part), dtype=bool)
    for tensor in inputs:
        if tensor["dtype"] not in FLOATS:
            for column in tensor["columns"]:
                if column is not None:
                    usable &= ~np.asarray(pd.isna(part[column]))
    return usable


def fed(part: pd.DataFrame, tensor: Record) -> Any:
    """The tensor of one input, `[N]` or `[N, F]`."""
    text = tensor["dtype"] == "string"
    shape = (len(part), len(tensor["columns"]))
    matrix = np.full(shape, "", dtype=object) if text else np.zeros(shape, dtype=numpy_type(tensor["dtype"]))
    for place, column in enumerate(tensor["columns"]):
        if column is not None:
            matrix[:, place] = elements(part[column], tensor["dtype"], tensor["called"][place])
    return matrix if tensor["rank"] == 2 else matrix.ravel()


def elements(series: Any, dtype: str, name: str) -> Any:
    """A column's values as elements of a dtype; none of them is missing but in a dtype of floats."""
    if dtype == "string":
        return text_of(series, name)
    wanted = numpy_type(dtype)
    values = np.asarray(series)
    if dtype in FLOATS:
        return values.astype(np.float64).astype(wanted)  # None is NaN, and digits are read to the nearest double
    if values.dtype == object and len(values) and isinstance(values[0], str):
        return np.array([int(value) for value in values], dtype=wanted)
    values = values.astype(np.float64)
    if dtype == "bool":
        return values != 0
    if (np.abs(values) >= EXACT).any():
        raise ValueError(
            f"onnx_pipeline: column {name} arrived as float64 and has values of 2^53 and beyond, which may be others "
            "than the table's; convert it to NVARCHAR in the query"
        )
    made = values.astype(wanted)
    if (made != values).any():
        raise ValueError(f"onnx_pipeline: column {name} has values that {dtype} does not hold")
    return made


def called(session: Any, feeds: Record, rows: int, asked: Record) -> Record:
    """The model's answers by output, from calls of the size that it takes."""
    names = sorted({output["output"] for output in asked["outputs"]})
    fixed = asked["fixed_batch"]
    size = fixed or asked["batch_rows"]
    parts = []
    for start in range(0, rows, size):
        part = {name: tensor[start : start + size] for name, tensor in feeds.items()}
        count = min(size, rows - start)
        if fixed and count < fixed:
            # The last row again: the model takes that, where it may refuse zeros or blanks.
            part = {
                name: np.concatenate([tensor, np.repeat(tensor[-1:], fixed - count, axis=0)])
                for name, tensor in part.items()
            }
        answers = session.run(names, part)
        parts.append([answer[:count] for answer in answers] if fixed else answers)
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}


def column_of(tensor: Any, rows: int, output: Record) -> Any:
    """One column of an output in the form in which it goes back; infinity becomes NaN, which becomes NULL."""
    index = output["index"]
    if tensor.shape[:1] != (rows,) or tensor.ndim > 2 or (index is None and tensor.size != rows):
        raise ValueError(
            f"onnx_pipeline: output {output['output']} has the shape {list(tensor.shape)} for {rows} rows, so its "
            "values belong to no row"
        )
    values = tensor[:, index] if index is not None and tensor.ndim == 2 else tensor.reshape(rows)
    if output["form"] == "text":
        made = nothing(rows, "text")
        made[:] = [str(value) for value in values.tolist()]
        return made
    numbers = values.astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def nothing(rows: int, form: str) -> Any:
    """Missing values in a form."""
    return np.full(rows, np.nan) if form == "number" else np.full(rows, None, dtype=object)


def numpy_type(dtype: str) -> Any:
    """The dtype of numpy for one of ONNX Runtime's."""
    return np.dtype({"float": "float32", "double": "float64"}.get(dtype, dtype))


if "InputDataSet" in globals():  # the server's runtime puts it there, and the parameters
    OutputDataSet = scored(globals()["InputDataSet"], globals()["model"], globals()["layout"])
