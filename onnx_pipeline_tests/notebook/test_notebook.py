"""The notebook of docs/notebooks, cell by cell in a kernel of its own: local Spark, Azurite, the embedded pool."""

from pathlib import Path

import nbformat
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from azure.storage.blob import BlobServiceClient
from nbclient import NotebookClient

from onnx_pipeline_tests.azure.azurite import KEY, running_azurite

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "score-from-spark.ipynb"
ROWS = 2_000


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    with running_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


def test_the_notebook_trains_publishes_scores_and_loads(azurite, spark_settings, pool, sql, tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    age, stay = random.integers(18, 95, ROWS), random.gamma(2.0, 3.0, ROWS).astype(np.float32)
    rows = pa.table(
        {
            "visit_id": pa.array(range(ROWS), pa.int64()),
            "age": pa.array(age, pa.int32()),
            "length_of_stay": pa.array(stay),
            "readmitted": pa.array((age + 3 * stay + random.normal(0, 5, ROWS) > 80).astype(np.int64)),
        }
    )
    with pool.connect("making visits") as connection:
        connection.register("made", rows)
        connection.execute("CREATE TABLE visits AS FROM made").fetchall()
    for name, value in {
        "ONNX_PIPELINE_POOL": f"duckdb:///{pool.path}",
        "MODELS": "az://models",
        "ONNX_PIPELINE_BLOB_ACCOUNT_URL": azurite.url,
        "AZURE_STORAGE_KEY": KEY,
        "PYSPARK_SUBMIT_ARGS": "--master local[2] pyspark-shell",
        "JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }.items():
        monkeypatch.setenv(name, value)
    with BlobServiceClient(azurite.url, credential=KEY) as service:
        service.create_container("models")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
        stored = service.get_blob_client("models", "risk_of_readmission.onnx").download_blob().readall()
    session = ort.InferenceSession(stored)
    matrix = np.column_stack([age.astype(np.float32), stay])
    labels = session.run(None, {session.get_inputs()[0].name: matrix})[0]
    assert sql("SELECT visit_id, readmitted FROM readmission_risk ORDER BY visit_id") == [*enumerate(labels.tolist())]
    shown = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(f"{ROWS:,} rows of main.readmission_risk by model" in text for text in shown)


def test_the_notebook_is_kept_without_outputs():
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in kept.cells)
