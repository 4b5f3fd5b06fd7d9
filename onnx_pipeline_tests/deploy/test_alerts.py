"""`deploy/alerts/alerts.py`: what arrives where people read it, at servers of the test's own."""

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import dagster as dg
import pytest
import trustme

ALERTS = Path(__file__).parents[2] / "deploy" / "alerts" / "alerts.py"
SECRET = "pa55-word-of-nobody"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALERT_EMAIL_FROM", "ALERT_SLACK_TOKEN", "ALERT_TEAMS_URL", "DAGSTER_URL"):
        monkeypatch.delenv(name, raising=False)


def module() -> ModuleType:
    spec = spec_from_file_location("alerts_example", ALERTS)
    assert spec is not None and spec.loader is not None
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def sensors() -> dict[str, dg.SensorDefinition]:
    return {sensor.name: sensor for sensor in module().alerts().sensors or ()}


@dg.asset(key=["visits", "pool_predictions"], partitions_def=dg.StaticPartitionsDefinition(["2026-01-01"]))
def failing() -> None:
    raise dg.Failure(description="DataError: partition 2026-01-01 holds 3 rows with a NULL key. Nothing was loaded.")


JOB = dg.define_asset_job("visits", selection="*")


def tell(sensor: dg.SensorDefinition) -> str:
    """Let a scoring fail, and its sensor hear of it; the run's id."""
    job = dg.Definitions(assets=[failing], jobs=[JOB]).resolve_job_def("visits")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, partition_key="2026-01-01", raise_on_error=False)
        event = next(event for event in done.all_events if event.is_run_failure)
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name, dagster_instance=instance, dagster_run=done.dagster_run, dagster_event=event
        ).for_run_failure()
        sensor(context)
        return done.run_id


class Received(list[tuple[str, dict[str, str], str]]):
    """Path, headers and body of each POST."""

    url: str


@pytest.fixture
def web() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, dict(self.headers), body))
            self.send_response(200 if "refused" not in self.path else 403)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        received.url = f"http://127.0.0.1:{server.server_port}"
        yield received
        server.shutdown()


def test_without_variables_there_is_no_sensor() -> None:
    assert sensors() == {}


