"""Networks, a tree and a logistic regression on an accelerator, from Arrow to Arrow: `python -m benchmarks.gpu`.

A few minutes on one GPU. Each network is scored from a table of 28 columns, from a ready matrix and from rows that lie
on the device already, with TF32 and without, and its answers for all rows are held against the CPU's. With
`--provider CPUExecutionProvider` the same code runs where there is no GPU.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import typer
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.models import OnnxModel, Packer, RuntimeOptions, output_columns
from onnx_pipeline.models.accelerators import opened
from onnx_pipeline.models.accelerators.shown import shown
from onnx_pipeline.models.providers import CPU, Provider
from onnx_pipeline.models.runtime import open_session

__all__ = ["main", "measure"]

NETWORKS = {"64 x 2": (64, 2), "512 x 3": (512, 3), "2048 x 4": (2048, 4)}
COLUMNS = [f"c{number:02}" for number in range(28)]
BATCH = 65_536
CUDA = "CUDAExecutionProvider"


def network(width: int, layers: int) -> bytes:
    """A network of so many layers of one width, with ReLU between them and one number as its answer."""
    random = np.random.default_rng(width)
    sizes = [len(COLUMNS), *[width] * layers, 1]
    nodes, weights, given = [], [], "rows"
    for place, (before, after) in enumerate(pairwise(sizes)):
        weights += [
            numpy_helper.from_array(
                random.normal(0, (2 / before) ** 0.5, (before, after)).astype(np.float32), f"w{place}"
            ),
            numpy_helper.from_array(random.normal(0, 0.1, after).astype(np.float32), f"b{place}"),
        ]
        last = place == layers
        nodes.append(helper.make_node("Gemm", [given, f"w{place}", f"b{place}"], ["score" if last else f"g{place}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{place}"], [f"r{place}"]))
        given = f"r{place}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", len(COLUMNS)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
        weights,
    )
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return made


def classical() -> dict[str, bytes]:
    """A tree and a logistic regression, which run on the CPU; nothing where scikit-learn and skl2onnx are not here."""
    try:
        from skl2onnx import to_onnx
        from sklearn.linear_model import LogisticRegression
        from sklearn.tree import DecisionTreeClassifier
    except ImportError:
        return {}
    random = np.random.default_rng(7)
    x = random.normal(size=(20_000, len(COLUMNS))).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(np.int64)
    made = {"tree": DecisionTreeClassifier(max_depth=8), "logistic": LogisticRegression()}
    return {
        name: to_onnx(model.fit(x, y), x[:1], options={"zipmap": False}).SerializeToString()
        for name, model in made.items()
    }


def table_of(rows: int) -> pa.Table:
    """Rows of 28 float32 columns, in batches as they are staged."""
    random = np.random.default_rng(1)
    return pa.Table.from_batches(
        [
            pa.record_batch([pa.array(random.standard_normal(size, np.float32)) for _ in COLUMNS], names=COLUMNS)
            for start in range(0, rows, BATCH)
            for size in [min(BATCH, rows - start)]
        ]
    )


def rate(rows: int, work: Callable[[], object], *, turns: int = 3) -> float:
    """Millions of rows per second, the best of some turns after one that warms up."""
    work()
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return rows / min(seconds) / 1e6


def batches(table: pa.Table, times: int) -> Iterator[pa.RecordBatch]:
    """The table's batches, several times over: more rows than memory need hold."""
    for _ in range(times):
        yield from table.to_batches()


def options_of(provider: str, *, tf32: bool, **more: Any) -> RuntimeOptions:
    """What ours runs by."""
    chosen = Provider(provider, (("use_tf32", "1"),)) if tf32 else provider
    return RuntimeOptions(providers=(chosen,) if provider == CPU else (chosen, CPU), trust_models=True, **more)


