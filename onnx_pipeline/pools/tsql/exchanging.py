"""`Pool.exchange` on a T-SQL server: one transaction under a lock, tried again where the connection breaks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from onnx_pipeline.pools import exchange as exchanges
from onnx_pipeline.pools.exchange import Exchange, Exchanged
from onnx_pipeline.pools.tsql.app_locks import resource_name
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["exchange"]


class _Server(Protocol):
    """What of a pool this needs."""

    slice_limit: int | None

    @property
    def display_name(self) -> str: ...
    def retried(self, purpose: str, work: Callable[[Session], Any]) -> Any: ...
    def guard(self, session: Session, resource: str) -> AbstractContextManager[None]: ...


def exchange(server: _Server, work: Exchange) -> Exchanged:
    """`Pool.exchange`."""
    uncertain: list[Exchanged] = []

    def attempt(session: Session) -> Exchanged:
        with server.guard(session, resource_name(work.place, "exchange")):
            # The connection may have broken after the commit was sent: then there is nothing left to do.
            if uncertain and exchanges.exchanged_before(session, work):
                return uncertain[-1]
            rows = sum(int(session.scalar(exchanges.size(table))) for table in (work.target, work.side))
            exchanges.refuse_large(work, server.slice_limit, rows, server.display_name)
            with session.transaction():
                done = exchanges.exchange(session, work)
                uncertain.append(done)
            return done

    done: Exchanged = server.retried(f"exchanging {work.target.table}", attempt)
    return done
