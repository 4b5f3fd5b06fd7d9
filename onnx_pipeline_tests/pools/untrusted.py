"""A server that speaks TDS as far as the TLS handshake, by a certificate that is handed to it: MS-TDS 2.2.6.4, 3.2.5.2.

Both drivers make TLS inside of packets of TDS, so no server of plain TLS can stand for it.
"""

import contextlib
import socket
import ssl
import struct
import threading

__all__ = ["HalfServer"]

_RESPONSE, _PRELOGIN = 4, 18
_VERSION, _ENCRYPTION = 0, 1


class HalfServer:
    """Listens on 127.0.0.1 until `close`; counts who came."""

    def __init__(self, certificate: str, *, encrypts: bool = True) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._encrypts = encrypts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.came = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.came += 1
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        # The driver hangs up in the middle: that is what it is here for.
        with client, contextlib.suppress(OSError, ssl.SSLError, EOFError):
            _read(client)
            encryption = 1 if self._encrypts else 2
            options = struct.pack(">BHHBHHB", _VERSION, 11, 6, _ENCRYPTION, 17, 1, 0xFF)
            client.sendall(_packet(_RESPONSE, options + bytes([16, 0, 0, 0, 0, 0, encryption])))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self._tls.wrap_bio(incoming, outgoing, server_side=True)
            while not _shaken(tls):
                if outgoing.pending:
                    client.sendall(_packet(_PRELOGIN, outgoing.read()))
                incoming.write(_read(client))


def _shaken(tls: ssl.SSLObject) -> bool:
    """Whether the handshake is done; False where it waits for the client."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _packet(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBHHBB", kind, 1, 8 + len(data), 0, 1, 0) + data


def _read(client: socket.socket) -> bytes:
    head = _exactly(client, 8)
    return _exactly(client, struct.unpack(">H", head[2:4])[0] - 8)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
