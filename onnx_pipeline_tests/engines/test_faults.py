"""What a service or the way to it can do wrong: rows in the pool are all there once, or not at all."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from onnx_pipeline.base.errors import PredictionError, ServiceError, ServiceUnavailableError
from onnx_pipeline.engines import open_engine
from onnx_pipeline.engines.remote import client, service
from onnx_pipeline.models import RuntimeOptions
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.progress import overlapped
from onnx_pipeline_tests.engines.conftest import ROWS, CuttingProxy, Run, Server, StartServer, remote, spec_of


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FIRST_WAIT_SECONDS", 0.02)


def test_a_service_without_faults_gives_every_row_once_in_ten_requests(start_server: StartServer, run: Run) -> None:
    server = start_server()
    piece = run(remote(server.url))
    run.assert_all()
    assert (piece.engine["requests"], piece.engine["retries"]) == (10, 0)
    assert piece.engine["bytes_sent"] == sum(request["bytes"] for request in server.requests) > ROWS * 8
    assert (
        0
        < piece.engine["latency_p50_seconds"]
        <= piece.engine["latency_p99_seconds"]
        <= piece.engine["latency_max_seconds"]
    )


@pytest.mark.parametrize(
    "fault",
    ["status:500", "status:502", "status:503", "status:504", "status:408", "status:429", "cut", "cut the request"],
)
def test_what_passes_is_tried_again(fault: str, start_server: StartServer, run: Run) -> None:
    server = start_server(["none", fault, "none", fault, fault])
    piece = run(remote(server.url))
    run.assert_all()
    assert piece.engine["requests"] == 10
    assert piece.engine["retries"] == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("short", ["999 rows for 1,000 sent"]),
        ("long", ["1,001 rows for 1,000 sent"]),
        ("other column", ["columns points, not score"]),
        ("other type", ["'score' is string, not float"]),
        ("doubles", ["'score' is double, not float"]),
        ("garbage", ["is no Arrow stream"]),
        ("status:400", ["refused the rows: HTTP 400: as planned"]),
        ("status:404", ["has nothing there", "Correct `url`"]),
        ("status:409", ["serves another model"]),
        ("status:415", ["does not take `arrow`"]),
        ("status:422", ["HTTP 422"]),
        ("redirect:http://elsewhere.example/", ["redirects (HTTP 307)", "`url`"]),
        ("model:" + "0" * 64, ["scored with model 000", "was asked for"]),
    ],
)
def test_what_does_not_pass_stops_the_run_at_once(
    fault: str, words: list[str], start_server: StartServer, run: Run
) -> None:
    server = start_server(["none", "none", "none", fault])
    with pytest.raises(ServiceError) as raised:
        run(remote(server.url, in_flight=1))
    assert not raised.value.transient
    for word in words:
        assert word in str(raised.value)
    run.assert_nothing()
    assert len(server.requests) == 4, "it was asked again"


def test_a_failure_leaves_what_an_earlier_run_loaded(start_server: StartServer, run: Run) -> None:
    run(remote(start_server().url))
    with pytest.raises(ServiceError, match="999 rows for 1,000 sent"):
        run(remote(start_server(["none"] * 5, then="short").url))
    run.assert_all()


def test_nan_from_the_service_is_judged_by_the_pipelines_own_check(start_server: StartServer, run: Run) -> None:
    piece = run(remote(start_server(["nan"]).url), checks={"nan_predictions": "allow"})
    assert piece.missing == {"score": 1}
    assert run.sql("SELECT count(*), count(score) FROM scored") == [(ROWS, ROWS - 1)]


def test_a_service_that_is_down_for_good_is_given_up_after_its_tries(start_server: StartServer, run: Run) -> None:
    server = start_server(then="status:503")
    with pytest.raises(ServiceUnavailableError, match=r"in 3 tries, the last time: HTTP 503: as planned") as raised:
        run(remote(server.url, retries=2, in_flight=1))
    assert raised.value.transient
    assert len(server.requests) == 3
    run.assert_nothing()


def test_nobody_listens(run: Run) -> None:
    with pytest.raises(ServiceUnavailableError, match="Connection refused"):
        run(remote("http://127.0.0.1:9/score", retries=1))
    run.assert_nothing()


def test_a_service_killed_in_mid_request_leaves_nothing_and_its_successor_completes(
    start_server: StartServer, run: Run
) -> None:
    server = start_server(["none"] * 3 + ["die"], own=True)
    with pytest.raises(ServiceUnavailableError):
        run(remote(server.url, retries=2))
    server.process.wait()
    run.assert_nothing()
    run(remote(start_server().url))
    run.assert_all()


def test_a_service_killed_and_started_again_on_its_port_is_waited_for(
    start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_FIRST_WAIT_SECONDS", 0.5)
    first, second = start_server(["none"] * 3 + ["die"], own=True), start_server(own=True)
    proxy = CuttingProxy(urlsplit(first.url).port or 0, [])

    def take_over() -> None:
        first.process.wait()
        proxy._to = urlsplit(second.url).port or 0

    # Until it takes over, the way leads to a port where nobody listens.
    other = threading.Thread(target=take_over)
    other.start()
    try:
        piece = run(remote(f"http://127.0.0.1:{proxy.port}/models/linear/score", retries=8))
    finally:
        other.join()
        proxy.close()
    run.assert_all()
    assert piece.engine["retries"] >= 1


def test_a_proxy_that_cuts_connections_costs_tries_and_no_rows(start_server: StartServer, run: Run) -> None:
    url = start_server().url
    proxy = CuttingProxy(urlsplit(url).port or 0, [0, 2000, 5000, 8000])
    try:
        piece = run(remote(f"http://127.0.0.1:{proxy.port}{urlsplit(url).path}"))
    finally:
        proxy.close()
    run.assert_all()
    assert proxy.cut == 4
    assert piece.engine["retries"] >= 4


@pytest.mark.parametrize("fault", ["silent:30", "drip:30", "slow:30"])
def test_a_request_ends_at_its_deadline_whatever_trickles_in(fault: str, start_server: StartServer, run: Run) -> None:
    server = start_server([fault])
    piece = run(remote(server.url, request_seconds=1))
    run.assert_all()
    assert piece.engine["retries"] == 1
    assert "no whole answer within 1 s" in piece.engine["retried_after"]


def test_a_slow_service_within_its_time_is_waited_for(start_server: StartServer, run: Run) -> None:
    piece = run(remote(start_server(then="slow:0.2").url))
    run.assert_all()
    assert piece.engine["retries"] == 0


def test_several_requests_are_under_way_and_rows_keep_their_order(start_server: StartServer, run: Run) -> None:
    # The first answer comes last.
    server = start_server(["slow:0.5"], then="slow:0.05")
    run(remote(server.url, in_flight=3))
    run.assert_all()
    assert max(request["beside"] for request in server.requests) == 3
    staged = run.sql("SELECT id FROM scored ORDER BY rowid")
    assert staged == [(index,) for index in range(ROWS)]


def test_a_storm_of_429_is_waited_out_as_long_as_the_service_asks(start_server: StartServer, run: Run) -> None:
    server = start_server(["status:429 1"] * 4)
    run(remote(server.url, in_flight=4))
    run.assert_all()
    moments = [request["at"] for request in server.requests]
    last_refusal = max(request["at"] for request in server.requests if request["fault"] != "none")
    # What was under way when the refusal came is not called back.
    early = [moment - last_refusal for moment in moments if 0.3 < moment - last_refusal < 0.95]
    assert not early, "it was asked again too early"


def test_retry_after_may_be_a_date(start_server: StartServer, run: Run) -> None:
    moment = time.time() + 3
    server = start_server([f"status:503 {formatdate(moment, usegmt=True)}"])
    run(remote(server.url, in_flight=1))
    run.assert_all()
    assert time.time() >= int(moment)


def test_a_service_that_wants_an_hour_is_left_alone_and_the_run_ends(start_server: StartServer, run: Run) -> None:
    server = start_server(then="status:429 3600")
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError, match="asked to be left alone for another 3,"):
            run(remote(server.url, in_flight=1))
    assert len(server.requests) == 1
    run.assert_nothing()


def test_the_breaker_opens_after_failures_in_a_row_and_one_request_tries_the_service(
    start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server([*["status:500"] * 4, "slow:0.5"])
    engine = remote(server.url, retries=20, in_flight=1, breaker_failures=4, breaker_seconds=60)
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError, match="failed 4 times in a row, so nothing is sent to it"):
            run(engine)
    assert len(server.requests) == 4, "an open breaker sends nothing"
    run.assert_nothing()

    known = service.service_of(server.url)
    monkeypatch.setattr(known, "_clock", lambda: time.monotonic() + 61)
    run({**engine, "in_flight": 4})
    run.assert_all()
    # The three that waited come together, and the first of them finds nobody there.
    assert server.requests[4]["fault"] == "slow:0.5"
    assert min(request["beside"] for request in server.requests[5:8]) == 1, "more than one request tried it"


def test_requests_too_large_for_the_service_are_halved(start_server: StartServer, run: Run) -> None:
    server = start_server(most_bytes=3000)
    run(remote(server.url))
    run.assert_all()
    taken = [request["bytes"] for request in server.requests if request["bytes"] <= 3000]
    assert len(taken) > 10


def test_no_body_is_larger_than_batch_bytes(start_server: StartServer, run: Run) -> None:
    server = start_server()
    run(remote(server.url, batch_bytes=2000))
    run.assert_all()
    assert max(request["bytes"] for request in server.requests) <= 2000


def test_a_certificate_that_nobody_vouches_for_is_refused_and_nothing_is_sent(
    start_server: StartServer, run: Run, tmp_path: Path
) -> None:
    server = start_server(tls=_certificate(trustme.CA(), tmp_path, "localhost"))
    with pytest.raises(ServiceError, match=r"cannot be trusted: unable to get local issuer certificate.*`ca_file`"):
        run(remote(server.url))
    assert server.requests == []
    run.assert_nothing()


def test_a_certificate_of_another_host_is_refused(start_server: StartServer, run: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = start_server(tls=_certificate(authority, tmp_path, "elsewhere.example"))
    with pytest.raises(ServiceError, match="cannot be trusted: Hostname mismatch"):
        run(remote(server.url, ca_file=str(tmp_path / "ca.pem")))
    run.assert_nothing()


def test_a_private_authority_named_in_the_spec_is_trusted(start_server: StartServer, run: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = start_server(tls=_certificate(authority, tmp_path, "localhost"))
    run(remote(server.url, ca_file=str(tmp_path / "ca.pem")))
    run.assert_all()


def test_https_to_a_port_that_speaks_http_says_so(start_server: StartServer, run: Run) -> None:
    url = start_server().url.replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(ServiceError, match="cannot be trusted: WRONG_VERSION_NUMBER"):
        run(remote(url, retries=0))
    run.assert_nothing()


def _certificate(authority: trustme.CA, folder: Path, host: str) -> str:
    path = folder / "server.pem"
    authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.timeout(60)
def test_a_run_that_is_interrupted_gives_up_its_requests_at_once(start_server: StartServer, run: Run) -> None:
    # Nothing would come for 10 minutes, and the test may take one.
    server = start_server(then="silent:600")

    def interrupt() -> None:
        while len(server.requests) < 4:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        run(remote(server.url, request_seconds=600))
    other.join()
    run.assert_nothing()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("scoring-request")]


@pytest.mark.timeout(60)
def test_a_failure_of_one_request_gives_up_the_others_at_once(start_server: StartServer, run: Run) -> None:
    server = start_server(["silent:600", "silent:600", "short"], then="silent:600")
    with pytest.raises(ServiceError, match="999 rows for 1,000 sent"):
        run(remote(server.url, request_seconds=600))
    run.assert_nothing()


def test_a_slice_that_is_given_up_leaves_the_next_one_to_the_same_engine(start_server: StartServer, run: Run) -> None:
    spec = spec_of(remote(start_server().url, in_flight=2))
    plan = ScoringPlan(spec, run.model, run.pool.source(spec))
    (key,) = plan.partitioning.keys()
    list(extract(plan, run.pool, run.staging, [key], say=print))
    with closing(open_engine(spec.engine, plan.task, RuntimeOptions(), print)) as engine:
        for _ in range(3):
            with run.staging.open(spec.scoring, "features", key) as (_, reader):
                given_up = overlapped(engine.score(reader), cancel=engine.cancel)
                next(given_up)
                given_up.close()
        piece = predict(plan, engine, run.staging, key, say=print)
    assert (piece.rows, piece.engine["requests"], piece.engine["retries"]) == (ROWS, 10, 0)
    list(load(plan, run.pool, run.staging, [key], run_id="run"))
    run.assert_all()


def test_a_model_that_changes_while_a_slice_is_scored_stops_it(start_server: StartServer, run: Run) -> None:
    sha256 = run.model.sha256
    server = start_server([f"model:{sha256}"] * 4)
    with pytest.raises(ServiceError, match="changed its model while a partition was scored"):
        run(remote(server.url, in_flight=1))
    run.assert_nothing()


def test_our_own_service_killed_in_mid_run_and_started_again(
    start_service: Callable[[Path], Server], run: Run, tmp_path: Path, model_file: Path
) -> None:
    first = start_service(model_file.parent)
    url = f"{first.url}/models/linear/score"
    run(remote(url))
    run.assert_all()
    threading.Timer(0.05, first.kill).start()
    try:
        run(remote(url, batch_rows=20, retries=1))
    except ServiceUnavailableError:
        run.assert_all()  # of the run before
    run(remote(f"{start_service(model_file.parent).url}/models/linear/score"))
    run.assert_all()


def test_nan_stops_the_load_unless_the_spec_allows_it(start_server: StartServer, run: Run) -> None:
    server = start_server(["nan"])
    with pytest.raises(PredictionError, match="score in 1 of 10,000 rows"):
        run(remote(server.url))
    run.assert_nothing()
