"""A project of many scorings, and the pool that they score: what the part `load` measures."""

import json
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

__all__ = ["Shape", "make_project", "make_trivial_project"]

_FEATURES = ("age", "stays", "pulse")


@dataclass(frozen=True)
class Shape:
    """How large a project is."""

    scorings: int = 500
    long: int = 10
    """How many of them have `partitions` partitions, by the hour; the others have 30, by the day."""
    partitions: int = 10_000
    rows_per_partition: int = 4


def _make_package(home: Path, loaded_by: str) -> Path:
    """The folder `defs` of a project as create-dagster makes it, with the executor that runs steps in one process.

    `loaded_by` is the package whose `load_from_defs_folder` its definitions take.
    """
    package = home / "bench_project"
    (package / "defs").mkdir(parents=True, exist_ok=True)
    (home / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "bench_project"\n'
    )
    for folder in (package, package / "defs"):
        (folder / "__init__.py").write_text("")
    (package / "definitions.py").write_text(
        f"from pathlib import Path\n\nimport dagster as dg\n\nfrom {loaded_by} import load_from_defs_folder\n"
        "from onnx_pipeline.orchestration.executor import in_process_executor\n\n\n"
        "@dg.definitions\ndef defs():\n"
        "    found = load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
        "    return dg.Definitions.merge(found, dg.Definitions(executor=in_process_executor))\n"
    )
    return package


def make_project(home: Path, shape: Shape) -> None:
    """A folder that `dg` takes for a project, with `pool.duckdb` beside it; nothing in it was scored yet."""
    package = _make_package(home, "onnx_pipeline")
    _make_model(home / "model.onnx")
    for number in range(shape.scorings):
        folder = package / "defs" / f"scoring_{number:03}"
        folder.mkdir(exist_ok=True)
        every, start = ("hour", "2025-01-01") if number < shape.long else ("day", "2026-01-01")
        (folder / "defs.yaml").write_text(
            "type: onnx_pipeline.OnnxScoring\n\nattributes:\n"
            "  onnx: ../../../model.onnx\n"
            f"  source: {{table: events_{number:03}, changed: changed}}\n"
            "  key: [id]\n"
            f"  partitions: {{column: moment, every: {every}, start: {start}, until: {_until(number, shape)}}}\n"
            f"  target: predictions_{number:03}\n"
            "  outputs: {score: variable}\n"
            "  rescore: latest 7\n"
        )
    _make_pool(home / "pool.duckdb", shape)


_TRIVIAL = """
import dagster as dg

WINDOWS = {
    "hour": dg.HourlyPartitionsDefinition("2025-01-01-00:00", end_date="%s"),
    "day": dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-31"),
}
STEPS = {
    "model": ([], ["signature"]),
    "features": (["model"], ["null_rate", "rows_outside"]),
    "predictions": (["features", "model"], ["missing", "distribution"]),
    "pool_predictions": (["predictions"], ["row_count"]),
}


class Trivial(dg.Component, dg.Model, dg.Resolvable):
    source: str
    target: str
    every: str
    key: list[str]

    def build_defs(self, context):
        name = context.path.name if context.path.is_dir() else context.path.parent.name
        job = dg.define_asset_job(name, selection=dg.AssetSelection.assets(*([name, step] for step in STEPS)))
        return dg.Definitions(
            assets=[self.asset(name, step, *parts) for step, parts in STEPS.items()],
            jobs=[job],
            sensors=[self.sensor(f"{name}_{what}", job) for what in ("new_rows", "new_model")],
        )

    def asset(self, name, step, deps, checks):
        keys = [dg.AssetKey([name, dep]) for dep in deps] + ([dg.AssetKey(self.source)] if step == "features" else [])
        partitions = None if step == "model" else WINDOWS[self.every]
        spec = dg.AssetSpec([name, step], deps=keys, description="An asset.", group_name=name, tags={"scoring": name},
                            kinds={"onnx"}, partitions_def=partitions)

        checked = [dg.AssetCheckSpec(check, asset=[name, step], description="A check.") for check in checks]

        @dg.multi_asset(name=f"{name}__{step}", specs=[spec], check_specs=checked,
                        backfill_policy=dg.BackfillPolicy.multi_run(100) if partitions else None)
        def made(context: dg.AssetExecutionContext): ...

        return made

    def sensor(self, name, job):
        @dg.sensor(name=name, job=job)
        def look(context): ...

        return look
"""


def make_trivial_project(home: Path, shape: Shape) -> None:
    """As many components of as many assets, checks, jobs and sensors, which do nothing: what Dagster alone takes."""
    package = _make_package(home, "dagster")
    (package / "trivial.py").write_text(_TRIVIAL % _until(0, Shape(long=1, partitions=shape.partitions)))
    for number in range(shape.scorings):
        folder = package / "defs" / f"scoring_{number:03}"
        folder.mkdir()
        (folder / "defs.yaml").write_text(
            "type: bench_project.trivial.Trivial\n\nattributes:\n"
            f"  source: events_{number:03}\n  key: [id]\n  target: predictions_{number:03}\n"
            f"  every: {'hour' if number < shape.long else 'day'}\n"
        )


def _until(number: int, shape: Shape) -> str:
    long = np.datetime64("2025-01-01T00") + np.timedelta64(shape.partitions, "h")
    return str(long).replace("T", "-") + ":00" if number < shape.long else "2026-01-31"


def _make_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("weights", TensorProto.FLOAT, [len(_FEATURES), 1], [0.5, -0.25, 0.125])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["variable"])],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(_FEATURES)])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"feature_names": json.dumps(list(_FEATURES))})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _make_pool(path: Path, shape: Shape) -> None:
    with duckdb.connect(str(path)) as connection:
        for number in range(shape.scorings):
            slices, seconds, start = (
                (shape.partitions, 3600, "2025-01-01") if number < shape.long else (30, 86400, "2026-01-01")
            )
            connection.execute(
                f"CREATE TABLE events_{number:03} AS SELECT i AS id, "
                f"TIMESTAMP '{start}' + INTERVAL (i // {shape.rows_per_partition} * {seconds}) SECOND AS moment, "
                "moment AS changed, (i % 90)::REAL AS age, (i % 7)::REAL AS stays, (60 + i % 40)::REAL AS pulse "
                f"FROM range({slices * shape.rows_per_partition}) AS r(i)"
            ).fetchall()
