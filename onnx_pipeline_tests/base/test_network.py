"""Which failures of a network are told at once."""

import socket
import ssl

import pytest

from onnx_pipeline.base.network import host_is_unknown, lasting_reason


def wrapped(cause, text="cannot connect"):
    """An error as a client's layers leave it: the cause is two steps down."""
    try:
        try:
            raise cause
        except OSError as error:
            raise ConnectionError("inner") from error
    except ConnectionError as error:
        outer = RuntimeError(text)
        outer.inner_exception = error
        return outer


def untrusted():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (wrapped(socket.gaierror(socket.EAI_NONAME, "unknown")), "no host has that name"),
        (wrapped(untrusted()), r"not trusted \(self-signed certificate\).*SSL_CERT_FILE"),
        (RuntimeError("Failed to resolve 'x' ([Errno -2] Name or service not known)"), "no host has that name"),
        (RuntimeError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "not trusted"),
    ],
)
def test_unknown_names_and_untrusted_certificates_stay(error, says):
    reason = lasting_reason(error)
    assert reason is not None
    with pytest.raises(ValueError, match=says):
        raise ValueError(reason)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
        wrapped(ConnectionRefusedError(111, "Connection refused")),
        wrapped(TimeoutError("timed out")),
        wrapped(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")),
    ],
)
def test_all_else_may_pass(error):
    assert lasting_reason(error) is None


@pytest.mark.parametrize(("code", "unknown"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
def test_a_name_is_unknown_only_where_a_name_server_says_so(monkeypatch, code, unknown):
    def refused(*_, **__):
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert host_is_unknown("db.example.invalid") is unknown
    # What is no plain name is the driver's to understand.
    assert host_is_unknown("tcp:db.example.invalid") is False


def test_this_machine_is_known():
    assert not host_is_unknown("localhost")
    assert not host_is_unknown("127.0.0.1")
