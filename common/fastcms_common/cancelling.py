"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN = 0.2


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels until all have ended; what they raise is not looked at.

    Once is not always enough. Before Python 3.12 `asyncio.wait_for`, which redis-py waits with, loses a cancellation
    that comes together with what it waits for (python/cpython#86296); and a grpc.aio call that is still being set up
    takes one for its own and goes on.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN)
        for task in done:
            # Asked for, so that nobody is told of an error that was never retrieved.
            task.cancelled() or task.exception()
