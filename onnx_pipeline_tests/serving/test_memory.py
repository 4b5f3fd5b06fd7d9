"""What the service holds is counted before it is there, and stays within its limit."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
import requests

from onnx_pipeline.sample import MODELS
from onnx_pipeline.serving.memory import Memory, needed
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline_tests.serving.conftest import LOS, features_of, records_of, serving

MB = 2**20


def run(work: Callable[[], object]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


# Of a process of its own, whose memory nothing else takes or gives back: resident before, and at its highest.
_PARSE = """
import sys, orjson
def resident(line):
    with open("/proc/self/status") as status:
        return next(1024 * int(found.split()[1]) for found in status if found.startswith(line))
body = f"[{','.join([sys.argv[1]] * 100_000)}]".encode()
with open("/proc/self/clear_refs", "w") as highest:
    highest.write("5")
before = resident("VmRSS")
held = orjson.loads(body)
print(len(held), resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1.5, "b": "x"}', "{}", "[]", "[1.5, 2.5]", '["word"]', '[null, true, "a"]', '{"a": {}}', "12345678901",
        '{"alpha": "word one", "b": {"x": []}}',
    ],
)  # fmt: skip
def test_what_json_becomes_is_never_more_than_is_counted(text: str) -> None:
    body = f"[{','.join([text] * 100_000)}]".encode()
    parsed = subprocess.run([sys.executable, "-c", _PARSE, text], capture_output=True, check=True)
    rows, peak = map(int, parsed.stdout.split())
    assert rows == 100_000
    assert peak <= needed(body, is_json=True, is_binary=False) <= 3 * peak


def test_arrays_count_by_their_length() -> None:
    assert needed(bytes(1000), is_json=False, is_binary=True) == 2000


def test_bodies_wait_until_the_largest_could_be_read_and_small_ones_pass_by() -> None:
    memory = Memory(150 * MB, most_waiting=2)

    async def work() -> None:
        await memory.admit(10 * MB, seconds=1)
        second = asyncio.ensure_future(memory.admit(11 * MB, seconds=5))
        third = asyncio.ensure_future(memory.admit(MB, seconds=5))
        await asyncio.sleep(0)
        assert (memory.bodies, second.done(), third.done()) == (10 * MB, False, False)
        await memory.admit(1000, seconds=1)
        with pytest.raises(Refusal, match="holds as much of other requests as it may"):
            await memory.admit(MB, seconds=1)
        memory.release(10 * MB)
        await asyncio.wait_for(asyncio.gather(second, third), 5)
        assert memory.bodies == 12 * MB + 1000
        for size in (11 * MB, MB, 1000):
            memory.release(size)
        assert memory.bodies == 0

    run(work)


def test_who_waits_too_long_or_goes_away_leaves_nothing_behind() -> None:
    memory = Memory(20 * MB, most_waiting=2)

    async def work() -> None:
        await memory.admit(15 * MB, seconds=1)
        with pytest.raises(Refusal) as refused:
            await memory.admit(10 * MB, seconds=0.01)
        assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "busy", 1)
        gone = asyncio.ensure_future(memory.admit(10 * MB, seconds=5))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        memory.release(15 * MB)
        await memory.admit(20 * MB, seconds=0.01)

    run(work)


def test_values_wait_for_each_other_within_the_limit() -> None:
    body = b"[" + b"1," * 200_000 + b"1]"
    need = needed(body, is_json=True, is_binary=False)
    memory = Memory(2 * need - 1, most_waiting=1)
    most, ready = [], threading.Barrier(4)

    def work() -> None:
        ready.wait()
        with memory.reading(body, is_json=True, is_binary=False, go_on=lambda: None):
            most.append(memory.values)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [need] * 4
    assert memory.values == 0


def test_what_could_never_be_read_is_refused_and_what_nobody_waits_for_ends() -> None:
    body = b"[" + b"1," * 200_000 + b"1]"
    need = needed(body, is_json=True, is_binary=False)
    options = {"is_json": True, "is_binary": False}

    @contextmanager
    def reading(memory: Memory, go_on: Callable[[], None]) -> Iterator[None]:
        with memory.reading(body, go_on=go_on, **options):
            yield

    small = Memory(need, most_waiting=1)
    with pytest.raises(Refusal, match=r"take about 13 MB once they are read, and the service holds 13 MB at most"):
        with reading(small, lambda: None):
            pass

    def stopped() -> None:
        raise Refusal(503, "timed_out", "stopped")

    memory = Memory(2 * need - 1, most_waiting=1)
    with reading(memory, lambda: None), pytest.raises(Refusal, match="stopped"):
        with reading(memory, stopped):
            pass
    assert memory.values == 0


def test_a_request_beyond_the_limit_is_413_and_the_next_one_is_answered(open_service, encounters) -> None:  # type: ignore[no-untyped-def]
    service = open_service(MODELS, max_held_bytes=2 * MB)
    rows = records_of(features_of(MODELS / f"{LOS}.onnx", encounters))
    large = service.score(LOS, rows * 5)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    assert "send the rows in several requests, or as Arrow" in large.json()["error"]["message"]
    assert service.score(LOS, rows).status_code == 200


@pytest.mark.nightly
def test_many_large_requests_at_once_stay_within_the_limit() -> None:
    limit = 128 * MB
    row = json.dumps(dict.fromkeys(_columns(), 12.37))
    body = f"[{','.join([row] * (13 * MB // len(row)))}]".encode()
    environment = {"ONNX_PIPELINE_SERVE_MAX_HELD_BYTES": str(limit), "ONNX_PIPELINE_SERVE_THREADS": "8"}
    with serving("--models", str(MODELS / f"{LOS}.onnx"), environment=environment) as (url, process):
        watched = psutil.Process(process.process.pid)
        base, peak, done = watched.memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                peak[0] = max(peak[0], watched.memory_info().rss)

        def send() -> None:
            answer = requests.post(
                f"{url}/models/{LOS}/score", data=body, headers={"content-type": "application/json"}, timeout=300
            )
            answers.append(answer.status_code)

        answers: list[int] = []
        threads = [threading.Thread(target=watch), *(threading.Thread(target=send) for _ in range(12))]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        done.set()
        threads[0].join()
    assert answers == [200] * 12
    assert base < peak[0] < base + limit


def _columns() -> list[str]:
    import onnx

    model = onnx.load(MODELS / f"{LOS}.onnx")
    named = {entry.key: entry.value for entry in model.metadata_props}
    return list(json.loads(named["feature_names"]))
