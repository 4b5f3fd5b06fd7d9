"""Why a connection to a server cannot be made, today or tomorrow, and what to change.

The drivers call all of it SQLSTATE 08001, as they do a server that is just starting, so the text tells them apart. The
texts are those of Microsoft's ODBC driver 18, which pyodbc and mssql-python both use (OpenSSL's on Linux and macOS,
Schannel's on Windows), and of the bulk copy in mssql-python, which has a TLS of its own.
"""

import os
import re
from dataclasses import dataclass

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.base.network import host_is_unknown
from onnx_pipeline.pools.tsql.connections import Address

__all__ = ["check_host", "remedy"]


@dataclass(frozen=True)
class _Cause:
    text: re.Pattern[str]
    remedy: str


_CAUSES = (
    _Cause(
        re.compile(
            r"certificate verify failed|certificate chain was issued by an authority that is not trusted"
            r"|target principal name is incorrect|certificate's CN name does not match|certificate has expired"
            r"|self[- ]signed certificate",
            re.IGNORECASE,
        ),
        "the server's certificate is not trusted, so nothing was sent. Let this machine trust the authority that "
        "signed it (Debian and Ubuntu: its PEM file into /usr/local/share/ca-certificates, then "
        "`update-ca-certificates`; or name a file of authorities in SSL_CERT_FILE), and name the server in the pool's "
        "URL as the certificate does. Only where nobody else can be in between, add `trust_server_certificate=yes` to "
        "the pool's URL: the connection is then encrypted, and whose server it is stays unproven",
    ),
    _Cause(
        re.compile(r"Encryption not supported", re.IGNORECASE),
        "the server speaks no TLS, so nothing was sent. Set a certificate up on the server, or, where nobody else can "
        "listen, add `encrypt=no` to the pool's URL",
    ),
    _Cause(
        re.compile(
            r"unsupported protocol|no protocols available|wrong version number|(?:dh|ee|ca) key too (?:small|weak)"
            r"|handshake failure|no shared cipher|legacy sigalg disallowed",
            re.IGNORECASE,
        ),
        "the server and this machine's OpenSSL have no version or cipher of TLS in common. Update the server, which "
        "wants TLS 1.2 or later, or allow what it speaks in this machine's openssl.cnf",
    ),
    _Cause(
        # Schannel's side of the world. On Linux the driver says 0x2AF9 also where no name server answers, which may
        # pass: there `check_host` has asked before.
        re.compile(r"No such host is known", re.IGNORECASE),
        "no host has the name in the pool's URL. Correct it, or this machine's name servers",
    ),
)


def remedy(text: str) -> str | None:
    """What a driver's message says that another try would meet again, and what to do; None where it may pass."""
    return next((cause.remedy for cause in _CAUSES if cause.text.search(text)), None)


def check_host(address: Address) -> None:
    """Raise PoolError where no host has the server's name: a driver would try for as long as signing in may take.

    pyodbc then says no more than `Login timeout expired`. Windows is left out, where a name may be an alias that the
    driver alone knows.
    """
    if os.name != "nt" and host_is_unknown(address.server):
        raise PoolError(
            f"{address.display_name}: no host has the name {address.server!r}. Correct it in the pool's URL, or this "
            "machine's name servers"
        )
