"""The recipe that everybody writes by hand, for comparison.

Rows → list of dicts → JSON over HTTP to a scoring endpoint → DataFrame → `to_sql`.
"""

import json
import multiprocessing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import requests
import sqlalchemy as sa

__all__ = ["run"]

_CHUNK = 1000


def _serve(model: str, port: Connection) -> None:
    data = Path(model).read_bytes()
    properties = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    names = json.loads(properties["feature_names"])
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
            matrix = np.array([[_number(record[name]) for name in names] for record in records], dtype=np.float32)
            answer = session.run(None, {"features": matrix})[0]
            body = json.dumps({"predictions": np.asarray(answer).reshape(-1).tolist()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def _number(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]


def run(pool: Path, model: Path) -> int:
    """Score the whole table once; the number of rows."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(model), theirs), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/score"
    try:
        return _client(pool, url)
    finally:
        server.terminate()
        server.join()


def _client(pool: Path, url: str) -> int:
    with duckdb.connect(str(pool)) as connection:
        frame = connection.sql("SELECT * EXCLUDE (admitted_on, updated_at) FROM encounters").df()
    records = json.loads(frame.to_json(orient="records"))
    predictions: list[float] = []
    with requests.Session() as session:
        for start in range(0, len(records), _CHUNK):
            answer = session.post(url, json={"data": records[start : start + _CHUNK]}, timeout=60)
            answer.raise_for_status()
            predictions += answer.json()["predictions"]
    result = pd.DataFrame({"encounter_id": frame["encounter_id"], "prediction": predictions})
    engine = sa.create_engine(f"duckdb:///{pool}")
    result.to_sql("recipe_target", engine, if_exists="append", index=False, method="multi", chunksize=_CHUNK)
    engine.dispose()
    return len(result)
