"""A plain FastAPI handler over ONNX Runtime: validated rows in a thread, or anything in the event loop."""

import json
import os

import numpy as np
import onnxruntime as ort
import orjson
from fastapi import FastAPI, Request, Response

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options)
columns = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
app = FastAPI()


def predicted(records: list[dict[str, float | None]]) -> list[dict[str, float]]:
    matrix = np.array([[record[name] for name in columns] for record in records], dtype=np.float32)
    (days,) = session.run(None, {"features": matrix})
    return [{"variable": value} for value in days[:, 0].tolist()]


@app.post("/score")
def score(records: list[dict[str, float | None]]) -> list[dict[str, float]]:
    return predicted(records)


@app.post("/score_in_loop")
async def score_in_loop(request: Request) -> Response:
    return Response(orjson.dumps(predicted(orjson.loads(await request.body()))), media_type="application/json")
