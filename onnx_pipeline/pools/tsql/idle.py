"""A session that waits for its next use, while one block of code looks at a pool: a sign-in takes longer than what is asked."""

from types import TracebackType

from typing_extensions import Self

from onnx_pipeline.pools.tsql.drivers.base import Driver
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["IdleSession"]


class IdleSession:
    """At most one: within a block sessions are used one after the other, or one of them keeps the first."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._ended = False

    def taken(self, driver: Driver, purpose: str) -> Session | None:
        """The session, for another purpose; None where there is none of that driver."""
        session = self._session
        if session is None or session.driver is not driver:
            return None
        self._session = None
        session.reopen(purpose)
        return session

    def keep(self, session: Session) -> bool:
        """Take a session in; False where it has to be closed."""
        if self._ended or self._session is not None:
            return False
        self._session = session
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if self._session is not None:
            self._session.end()
            self._session = None
