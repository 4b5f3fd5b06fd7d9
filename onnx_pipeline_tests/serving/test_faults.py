"""A real server process, and clients that do what clients do: vanish, dawdle, flood, send rubbish."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
import requests

from onnx_pipeline_tests.serving.conftest import line_model, serving

SLOW = 2
"""Multiplications by a row of a model that takes a second or so for `MANY` of them."""
MANY = 100


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "line.onnx").write_bytes(line_model(2))
    return tmp_path / "models"


def connect(url):
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def head(length, path="/models/line/score", **more):
    headers = {"host": "x", "content-type": "application/json", "content-length": str(length), **more}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answers(url, value=3):
    answer = requests.post(f"{url}/models/line/score", json=[{"a": value}], timeout=60)
    return answer.status_code == 200 and answer.json() == [{"y": 2 * value}]


def received(connection):
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_a_client_that_dies_in_the_middle_of_its_request_leaves_no_trace_but_a_log_line(folder):
    with serving("--models", str(folder)) as (url, process):
        with connect(url) as connection:
            connection.sendall(head(1000) + b'[{"a": 1}, ')
        assert process.event("request")["code"] == "client_gone"
        assert answers(url)


def test_a_client_that_leaves_while_its_rows_are_scored_stops_the_scoring_between_batches(tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2, cost=SLOW))
    with serving("--models", str(tmp_path), "--threads", "1") as (url, process):
        body = json.dumps([{"a": 1}] * MANY).encode()
        with connect(url) as connection:
            connection.sendall(head(len(body)) + body)
            time.sleep(0.2)
        # The line comes when the client is missed, or when the answer finds nobody.
        assert process.event("request")["model"] == "line"
        assert answers(url)


def test_a_body_over_the_limit_is_413_whether_its_length_is_said_or_not(folder):
    with serving("--models", str(folder), "--max-body-bytes", "100000") as (url, _):
        large = b"[" + b" " * 150_000 + b"]"
        said = requests.post(
            f"{url}/models/line/score", data=large, headers={"content-type": "application/json"}, timeout=60
        )
        chunked = requests.post(
            f"{url}/models/line/score",
            data=(large[start : start + 10_000] for start in range(0, len(large), 10_000)),
            headers={"content-type": "application/json"},
            timeout=60,
        )
        for answer in (said, chunked):
            assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"
            assert "100,000 bytes" in answer.json()["error"]["message"] and answer.headers["connection"] == "close"
        assert answers(url)


def test_a_length_beyond_all_bounds_is_413_without_waiting_for_it(folder):
    with serving("--models", str(folder)) as (url, _):
        with connect(url) as connection:
            connection.sendall(head(10**15))
            assert b" 413 " in received(connection)
        assert answers(url)


def test_a_slow_client_gets_408_and_holds_nobody_up(folder):
    environment = {"ONNX_PIPELINE_SERVE_RECEIVE_SECONDS": "1", "ONNX_PIPELINE_SERVE_THREADS": "1"}
    with serving("--models", str(folder), environment=environment) as (url, _):
        slow = [connect(url) for _ in range(20)]
        for connection in slow:
            connection.sendall(head(1000) + b"[")
        assert answers(url)
        for connection in slow:
            text = received(connection)
            assert b" 408 " in text and b"body_too_slow" in text
            connection.close()
        assert answers(url)


def test_a_client_that_does_not_take_its_answer_is_cut_off(folder):
    # A long name makes an answer of 20 MB, more than the kernel keeps for a connection.
    (folder / "wordy.onnx").write_bytes(line_model(2, output="y" * 1000))
    environment = {"ONNX_PIPELINE_SERVE_SEND_SECONDS": "1"}
    with serving("--models", str(folder), models=2, environment=environment) as (url, process):
        body = json.dumps([{"a": 1.5}] * 20_000).encode()
        with connect(url) as connection:
            connection.sendall(head(len(body), "/models/wordy/score") + body)
            assert process.event("request")["code"] == "client_too_slow"
        assert answers(url)


def test_heads_without_a_body_and_interim_answers_come_at_once(folder):
    with serving("--models", str(folder)) as (url, _):
        with connect(url) as connection:
            connection.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            body = b'[{"a": 3}]'
            connection.sendall(head(len(body), expect="100-continue"))
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'[{"y":6.0}]')


def test_requests_that_come_together_are_answered_in_their_order(folder):
    with serving("--models", str(folder)) as (url, _), connect(url) as connection:
        bodies = [b'[{"a": %d}]' % value for value in range(20)]
        connection.sendall(b"".join(head(len(body)) + body for body in bodies))
        connection.sendall(head(2, connection="close") + b"[]")
        text = received(connection)
        places = [text.index(b'[{"y":%d.0}]' % (2 * value)) for value in range(20)]
        assert places == sorted(places) and text.endswith(b"[]")


def test_rubbish_instead_of_http_and_endless_headers_are_400(folder):
    with serving("--models", str(folder)) as (url, _):
        for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 20, b"GET / HTTP/9.9\r\n\r\n", b"hello\r\n\r\n"):
            with connect(url) as connection:
                connection.sendall(rubbish)
                connection.shutdown(socket.SHUT_WR)
                assert received(connection).startswith(b"HTTP/1.1 400 ")
        with connect(url) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            try:
                for number in range(5000):
                    connection.sendall(f"x-{number}: {'y' * 100}\r\n".encode())
            except OSError:
                pass
            assert received(connection)[:13] in (b"HTTP/1.1 400 ", b"")
        assert answers(url)


def test_more_requests_than_threads_and_queue_hold_are_429_and_the_others_are_scored(tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2, cost=SLOW))
    with serving("--models", str(tmp_path), "--threads", "1", "--queue", "2") as (url, _):

        def ask(value):
            return requests.post(f"{url}/models/line/score", json=[{"a": value}] * MANY, timeout=120)

        with ThreadPoolExecutor(12) as clients:
            found = list(clients.map(ask, range(12)))
            # The event loop is free meanwhile.
            assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
        statuses = [answer.status_code for answer in found]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 3
        for value, answer in enumerate(found):
            if answer.status_code == 200:
                assert answer.json() == [{"y": 2 * value}] * MANY
            else:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["code"] == "too_many_requests"
        assert answers(url)


def test_scoring_that_takes_too_long_is_503_and_the_thread_comes_back(tmp_path):
    (tmp_path / "slow.onnx").write_bytes(line_model(2, cost=SLOW * 3))
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    environment = {"ONNX_PIPELINE_SERVE_SCORE_SECONDS": "0.3", "ONNX_PIPELINE_SERVE_THREADS": "2"}
    with serving("--models", str(tmp_path), models=2, environment=environment) as (url, _):
        answer = requests.post(f"{url}/models/slow/score", json=[{"a": 1}] * MANY, timeout=60)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "timed_out"
        assert "retry-after" in answer.headers
        assert answers(url)


def test_a_stopped_service_finishes_what_it_holds_and_takes_nothing_new(tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2, cost=SLOW))
    with serving("--models", str(tmp_path), "--threads", "1") as (url, process):
        idle = httpx.Client()
        idle.get(f"{url}/healthz")
        with ThreadPoolExecutor(3) as clients:
            asked = [
                clients.submit(requests.post, f"{url}/models/line/score", json=[{"a": value}] * MANY, timeout=120)
                for value in range(3)
            ]
            deadline = time.monotonic() + 60
            while "onnx_serving_open_requests 4.0" not in requests.get(f"{url}/metrics", timeout=60).text:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.terminate()
            for value, answer in enumerate(asked):
                assert answer.result().json() == [{"y": 2 * value}] * MANY
        assert process.process.wait(60) == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=5)
        idle.close()
    assert "Traceback" not in process.rest()


def test_a_model_replaced_under_load_fails_no_request_and_every_answer_is_of_the_version_that_it_names(folder):
    import hashlib

    versions = {hashlib.sha256(line_model(weight)).hexdigest(): weight for weight in range(1, 8)}
    with serving("--models", str(folder), "--reload-seconds", "0.1") as (url, process):
        done = threading.Event()
        failures, seen = [], set()

        def hammer():
            with requests.Session() as session:
                while not done.is_set():
                    answer = session.post(f"{url}/models/line/score", json=[{"a": 1}] * 20, timeout=60)
                    weight = versions.get(answer.headers.get("x-onnx-model-sha256"))
                    seen.add(weight)
                    if answer.status_code != 200 or answer.json() != [{"y": weight}] * 20:
                        failures.append((answer.status_code, weight, answer.text))

        hammers = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in hammers:
            thread.start()
        for sha256, weight in versions.items():
            fresh = folder / "fresh"
            fresh.write_bytes(line_model(weight))
            fresh.rename(folder / "line.onnx")
            if weight != 2:  # the one that it began with
                process.event("model_loaded", sha256=sha256)
            time.sleep(0.2)
        done.set()
        for thread in hammers:
            thread.join()
        assert not failures
        assert len(seen) >= 5


def test_a_corrupt_file_beside_good_ones_is_logged_and_the_good_ones_are_served(folder):
    (folder / "corrupt.onnx").write_bytes(line_model(3)[:100])
    with serving("--models", str(folder)) as (url, process):
        assert requests.get(f"{url}/readyz", timeout=60).json()["models"] == {"corrupt": "failed", "line": "ready"}
        assert answers(url)
        (failure,) = [line for line in process.log if line["event"] == "model_not_loaded"]
        assert failure["model"] == "corrupt" and failure["error"] == "InvalidModelError"
