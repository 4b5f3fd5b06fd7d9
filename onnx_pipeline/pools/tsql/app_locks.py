"""A lock in the server that dies with its session: `sp_getapplock`, SQL Server's own.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-getapplock-transact-sql
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from onnx_pipeline.base.errors import PoolBusyError, PoolError, PoolUnavailableError
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["attempt", "exclusive", "resource_name"]

_GET = (
    "DECLARE @granted INT; "
    "EXEC @granted = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = ?; "
    "SELECT @granted AS granted"
)
_DEADLOCK = -3
_RELEASE = "EXEC sp_releaseapplock @Resource = ?, @LockOwner = 'Session'"
_HOLDER = (
    "SELECT TOP 1 s.session_id, s.host_name, s.program_name, s.login_name FROM sys.dm_tran_locks AS l "
    "JOIN sys.dm_exec_sessions AS s ON s.session_id = l.request_session_id "
    "WHERE l.resource_type = 'APPLICATION' AND l.request_status = 'GRANT' "
    "AND CHARINDEX(?, l.resource_description) > 0"
)


def resource_name(table: str, partition_key: str) -> str:
    """Names what must not be loaded twice at once; short, because the server shows 32 characters of it."""
    return "onnx_" + hashlib.sha256(f"{table.casefold()}\0{partition_key}".encode()).hexdigest()[:16]


def try_exclusive(session: Session, resource: str, seconds: float) -> bool:
    """Take the lock for as long as the session lives, or until it is released; False where somebody else keeps it."""
    # Not 0 milliseconds: not every server takes that for "do not wait".
    granted = int(session.scalar(_GET, [resource, max(1, int(seconds * 1000))]))
    if granted in (0, 1):
        return True
    if granted == -1:
        return False
    if granted == _DEADLOCK:
        raise PoolUnavailableError(f"{session.purpose}: chosen as the victim of a deadlock over {resource}")
    raise PoolError(f"{session.purpose}: sp_getapplock on {resource} answered {granted}")


@contextmanager
def exclusive(session: Session, resource: str, seconds: float) -> Iterator[None]:
    """Hold the lock; `PoolBusyError`, naming the holder, where it is not free within `seconds`."""
    if not try_exclusive(session, resource, seconds):
        raise PoolBusyError(
            f"{session.purpose}: {_holder(session, resource)} was still loading it after {seconds:.0f} s, so nothing "
            "was done. Wait for it to end, or give the pool's URL a longer ?lock_timeout=<seconds>."
        )
    try:
        yield
    finally:
        release(session, resource)


@contextmanager
def attempt(session: Session, resource: str) -> Iterator[bool]:
    """Hold the lock where it is free; yields whether it was."""
    granted = try_exclusive(session, resource, 0)
    try:
        yield granted
    finally:
        if granted:
            release(session, resource)


def release(session: Session, resource: str) -> None:
    """Give the lock back; with a broken connection it is gone already."""
    try:
        session.execute(_RELEASE, [resource])
    except PoolError:
        session.close()


def _holder(session: Session, resource: str) -> str:
    """Who holds the lock; seeing other sessions takes VIEW SERVER STATE, which the pool's rights need not include."""
    try:
        rows = session.rows(_HOLDER, [resource])
    except PoolError:
        rows = []
    if not rows:
        return "another session"
    number, host, program, login = rows[0]
    return f"session {number} ({program or 'unknown program'} of {login} on {host or 'unknown host'})"
