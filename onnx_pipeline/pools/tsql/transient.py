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

from onnx_pipeline.base.errors import PoolError, PoolPausedError, PoolUnavailableError, PoolUnopenedError
from onnx_pipeline.pools.tsql.lasting import remedy

__all__ = ["CANNOT_OPEN", "DEADLOCK", "PAUSED", "UNOPENED_TRIES", "Retries", "classified", "error_number"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSED = 42108
PAUSED_NUMBERS = frozenset({PAUSED, 24800, 24802})
"""A dedicated pool is paused; a Fabric capacity, at sign-in and at a statement.
https://learn.microsoft.com/fabric/data-warehouse/pause-resume

What is quoted without a number is known by its message: a dedicated pool's second wording, and a database of Azure's free
offer that has used its month up. https://learn.microsoft.com/azure/azure-sql/database/free-offer-faq"""
DEADLOCK = 1205
LOCK_TIMEOUT = 1222

TRANSIENT = frozenset(
    {
        233,  # the server hung up during sign-in: it has all the connections that it takes, or is going down
        4221,  # a readable secondary waits for a transaction of before it became one
        10928, 10929,  # sessions or workers of the database, or of its elastic pool, are used up
        40143, 40197, 40540, 40613,  # the database is being moved, upgraded, failed over or woken up
        40501,  # the service is busy
        42109,  # the pool is warming up
        49918, 49919, 49920,  # too many operations at once in the subscription
        DEADLOCK, LOCK_TIMEOUT,  # somebody else's transaction goes on, and ends
        3960, 24556, 24706,  # somebody else's commit got between: a snapshot's update conflict (SQL Server, Fabric)
    }
)  # fmt: skip
"""What passes when nobody but the server does anything."""

CANNOT_OPEN = 4060
"""The database cannot be opened. On Azure that is also said while it is moved, mostly for less than a minute, and is in
Microsoft's list of what passes; elsewhere it does not exist, is offline, or this login may not open it, and no wait mends
that. Serverless and paused databases say something else (40613, 42108) as long as they wake up or sleep."""

UNOPENED_TRIES = 3
"""How often a database that this process never had open is tried again: 35 s, within which most moves have ended. A name
that is wrong is no longer waited for than that; `master`, which knows the names, opens to few logins."""

_AZURE = re.compile(
    r"\.(?:windows\.net|azuresynapse\.net|fabric\.microsoft\.com|usgovcloudapi\.net|chinacloudapi\.cn|azure\.cn)$",
    re.IGNORECASE,
)
"""Hosts of Azure SQL, Synapse and Fabric, sovereign clouds included."""

# mssql-python keeps a server's message and drops its number.
_MESSAGES = {
    # SQLSTATE 40001, which is the victim's whatever the server calls it.
    DEADLOCK: r"was deadlocked on .* resources|Driver Error: Serialization failure",
    LOCK_TIMEOUT: r"Lock request time out period exceeded",
    PAUSED: r"pool since it is paused|pool is paused|connect to database when it is paused|capacity is currently paused"
    r"|monthly free amount allowance .* is paused",
    42109: r"pool is warming up",
    CANNOT_OPEN: r"Cannot open database .* requested by the login",
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
_BROKEN_STATES = frozenset({"08S01", "08S02", "08001", "08003", "08007", "HYT01"})
"""SQLSTATEs of a connection that could not be made, or is gone. 08004 is not among them: the server did answer, and
said no."""
_BROKEN = re.compile(
    r"\b(?:08S01|08S02|08001|08003|08007|HYT01)\b|\(1005[34]\) \(SQL|Communication link failure|Connection not open"
    r"|establish connection|forcibly closed|connection (?:is|was|has been) (?:closed|broken|reset|dropped)"
    r"|Connection reset|Broken pipe|closed connection|(?:Connection|Login) timeout expired|TCP Provider|unexpected (?:eof|end of)",
    re.IGNORECASE,
)
"""The same by the message, where a driver keeps no SQLSTATE."""
_ANSWERED_CLASSES = frozenset({"21", "22", "23", "28", "37", "3D", "3F", "42", "44", "IM"})
"""Classes of SQLSTATE with which a server answers a statement or a sign-in: values, keys, syntax, rights. Their message
may quote a row, whose text says nothing of the connection."""
_ANSWERED = re.compile(
    r"^Driver Error: (?:Integrity constraint violation|Invalid authorization specification|Server rejected the connection"
    r"|Syntax error or access violation|String data, (?:right-truncated|length mismatch)|Numeric value out of range"
    r"|Invalid datetime format|Datetime field overflow|Division by zero|Invalid character value for cast specification"
    r"|(?:Base table or view|Column|Index) (?:already exists|not found)|Invalid (?:catalog|schema|cursor) name"
    r"|Specified driver could not be loaded|Invalid connection string attribute);"
)
"""The same in mssql-python's words."""


def error_number(error: BaseException) -> int | None:
    """The server's number of a driver's error: pyodbc puts it in brackets, mssql-python leaves only the message."""
    number = getattr(error, "number", None)
    if isinstance(number, int):
        return number
    text = str(error)
    numbers = [int(found) for found in re.findall(r"\((\d{2,6})\) \(SQL\w+\)", text)]
    known = [number for number in numbers if number == CANNOT_OPEN or number in TRANSIENT | PAUSED_NUMBERS]
    if known:
        return known[0]
    if numbers:
        # A refused row, of another class, may quote any words.
        unnumbered = _state(error) == "42000" and re.search(_MESSAGES[PAUSED], text, re.DOTALL)
        return PAUSED if unnumbered else numbers[0]
    return next((number for number, message in _MESSAGES.items() if re.search(message, text, re.DOTALL)), None)


def classified(error: BaseException, where: str, text: str, *, server: str = "", was_open: bool = False) -> PoolError:
    """A driver's error as one of ours; `where` names pool and purpose, `text` is its message without secrets.

    Only what passes by itself is a PoolUnavailableError, which is tried again; what somebody has to change first is a
    PoolError, at once. `server` is the host's name; `was_open` says that this process had the database open before.
    """
    said = str(error)  # `text` lacks whatever looks like the password, and with a short one half of its words
    number = error_number(error)
    if number in PAUSED_NUMBERS:
        return PoolPausedError(f"{where}: the pool is paused. Resume it, then run again. ({text})")
    if number in TRANSIENT:
        return PoolUnavailableError(f"{where}: error {number}, which may pass: {text}")
    if number == CANNOT_OPEN:
        if _AZURE.search(server):
            if was_open:
                return PoolUnavailableError(
                    f"{where}: error {number}, which passes when the database has moved: {text}"
                )
            return PoolUnopenedError(
                f"{where}: error {number}: either Azure moves the database, which passes, mostly within a minute; or there "
                "is none of that name, or this login has no user in it, and no wait mends that: correct the pool's URL, "
                f"or let the login in. ({text})"
            )
        return PoolError(
            f"{where}: the database does not exist, is offline, or this login may not open it. Correct the pool's URL, "
            f"or let the login in. ({text})"
        )
    if _is_answer(error, said):
        return PoolError(f"{where}: {text}")
    lasting = None if "[SQL Server]" in said else remedy(said)
    if lasting is not None:
        return PoolError(f"{where}: {lasting}. ({text})")
    if _state(error) in _BROKEN_STATES or _BROKEN.search(said):
        return PoolUnavailableError(f"{where}: the connection broke: {text}")
    return PoolError(f"{where}: {text}")


def _state(error: BaseException) -> str:
    """The SQLSTATE that pyodbc gives; mssql-python keeps none."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, str) and re.fullmatch(r"[0-9A-Z]{5}", first) else ""


def _is_answer(error: BaseException, text: str) -> bool:
    """Whether a server answered: it refused values, a statement or a sign-in, which it would refuse again."""
    return _state(error)[:2] in _ANSWERED_CLASSES or _state(error) == "08004" or bool(_ANSWERED.search(text))


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
                unopened = isinstance(error, PoolUnopenedError)
                if number >= (min(self.most, UNOPENED_TRIES) if unopened else self.most):
                    # What may be wrong for ever is not tried again by whoever called, either.
                    given_up = PoolError if unopened else PoolUnavailableError
                    raise given_up(f"{error} Given up after {number + 1} attempts.") from error
                wait = min(self.longest_wait, self.first_wait * 2**number) * random.uniform(0.75, 1.25)  # noqa: S311
                _logger.warning("%s Trying again in %.0f s.", error, wait)
                self.sleep(wait)
                number += 1
