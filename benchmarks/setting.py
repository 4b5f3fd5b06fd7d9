"""What every measured path works on: a table of encounters in a DuckDB file, and two models."""

import datetime
import json
import os
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from onnx_pipeline.sample.encounters import TREE_FEATURES, generate, schema

__all__ = [
    "MODELS",
    "TARGET",
    "LeftOut",
    "environment_of",
    "make_models",
    "make_pool",
    "write_empty_project",
    "write_project",
]

MODELS = ("decision tree", "logistic regression")
TARGET = "predictions"
_DAY = datetime.date(2026, 1, 1)


class LeftOut(Exception):  # noqa: N818 - it is no error where everything is measured
    """A part cannot be measured on this machine; the text says what it lacks."""


def make_pool(path: Path, rows: int, *, days: int = 1) -> None:
    """A pool with `rows` encounters, spread evenly over `days`."""
    with duckdb.connect(str(path)) as connection:
        reader = pa.RecordBatchReader.from_batches(schema, generate(days, rows // days, start=_DAY))
        connection.register("generated", reader)
        connection.execute("CREATE TABLE encounters AS FROM generated").fetchall()


def make_models(folder: Path) -> dict[str, Path]:
    """Both models over the same `[N,27]` float tensor: the sample's tree, and a logistic regression trained here."""
    import onnx
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from onnx_pipeline.sample import MODELS as SAMPLE_MODELS

    batch = next(generate(1, 20_000, start=_DAY))
    columns = [batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False) for name in TREE_FEATURES]
    matrix = np.column_stack(columns).astype(np.float32)
    label = np.nan_to_num(matrix[:, 0]) + 10 * np.nan_to_num(matrix[:, -1]) > 60
    pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(matrix, label.astype(np.int64))
    converted = convert_sklearn(pipeline, initial_types=[("features", FloatTensorType([None, matrix.shape[1]]))])
    onnx.helper.set_model_props(converted, {"feature_names": json.dumps(list(TREE_FEATURES))})
    logistic = folder / "logistic_regression.onnx"
    logistic.write_bytes(converted.SerializeToString())
    return {MODELS[0]: SAMPLE_MODELS / "length_of_stay.onnx", MODELS[1]: logistic}


def write_project(home: Path, model: Path, *, partitioned: bool = False) -> Path:
    """A project with one scoring, `bench`, as a user would have it; the module to give to Dagster."""
    package = home / "bench_project"
    (package / "defs" / "bench").mkdir(parents=True, exist_ok=True)
    (home / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "bench_project"\n'
    )
    (package / "__init__.py").write_text("")
    (package / "defs" / "__init__.py").write_text("")
    (package / "definitions.py").write_text(
        "from pathlib import Path\n"
        "import dagster as dg\n"
        "from onnx_pipeline.orchestration.executor import in_process_executor\n"
        "from onnx_pipeline.orchestration.resources import default_resources\n"
        "tree = dg.ComponentTree.for_project(Path(__file__).parent)\n"
        "defs = dg.Definitions.merge(tree.build_defs(tree.defs_module_path),\n"
        "    dg.Definitions(resources=default_resources(), executor=in_process_executor))\n"
    )
    partitions = "  partitions: {column: admitted_on, every: day, start: 2026-01-01}\n" if partitioned else ""
    (package / "defs" / "bench" / "defs.yaml").write_text(
        "type: onnx_pipeline.OnnxScoring\nattributes:\n"
        f"  onnx: {model}\n  source: {{table: encounters}}\n  key: [encounter_id]\n  target: {TARGET}\n"
        f"  checks: {{psi: 100}}\n{partitions}"
    )
    return package


def write_empty_project(home: Path) -> None:
    """A project of Dagster's own whose job `bench` has four assets that do nothing: what a command costs without us."""
    package = home / "bench_project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assets = "".join(
        f"@dg.asset(deps={deps})\ndef {name}() -> None: ...\n"
        for name, deps in (("a", []), ("b", ["a"]), ("c", ["b"]), ("d", ["c"]))
    )
    (package / "definitions.py").write_text(
        f"import dagster as dg\n{assets}"
        "jobs = [dg.define_asset_job('bench')]\n"
        "defs = dg.Definitions(assets=[a, b, c, d], jobs=jobs, executor=dg.in_process_executor)\n"
    )


def environment_of(home: Path) -> dict[str, str]:
    """The environment in which a project in `home` runs, with its own pool and Dagster instance."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "ONNX_PIPELINE_HOME": str(home),
        "ONNX_PIPELINE_POOL": f"duckdb:///{home}/pool.duckdb",
        "PYTHONPATH": str(home),
        "PYTHONWARNINGS": "ignore",
    }
