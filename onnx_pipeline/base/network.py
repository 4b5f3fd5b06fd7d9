"""Which failures of a network pass by themselves, and which stay until somebody changes something.

Time mends a connection that was refused, cut or too slow, and a name server that does not answer (EAI_AGAIN): what
serves is starting, moving or busy. Time mends no name that the name server says does not exist (EAI_NONAME), since a
service that fails over or sleeps keeps its name, and no certificate that this machine does not trust. Those two fail
at once, for a wait only hides what is to be corrected.
"""

import re
import socket
import ssl
from collections.abc import Iterator

__all__ = ["host_is_unknown", "lasting_reason"]

_UNKNOWN = tuple(code for code in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)) if code is not None)
_UNKNOWN_TEXT = re.compile(
    # glibc, macOS, Windows: HTTP clients keep a resolver's text, and not always its number.
    r"Name or service not known|No address associated with hostname|nodename nor servname provided"
    r"|getaddrinfo failed"
)
_UNTRUSTED_TEXT = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed")
_HOST = re.compile(r"[A-Za-z0-9_.-]+")


def host_is_unknown(host: str) -> bool:
    """Whether a name server says that no machine has this name; False where it says nothing, or it is no plain name."""
    if not _HOST.fullmatch(host):
        return False
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return error.errno in _UNKNOWN
    except (OSError, UnicodeError):
        return False
    return False


def lasting_reason(error: BaseException) -> str | None:
    """What no later try can mend in a client's error, for people; None where another try may help."""
    for part in _parts(error):
        if isinstance(part, socket.gaierror) and part.errno in _UNKNOWN:
            return _no_such_host()
        if isinstance(part, ssl.SSLCertVerificationError):
            return _untrusted(part.verify_message)
    text = str(error)
    if _UNTRUSTED_TEXT.search(text):
        return _untrusted()
    return _no_such_host() if _UNKNOWN_TEXT.search(text) else None


def _no_such_host() -> str:
    return "no host has that name; correct it, or this machine's name servers"


def _untrusted(why: str = "") -> str:
    said = f" ({why})" if why else ""
    return (
        f"its certificate is not trusted{said}; add the authority that vouches for it to this machine's, or name a "
        "file of authorities in SSL_CERT_FILE and REQUESTS_CA_BUNDLE"
    )


def _parts(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was made from: Python's chain, and what azure-core and urllib3 keep beside it."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, BaseException) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [
            part.__cause__,
            part.__context__,
            getattr(part, "inner_exception", None),
            getattr(part, "reason", None),
            *part.args,
        ]
