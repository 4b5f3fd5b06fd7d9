"""A bound on how long something may take: `async with timeout(seconds)` raises TimeoutError."""

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import anyio

    @asynccontextmanager
    async def timeout(seconds: float) -> AsyncIterator[None]:
        """As asyncio's of Python 3.11, which takes half the time: a request passes through two of them."""
        with anyio.fail_after(seconds):
            yield


__all__ = ["timeout"]