def test_teams_gets_scoring_partition_what_the_step_said_and_a_link(
    web: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_TEAMS_URL", f"{web.url}/workflows/x?sig={SECRET}")
    monkeypatch.setenv("DAGSTER_URL", "https://dagster.example")
    found = sensors()
    assert found.keys() == {"teams_on_failure", "teams_on_staleness"}
    run_id = tell(found["teams_on_failure"])
    ((path, _, body),) = web
    assert path.endswith(SECRET)
    text = json.dumps(json.loads(body), ensure_ascii=False)
    assert "Scoring visits failed of 2026-01-01" in text
    assert "DataError: partition 2026-01-01 holds 3 rows with a NULL key." in text
    assert f"https://dagster.example/runs/{run_id}" in text
    assert SECRET not in body


@pytest.mark.parametrize("place", ["{url}/refused?sig=" + SECRET, "http://127.0.0.1:1/?sig=" + SECRET])
def test_an_error_of_teams_holds_no_signature(web: Received, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("ALERT_TEAMS_URL", place.format(url=web.url))
    with pytest.raises(Exception, match="check ALERT_TEAMS_URL") as raised:
        tell(sensors()["teams_on_failure"])
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def to(monkeypatch: pytest.MonkeyPatch, web: Received) -> None:
    """Slack's client goes to the test's server."""
    from slack_sdk.web.client import WebClient

    init = WebClient.__init__
    monkeypatch.setattr(
        WebClient, "__init__", lambda self, *given, **named: init(self, *given, **{**named, "base_url": web.url})
    )
    monkeypatch.setenv("ALERT_SLACK_TOKEN", SECRET)
    monkeypatch.setenv("ALERT_SLACK_CHANNEL", "#scoring")


def test_slack_gets_the_text_in_the_channel(web: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    to(monkeypatch, web)
    run_id = tell(sensors()["slack_on_failure"])
    ((path, headers, body),) = web
    assert path == "/chat.postMessage"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    said = json.loads(body) if body.startswith("{") else {name: values[0] for name, values in parse_qs(body).items()}
    assert said["channel"] == "#scoring"
    assert "Scoring visits failed of 2026-01-01" in json.dumps(said) and run_id in json.dumps(said)
    assert "DataError: partition 2026-01-01" in json.dumps(said)
    assert SECRET not in body


def evaluate(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    check = dg.AssetCheckSpec("freshness_check", asset=["visits", "pool_predictions"])

    @dg.multi_asset_check(specs=[check, dg.AssetCheckSpec("null_rate", asset=["visits", "pool_predictions"])])
    def checks():  # type: ignore[no-untyped-def]  # what an annotation says would be its outputs
        yield from ()

    repository = dg.Definitions(assets=[failing], asset_checks=[checks]).get_repository_def()
    with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context:
        return sensor.evaluate_tick(context).cursor


def record(instance: dg.DagsterInstance, check: str, *, passed: bool) -> None:
    """An evaluation of a check of `visits/pool_predictions`, as Dagster's freshness sensor reports it."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(["visits", "pool_predictions"]), check_name=check, passed=passed, metadata={},
            description="Partition 2026-01-01 is overdue.",
        )
    )  # fmt: skip


@pytest.mark.parametrize("way", ["slack", "teams"])
def test_a_late_partition_is_told_once_and_what_is_in_time_never(
    web: Received, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "slack":
        to(monkeypatch, web)
    else:
        monkeypatch.setenv("ALERT_TEAMS_URL", f"{web.url}/workflows/x?sig={SECRET}")
    sensor = sensors()[f"{way}_on_staleness"]
    with dg.DagsterInstance.ephemeral() as instance:
        record(instance, "freshness_check", passed=True)
        record(instance, "null_rate", passed=False)
        cursor = evaluate(sensor, instance, None)
        assert web == []
        record(instance, "freshness_check", passed=False)
        cursor = evaluate(sensor, instance, cursor)
        ((_, _, body),) = web
        said = unquote_plus(body)
        assert "visits/pool_predictions is late. Partition 2026-01-01 is overdue." in said
        assert SECRET not in said
        record(instance, "freshness_check", passed=False)
        cursor = evaluate(sensor, instance, cursor)
        assert len(web) == 1
        record(instance, "freshness_check", passed=True)
        cursor = evaluate(sensor, instance, cursor)
        record(instance, "freshness_check", passed=False)
        evaluate(sensor, instance, cursor)
        assert len(web) == 2


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """A mail server behind TLS; what it was given: user, recipients and message."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    told: dict[str, Any] = {"to": [], "message": "", "signed_in": 0}

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            say = lambda text: self.wfile.write(f"{text}\r\n".encode())  # noqa: E731
            say("220 mail")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    say("250-mail\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    told["signed_in"] += 1
                    say("235 welcome")
                elif verb == "DATA":
                    say("354 go on")
                    while (text := self.rfile.readline().decode()) != ".\r\n":
                        told["message"] += text
                    say("250 taken")
                elif verb == "QUIT":
                    say("221 bye")
                    return
                else:
                    if verb == "RCPT":
                        told["to"].append(line.partition("<")[2].rstrip(">"))
                    say("250 well")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

        def get_request(self) -> Any:
            connection, address = super().get_request()
            return tls.wrap_socket(connection, server_side=True), address

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ALERT_SMTP_HOST", "localhost")
        monkeypatch.setenv("ALERT_SMTP_PORT", str(server.server_address[1]))
        yield lambda: told
        server.shutdown()


def test_an_e_mail_goes_to_everybody_through_tls(mail: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_EMAIL_FROM", "scoring@example.org")
    monkeypatch.setenv("ALERT_EMAIL_PASSWORD", SECRET)
    monkeypatch.setenv("ALERT_EMAIL_TO", "a@example.org,b@example.org")
    run_id = tell(sensors()["email_on_failure"])
    told = mail()
    assert told["to"] == ["a@example.org", "b@example.org"]
    assert told["signed_in"] == 1
    assert "Subject: Scoring visits failed" in told["message"]
    assert "DataError: partition 2026-01-01 holds 3 rows with a NULL key." in told["message"]
    assert run_id in told["message"]
    assert SECRET not in told["message"]
