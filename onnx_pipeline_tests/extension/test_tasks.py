"""Many tasks at once, from several threads of one process."""

import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import BIGINT, INT, REAL, WCHAR, Guid
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, Lent

THREADS = 6


@pytest.fixture(scope="module")
def quiet(library: Path) -> Extension:
    """The same library, without collecting what it writes: descriptors belong to all threads."""
    loaded = Extension(library, quiet=True)
    loaded.init()
    return loaded


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """`work(number)` in as many threads, all of which start together."""
    gate = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_tasks_of_one_query_score_their_own_rows(quiet: Extension) -> None:
    guid = uuid.uuid4()
    model = models.classifier("tree", "text")
    matrix = np.random.default_rng(9).normal(size=(THREADS, 5, 40, 6)).astype(np.float32)
    columns = [*(Column(f"c{place}", REAL) for place in range(6)), Column("key", BIGINT)]

    def task(number: int) -> list[Any]:
        with quiet.session(columns, model, "keys = key\nbatch = 16", guid=guid, task=number, tasks=THREADS) as session:
            found = []
            for chunk in range(5):
                keys = [number * 1000 + chunk * 100 + row for row in range(40)]
                found.append([column.values for column in session.execute([*matrix[number, chunk].T.tolist(), keys])])
            return found

    for number, chunks in enumerate(at_once(task)):
        for chunk, (keys, *predictions) in enumerate(chunks):
            assert keys == [number * 1000 + chunk * 100 + row for row in range(40)]
            assert predictions == models.columns_of(models.truth(model, {"X": matrix[number, chunk]}, batch=16))


def test_sessions_come_and_go_while_others_score_and_fail(quiet: Extension) -> None:
    text, numbers = models.echo({"x": models.STRING}), models.echo({"x": models.INT64})

    def task(number: int) -> int:
        failed = 0
        for turn in range(30):
            if (number + turn) % 3 == 0:
                with quiet.session([Column("x", WCHAR, size=100)], text) as session:
                    assert session.execute([[f"{number} {turn} é"]])[0].values == [f"{number} {turn} é"]
                continue
            with quiet.session([Column("x", INT)], numbers) as session:
                try:
                    session.execute([[1, None]])
                except ExtensionError:
                    failed += 1
                assert session.execute([[number, turn]])[0].values == [number, turn]
        return failed

    assert at_once(task) == [20] * THREADS


def test_sessions_may_be_cleaned_by_another_thread_than_their_own(quiet: Extension) -> None:
    model = models.matrix_sum(2)
    columns = [Column("a", REAL), Column("b", REAL)]
    opened = at_once(lambda number: quiet.session(columns, model))
    scores = at_once(lambda number: opened[number - 1].execute([[float(number)], [1.0]])[0].values)
    assert scores == [[number + 2.0] for number in range(THREADS)]
    at_once(lambda number: opened[-number].close())


def test_only_one_of_many_threads_initialises_a_session(quiet: Extension) -> None:
    guid = uuid.uuid4()

    def task(number: int) -> int:
        with Lent() as lent:
            return quiet.raw("InitSession")(
                Guid.from_buffer_copy(guid.bytes_le), 0, 1, *lent.text(b""), 0, 0, *lent.text(b"i"), *lent.text(b"o")
            )

    codes = at_once(task)
    quiet.call("CleanupSession", Guid.from_buffer_copy(guid.bytes_le), 0)
    assert codes.count(0) == 1


SLOW_RUNTIME = """
#include <unistd.h>
struct Base { const void* const* (*get)(unsigned); const char* (*version)(); };
extern "C" const Base* OrtGetApiBase() {
    static const Base base{[](unsigned) -> const void* const* { return nullptr; }, [] { return "1.1.0"; }};
    usleep(700000);
    return &base;
}
"""


def test_open_sessions_go_on_while_onnx_runtime_loads(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long stands in for a slow disk; the calls of another task do not wait for it."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++ to make a library with")
    source, slow = tmp_path / "slow.cpp", tmp_path / "libonnxruntime.so"
    source.write_text(SLOW_RUNTIME)
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(slow)], check=True)
    alone = tmp_path / "server"
    alone.mkdir()
    monkeypatch.setenv("ONNXRUNTIME_LIBRARY", str(slow))
    loaded = Extension(Path(shutil.copy(library, alone)), quiet=True)
    loaded.init()
    ended = []

    def load() -> None:
        with pytest.raises(ExtensionError):
            loaded.session([Column("x", REAL)], None)
        ended.append(time.monotonic())

    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(0.1)
    with pytest.raises(ExtensionError), Lent() as lent:
        loaded.call("InitColumn", Guid(), 0, 0, lent.put(b"x"), 1, REAL.code, 4, 0, 1, -1, -1)
    loaded.call("CleanupSession", Guid(), 0)
    answered = time.monotonic()
    loading.join()
    assert answered < ended[0]
