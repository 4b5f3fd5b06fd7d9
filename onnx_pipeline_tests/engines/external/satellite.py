"""What runs scripts in SQL Server's Python, as a process: a line of JSON in, a line of JSON out.

`{"begin": ...}` starts a query with its script and parameters, `{"columns": ...}` gives it a chunk of rows. Globals live
as long as the query, as they do in Microsoft's open-source extension, unless it is begun with `"forgets": true`. The
file runs in every Python that a server has.
https://github.com/microsoft/sql-server-language-extensions/tree/main/language-extensions/python
"""

import contextlib
import io
import json
import math
import sys
import traceback

import numpy as np
import pandas as pd


def column(kind, values):
    """A column as the runtime makes it: numbers as arrays, text and bytes as objects, where NULL is None."""
    if kind == "float64":
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if kind == "bytes":
        values = [None if value is None else bytes.fromhex(value) for value in values]
    made = np.empty(len(values), dtype=object if kind in ("str", "bytes") else kind)
    for place, value in enumerate(values):
        made[place] = value
    return made


def answered(name, series):
    """A column as the server takes it: its T-SQL type, and values, where None is NULL."""
    assert isinstance(name, str), "a column of OutputDataSet has no name"
    if series.dtype == np.bool_:
        return {"kind": "BIT", "values": [bool(value) for value in series]}
    if series.dtype.kind == "i":
        return {"kind": "INT" if series.dtype.itemsize < 8 else "BIGINT", "values": [int(value) for value in series]}
    if series.dtype.kind == "f":
        values = [None if math.isnan(value) else float(value) for value in series]
        assert all(value is None or math.isfinite(value) for value in values), "the server refuses infinity"
        return {"kind": "FLOAT", "values": values}
    values = [None if value is None or value is pd.NaT or value != value else value for value in series]
    if any(isinstance(value, bytes) for value in values):
        return {"kind": "VARBINARY", "values": [None if value is None else value.hex() for value in values]}
    odd = {type(value).__name__ for value in values} - {"str", "NoneType"}
    assert not odd, "column {} of OutputDataSet holds {}".format(name, ", ".join(sorted(odd)))
    return {"kind": "NVARCHAR", "values": values}


class Query:
    def __init__(self, script, parameters, forgets):
        self.code = compile(script, "<string>", "exec")
        self.given = {
            name: bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value
            for name, value in parameters.items()
        }
        self.forgets = forgets
        self.globals = self.start()

    def start(self):
        return dict(self.given, __name__="__main__")

    def run(self, columns):
        if self.forgets:
            self.globals = self.start()
        self.globals["InputDataSet"] = pd.DataFrame({name: column(kind, values) for name, kind, values in columns})
        self.globals["OutputDataSet"] = pd.DataFrame()
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(self.code, self.globals)
        frame = self.globals["OutputDataSet"]
        assert isinstance(frame, pd.DataFrame), "OutputDataSet is no DataFrame"
        return {"columns": [answered(name, frame[name]) for name in frame.columns], "said": said.getvalue()}


def main():
    query = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "begin" in asked:
                query = Query(**asked["begin"])
                answer = {}
            else:
                answer = query.run(asked["columns"])
        except Exception:  # noqa: BLE001 - whatever the script raises is told
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