def measure(
    names: Sequence[str], provider: str, *, rows: int, exact_rows: int, sweep: bool = False, turns: int = 3
) -> Iterator[dict[str, Any]]:
    """One line per network, way and precision."""
    table = table_of(rows)
    for name in names:
        width, layers = NETWORKS[name]
        data = network(width, layers)
        part = table if width <= 512 else table.slice(0, max(BATCH, rows // 4))
        times = 4 if width <= 512 else 1
        for tf32 in (False, True) if provider == CUDA else (False,):
            options = options_of(provider, tf32=tf32)
            model = OnnxModel.from_bytes(data, options=options)
            ways = _ways(model, options, part, times, provider)
            for way, (count, work) in ways.items():
                yield {"model": name, "way": way, "tf32": tf32, "mrows": round(rate(count, work, turns=turns), 2)}
            yield {
                "model": name,
                "way": "difference",
                "tf32": tf32,
                "probes": opened.known_difference(model.sha256, options),
                "rows": (count := min(rows, exact_rows, max(BATCH, int(exact_rows * 40_000 / width**2)))),
                "all rows": _difference(model, options, table.slice(0, count), provider),
            }
        if sweep:
            yield from _sweep(name, data, part, times, provider)


def _ways(
    model: OnnxModel, options: RuntimeOptions, table: pa.Table, times: int, provider: str
) -> dict[str, tuple[int, Callable[[], object]]]:
    session = open_session(model.normalised, options)
    matrix = np.stack([table.column(name).to_numpy() for name in COLUMNS], axis=1)
    parts = [matrix[start : start + BATCH] for start in range(0, len(matrix), BATCH)]
    binding = model.bind(COLUMNS)

    def ready(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(times):
                list(pool.map(lambda part: session.run(None, {"rows": part}), parts))

    def streamed() -> None:
        # As an engine does: the answers are used up as they come.
        for _ in _stream(model, options, binding, batches(table, times), provider):
            pass

    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "ready matrix, one thread": (times * len(matrix), lambda: ready(1)),
        "ready matrix, two threads": (times * len(matrix), lambda: ready(2)),
        "ours, Arrow to Arrow, batches": (times * len(matrix), streamed),
        "ours, Arrow to Arrow, table": (len(matrix), lambda: model.score(table, features=COLUMNS)),
    }
    if provider == CUDA:
        ways["resident on the device"] = _resident(session, parts[0])
    return ways


def _resident(session: ort.InferenceSession, part: Any) -> tuple[int, Callable[[], object]]:
    bound = session.io_binding()
    bound.bind_ortvalue_input("rows", ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(part), "cuda", 0))
    bound.bind_ortvalue_output(
        "score", ort.OrtValue.ortvalue_from_shape_and_type([len(part), 1], np.float32, "cuda", 0)
    )

    def work() -> None:
        for _ in range(100):
            session.run_with_iobinding(bound)

    return 100 * len(part), work


def _stream(
    model: OnnxModel, options: RuntimeOptions, binding: Any, given: Iterator[pa.RecordBatch], provider: str
) -> Iterator[Any]:
    if provider != CPU:
        return model.stream(given, binding, options=options)
    # On the CPU, by the code that a device runs.
    wanted = output_columns(model.signature)
    subject = model.subject([column.output for column in wanted], [len(COLUMNS)])
    return opened.column_scorer(subject, Packer(binding), wanted, options, rows=BATCH, check=lambda _: None).stream(
        given
    )


def _difference(model: OnnxModel, options: RuntimeOptions, table: pa.Table, provider: str) -> float:
    """The greatest of all rows, relative to the value or the root mean square where that is more."""
    found = [arrays[0] for _, arrays in _stream(model, options, model.bind(COLUMNS), batches(table, 1), provider)]
    got = pa.chunked_array(found).to_numpy().astype(np.float64)
    plain = ort.InferenceSession(model.normalised, providers=[CPU])
    matrix = np.stack([table.column(name).to_numpy() for name in COLUMNS], axis=1)
    truth = np.concatenate(
        [plain.run(None, {"rows": matrix[start : start + BATCH]})[0][:, 0] for start in range(0, len(matrix), BATCH)]
    ).astype(np.float64)
    return float((np.abs(got - truth) / np.maximum(np.abs(truth), np.sqrt(np.mean(truth**2)))).max())


def _sweep(name: str, data: bytes, table: pa.Table, times: int, provider: str) -> Iterator[dict[str, Any]]:
    """How many rows a call are best."""
    whole = table.combine_chunks()
    for rows in (BATCH // 2, BATCH, BATCH * 2, BATCH * 4):
        options = options_of(provider, tf32=False, batch_rows=rows)
        model = OnnxModel.from_bytes(data, options=options)
        binding = model.bind(COLUMNS)

        def work(model: Any = model, options: Any = options, binding: Any = binding) -> None:
            for _ in _stream(model, options, binding, batches(whole, times), provider):
                pass

        speed = rate(times * len(whole), work, turns=2)
        yield {"model": name, "way": f"ours, {rows:,} rows a call", "mrows": round(speed, 2)}


def classical_lines(provider: str, rows: int) -> Iterator[dict[str, Any]]:
    """Models that the CPU runs, with an accelerator asked for and without."""
    table = table_of(rows)
    for name, data in classical().items():
        for asked in dict.fromkeys((provider, CPU)):
            model = OnnxModel.from_bytes(data, options=options_of(asked, tf32=False))
            speed = rate(rows, lambda model=model: model.score(table, features=COLUMNS))
            yield {"model": name, "way": f"ours, asked for {asked}", "mrows": round(speed, 2)} | _where(model)


def _where(model: OnnxModel) -> dict[str, Any]:
    return dict(shown(model.sha256, model.operators, model.options)) if model.options.accelerators else {}


def main(
    provider: Annotated[str, typer.Option(help="The execution provider.")] = CUDA,
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 4_000_000,
    exact_rows: Annotated[int, typer.Option(help="Rows whose answers are compared.")] = 4_000_000,
    networks: Annotated[str, typer.Option(help="Networks, with commas between.")] = ",".join(NETWORKS),
    sweep: Annotated[bool, typer.Option(help="Also how many rows a call are best.")] = False,
    out: Annotated[Path | None, typer.Option(help="A file for the lines, as JSON.")] = None,
) -> None:
    """Print millions of rows per second, and how far the answers are the CPU's."""
    print(f"ONNX Runtime {ort.__version__}, {ort.get_device()}, {', '.join(ort.get_available_providers())}")
    lines = []
    for line in measure(networks.split(","), provider, rows=rows, exact_rows=exact_rows, sweep=sweep):
        lines.append(line)
        print(json.dumps(line), flush=True)
    for line in classical_lines(provider, min(rows, 1_000_000)):
        lines.append(line)
        print(json.dumps(line), flush=True)
    if out is not None:
        out.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    typer.run(main)
