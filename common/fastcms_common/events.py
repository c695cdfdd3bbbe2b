"""Events between services: Redis streams, each with one consumer group.

At least once: an event is acknowledged, and removed, after its handler has returned, so handlers are idempotent. One
that is left behind by a consumer that died is taken over by another.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from fastcms_common.errors import Unavailable
from fastcms_common.logs import get_logger
from fastcms_common import redis_keys
from fastcms_common.redis_connection import DOWN, redis_errors

Handler = Callable[[list[tuple[str, dict[bytes, bytes]]]], Awaitable[None]]
"""Takes the events of one batch, oldest first, each with its id in the stream. What it raises puts the batch back."""

# Events in one batch; milliseconds that a read waits; milliseconds after which another's event is taken over.
_BATCH = 100
_BLOCK_MS = 500
_IDLE_MS = 15_000
_RETRY_SECONDS = 0.5
# Deliveries after which an event that its handler cannot take is set aside in `{stream}:refused`.
_MAX_DELIVERIES = 20
# Where a read begins: at what this consumer was given and has not finished, or at what nobody was given yet.
_GIVEN_BEFORE = "0"
_NEW = ">"

log = get_logger(__name__)


class EventStream:
    """One stream and its one group of consumers."""

    def __init__(self, redis: Redis, name: str, *, idle_ms: int = _IDLE_MS) -> None:
        self._redis = redis
        self._name = name
        self._idle_ms = idle_ms
        self._consumer = f"{socket.gethostname()}:{os.getpid()}"

    async def publish(self, fields: Mapping[str, str | bytes]) -> str:
        """Appends an event and gives its id. Raises Unavailable where Redis cannot take it."""
        with redis_errors():
            event_id: Any = await self._redis.xadd(self._name, dict(fields))  # type: ignore[arg-type]
        return str(event_id.decode())

    async def consume(self, handler: Handler) -> None:
        """Hands events to `handler` until it is cancelled. A Redis that is away is waited for."""
        beginning = ""
        while True:
            try:
                if not beginning:
                    await self._create_group()
                    beginning = _GIVEN_BEFORE
                given, done = await self._step(handler, await self._read(beginning))
                if done < given or not given:
                    beginning = _NEW
                    await self._step(handler, await self._left_behind())
            except (*DOWN, Unavailable, redis.exceptions.ResponseError) as error:
                # A ResponseError is a group that went with a Redis that lost its data: it is made again.
                log.warning("events wait", stream=self._name, error=type(error).__name__)
                beginning = ""
                await asyncio.sleep(_RETRY_SECONDS)

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(self._name, self._name, id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self, beginning: str) -> list[Any]:
        answer: Any = await self._redis.xreadgroup(
            self._name, self._consumer, {self._name: beginning}, count=_BATCH, block=_BLOCK_MS
        )
        return _entries(answer)

    async def _left_behind(self) -> list[Any]:
        answer: Any = await self._redis.xautoclaim(
            self._name, self._name, self._consumer, min_idle_time=self._idle_ms, count=_BATCH
        )
        return list(answer[1])

    async def _step(self, handler: Handler, entries: list[Any]) -> tuple[int, int]:
        """How many entries there were, and how many of them are done with."""
        # An entry without fields was removed while it was pending.
        events = [(entry[0].decode(), dict(entry[1])) for entry in entries if entry[1]]
        done = [entry[0] for entry in entries if not entry[1]]
        if events:
            done += await self._handle(handler, events)
        if done:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(self._name, self._name, *done)
                pipe.xdel(self._name, *done)
                await pipe.execute()
        return len(entries), len(done)

    async def _handle(self, handler: Handler, events: list[tuple[str, dict[bytes, bytes]]]) -> list[str]:
        try:
            await handler(events)
        except (Unavailable, *DOWN):
            raise
        except Exception as error:
            if len(events) == 1:
                log.exception("event refused", stream=self._name, entry=events[0][0], exc_info=error)
                return await self._set_aside(events[0])
            # One bad event must not hold up the rest: each is tried by itself.
            done: list[str] = []
            for event in events:
                done += await self._handle(handler, [event])
            return done
        return [event_id for event_id, _ in events]

    async def _set_aside(self, event: tuple[str, dict[bytes, bytes]]) -> list[str]:
        event_id, fields = event
        pending: Any = await self._redis.xpending_range(self._name, self._name, min=event_id, max=event_id, count=1)
        if not pending or pending[0]["times_delivered"] < _MAX_DELIVERIES:
            return []
        await self._redis.xadd(redis_keys.refused(self._name), fields)  # type: ignore[arg-type]
        return [event_id]


def _entries(answer: Any) -> list[Any]:
    """The entries of one stream, from an answer to XREADGROUP in RESP2 or RESP3."""
    if not answer:
        return []
    if isinstance(answer, dict):
        batches = next(iter(answer.values()))
        return list(batches[0]) if batches and isinstance(batches[0], list) else list(batches)
    return list(answer[0][1])
