"""Companies' proxies, as HTTP_PROXY and HTTPS_PROXY name them: for plain requests, and as tunnels for TLS."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from onnx_pipeline.base.errors import ServiceError, ServiceUnavailableError
from onnx_pipeline_tests.engines.conftest import Run, StartServer, remote


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_plain_request_goes_by_way_of_the_proxy(
    start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server stands for the proxy: a request for a host that does not exist reaches it.
    server = start_server(own=True)
    monkeypatch.setenv("HTTP_PROXY", server.url.partition("/models")[0])
    run(remote("http://scoring.example/models/linear/score"))
    run.assert_all()
    assert {request["headers"]["host"] for request in server.requests} == {"scoring.example"}


def test_no_proxy_is_asked_for_the_hosts_that_are_exempt(
    start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    run(remote(server.url))  # this machine is exempt
    run.assert_all()
    with pytest.raises(ServiceUnavailableError, match="Connection refused"):
        run(remote("http://scoring.example/score", retries=0))


def test_a_host_that_nobody_knows_is_not_asked_for_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def denied(address: tuple[str, int], *_: object) -> socket.socket:
        asked.append(address[0])
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", denied)
    with pytest.raises(ServiceError, match="cannot be reached: no host has that name; correct it") as raised:
        run(remote("http://scoring.example/score"))
    assert not raised.value.transient
    assert set(asked) == {"scoring.example"}
    run.assert_nothing()


class Tunnels:
    """A proxy that knows CONNECT only, and leads every tunnel to one port."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.asked.append(head.decode())
            server = socket.create_connection(("127.0.0.1", self._to))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._ends += [client, server]
            for ends in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pump, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()


@pytest.fixture
def tls_server(start_server: StartServer, tmp_path: Path) -> int:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    path = tmp_path / "server.pem"
    authority.issue_cert("scoring.example").private_key_and_cert_chain_pem.write_to_path(str(path))
    return urlsplit(start_server(tls=str(path)).url).port or 0


@pytest.fixture
def tunnels(tls_server: int) -> Iterator[Tunnels]:
    made = Tunnels(tls_server)
    yield made
    made.close()


def test_a_request_over_tls_goes_through_a_tunnel_with_the_proxys_own_sign_in(
    tunnels: Tunnels, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORING_KEY", "of-the-service")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass%40word@127.0.0.1:{tunnels.port}")
    auth = {"kind": "bearer", "env": "SCORING_KEY"}
    engine = remote("https://scoring.example/models/linear/score", ca_file=str(tmp_path / "ca.pem"), auth=auth)
    run(engine)
    run.assert_all()
    assert 1 <= len(tunnels.asked) <= 4
    for asked in tunnels.asked:
        assert asked.startswith("CONNECT scoring.example:443 ")
        assert "Proxy-Authorization: Basic bWU6cGFzc0B3b3Jk" in asked  # me:pass@word
        assert "of-the-service" not in asked


def test_a_proxy_that_refuses_is_named_and_not_asked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            while True:
                try:
                    client, _ = proxy.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(65_536))
                    client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(ServiceError, match="407 Proxy Authentication Required.*HTTPS_PROXY") as raised:
            run(remote("https://scoring.example/score"))
        proxy.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert not raised.value.transient
    assert 1 <= len(asked) <= 4  # once for each request that was under way
    run.assert_nothing()
