"""Waking a worker at once when an admin triggers a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastcms_common.logs import get_logger

if TYPE_CHECKING:
    from celery import Celery

# Seconds that a caller waits for a message to be sent.
_PATIENCE = 3.0
# Seconds that a message has to go out when the process ends.
_LAST_WORDS = 2.0

log = get_logger(__name__)


class Messages:
    """The sending side of the queue. Celery is loaded when the first message is sent: it costs 20 MiB."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._app: Celery | None = None
        self._lock = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()

    async def wake(self, task: str) -> None:
        """Tells a worker that `task` has a run to be done. Where that fails, the beat says it a moment later.

        Loading Celery takes a second, and longer where processors are short: what takes too long is not waited for.
        """
        sending = asyncio.create_task(self._wake(task))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        await asyncio.wait({sending}, timeout=_PATIENCE)

    async def _wake(self, task: str) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(self._send, task)
            except OSError as error:
                log.warning("no worker was woken", task=task, error=str(error))

    def _send(self, task: str) -> None:
        import kombu.exceptions
        import redis.exceptions

        from scheduler_service.celery_app import make_app, send

        if self._app is None:
            self._app = make_app(self._redis_url)
        try:
            send(self._app, task)
        except (kombu.exceptions.OperationalError, redis.exceptions.RedisError) as error:
            raise OSError(f"{type(error).__name__}: Redis cannot be reached") from error

    async def close(self) -> None:
        """Sends what is still to be sent, and lets go of the connection."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=_LAST_WORDS)
        async with self._lock:
            if self._app is not None:
                await asyncio.to_thread(self._app.close)
                self._app = None
