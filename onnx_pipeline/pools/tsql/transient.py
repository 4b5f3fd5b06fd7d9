"""Which errors pass by themselves, and how long to wait for that.

Numbers and waits are Microsoft's: 5 s, then twice as long each time, up to 60 s.
https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues
"""

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from onnx_pipeline.base.errors import PoolError, PoolPausedError, PoolUnavailableError

__all__ = ["DEADLOCK", "PAUSED", "Retries", "classified", "error_number"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSED = 42108
DEADLOCK = 1205
LOCK_TIMEOUT = 1222

TRANSIENT = frozenset(
    {233, 4060, 4221, 10928, 10929, 40143, 40197, 40501, 40540, 40613, 42109, 49918, 49919, 49920}
    # Somebody else's commit got between: a snapshot's update conflict (SQL Server, then Fabric).
    | {DEADLOCK, LOCK_TIMEOUT, 3960, 24556, 24706}
)

# mssql-python keeps a server's message and drops its number.
_MESSAGES = {
    # SQLSTATE 40001, which is the victim's whatever the server calls it.
    DEADLOCK: r"was deadlocked on .* resources|Driver Error: Serialization failure",
    LOCK_TIMEOUT: r"Lock request time out period exceeded",
    PAUSED: r"pool since it is paused|pool is paused",
    42109: r"pool is warming up",
    4060: r"Cannot open database .* requested by the login",
    4221: r"HADR_DATABASE_WAIT_FOR_TRANSITION_TO_VERSIONING",
    10928: r"Resource ID *: *\d+\. The .* limit for the (?:database|elastic pool) is",
    10929: r"Resource ID *: *\d+\. The .* minimum guarantee is",
    40197: r"service has encountered an error processing your request",
    40501: r"service is currently busy",
    40613: r"Database .* on server .* is not currently available",
    49918: r"Not enough resources to process (?:the )?request",
    49919: r"Too many create or update operations in progress",
    49920: r"Too many operations in progress for subscription",
    3960: r"Snapshot isolation transaction aborted due to update conflict",
}
_BROKEN = re.compile(
    r"\b(?:08S01|08S02|08001|08003|08007|HYT01|10054|10053)\b|Communication link failure|Connection not open"
    r"|establish connection|forcibly closed|connection (?:is|was|has been) (?:closed|broken|reset|dropped)"
    r"|Connection reset|Broken pipe|closed connection|(?:Connection|Login) timeout expired|TCP Provider|unexpected (?:eof|end of)",
    re.IGNORECASE,
)


def error_number(error: BaseException) -> int | None:
    """The server's number of a driver's error: pyodbc puts it in brackets, mssql-python leaves only the message."""
    number = getattr(error, "number", None)
    if isinstance(number, int):
        return number
    text = str(error)
    numbers = [int(found) for found in re.findall(r"\((\d{2,6})\) \(SQL\w+\)", text)]
    known = [number for number in numbers if number == PAUSED or number in TRANSIENT]
    if known or numbers:
        return (known or numbers)[0]
    return next((number for number, message in _MESSAGES.items() if re.search(message, text, re.DOTALL)), None)


def classified(error: BaseException, where: str, text: str) -> PoolError:
    """A driver's error as one of ours; `where` names pool and purpose, `text` is its message without secrets."""
    number = error_number(error)
    if number == PAUSED:
        return PoolPausedError(f"{where}: the pool is paused. Resume it, then run again. ({text})")
    if number in TRANSIENT:
        return PoolUnavailableError(f"{where}: error {number}, which may pass: {text}")
    if _BROKEN.search(text):
        return PoolUnavailableError(f"{where}: the connection broke: {text}")
    return PoolError(f"{where}: {text}")


@dataclass(frozen=True)
class Retries:
    """How often and how long something is tried again."""

    most: int = 6
    first_wait: float = 5.0
    """Seconds, before a jitter of a quarter either way so that many clients do not come back at once."""
    longest_wait: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, attempt: Callable[[int], T]) -> T:
        """The result of `attempt(number)`, numbers from 0 on, tried again while it raises PoolUnavailableError."""
        number = 0
        while True:
            try:
                return attempt(number)
            except PoolUnavailableError as error:
                if number >= self.most:
                    raise PoolUnavailableError(f"{error} Given up after {number + 1} attempts.") from error
                wait = min(self.longest_wait, self.first_wait * 2**number) * random.uniform(0.75, 1.25)  # noqa: S311
                _logger.warning("%s Trying again in %.0f s.", error, wait)
                self.sleep(wait)
                number += 1
