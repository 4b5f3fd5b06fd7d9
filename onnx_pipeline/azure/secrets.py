"""Signatures of shared access, which travel in URLs and so reach messages and logs that quote a URL."""

import logging
import re
from urllib.parse import unquote

__all__ = ["redact_everywhere", "secret_in", "without_signatures"]

_KEYWORD = re.compile(
    r"(?:^|[?&;#,\s])(?P<name>sig|accountkey|sharedaccesssignature|(?:access_?|sas_?)?token|pwd|password|client_?secret"
    r"|(?:api|subscription)[_-]?key)\s*=",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"(?<=[?&\s\"']sig=)[^&\s\"'>)]+|(?<=^sig=)[^&\s\"'>)]+")


def without_signatures(text: str) -> str:
    """`text` with the signature of each URL in it replaced by ***."""
    return _SIGNATURE.sub("***", text)


def secret_in(uri: str) -> str | None:
    """What in a URI looks like a secret, named without repeating it; None where nothing does.

    A URI is shown in the UI, kept in metadata, and quoted by messages. Any query of a web address counts: whatever a
    server takes there, a model's URI needs none of it.
    """
    text = unquote(uri)
    found = _KEYWORD.search(text)
    if found is not None:
        return f"`{found['name']}=`"
    scheme, separator, rest = text.partition("://")
    if not separator:
        return None
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and (":" in user or scheme.lower() in ("http", "https")):
        return "a user or a password before the `@`"
    return "a query (`?...`)" if scheme.lower() in ("http", "https") and "?" in rest else None


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_signatures(record.getMessage()), ()
        return True


_REDACTING = _Redacting()


def redact_everywhere() -> None:
    """Take signatures out of what the HTTP client logs of its requests (at DEBUG, and where it tries again)."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "azure.core.pipeline.policies.http_logging_policy"):
        # Adding the same filter again is nothing.
        logging.getLogger(name).addFilter(_REDACTING)
