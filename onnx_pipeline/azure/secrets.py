"""Signatures of shared access, which travel in URLs and so reach messages and logs that quote a URL."""

import logging
import re

__all__ = ["redact_everywhere", "without_signatures"]

_SIGNATURE = re.compile(r"(?<=[?&\s\"']sig=)[^&\s\"'>)]+|(?<=^sig=)[^&\s\"'>)]+")


def without_signatures(text: str) -> str:
    """`text` with the signature of each URL in it replaced by ***."""
    return _SIGNATURE.sub("***", text)


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
