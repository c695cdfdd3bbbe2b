"""Events between services: Redis streams, each with one consumer group.

At least once: an event is acknowledged, and removed, after its handler has returned, so handlers are idempotent. One
that is left behind by a consumer that died is taken over by another, and a consumer that has nothing left and has not
been heard of for long is taken off the group.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.errors import Unavailable
from fastcms_common.logs import get_logger
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

# Milliseconds of silence after which a consumer that holds no event is taken for gone; the living read twice a second.
_GONE_MS = 3_600_000
# Seconds between two looks for such.
_TIDY_SECONDS = 600.0
# In one step: an event that is given to a consumer between a look and its removal would be lost with it. One that is
# not gone after all is made again by its next read.
_FORGET_GONE = """
local gone = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], KEYS[1])) do
  local consumer = {}
  for at = 1, #fields, 2 do consumer[fields[at]] = fields[at + 1] end
  if consumer.name ~= ARGV[1] and consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], KEYS[1], consumer.name)
    gone = gone + 1
  end
end
return gone
"""

log = get_logger(__name__)


class EventStream:
    """One stream and its one group of consumers."""

    def __init__(self, redis: Redis, name: str, *, idle_ms: int = _IDLE_MS, gone_ms: int = _GONE_MS) -> None:
        self._redis = redis
        self._name = name
        self._idle_ms = idle_ms
        self._gone_ms = gone_ms
        self._tidied = float("-inf")
        self._forget_gone = redis.register_script(_FORGET_GONE)
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
                await self._tidy()
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

    async def _tidy(self) -> None:
        """From time to time takes consumers off the group that are gone and have nothing left."""
        now = time.monotonic()
        if now - self._tidied < _TIDY_SECONDS:
            return
        self._tidied = now
        gone: Any = await self._forget_gone(keys=[self._name], args=[self._consumer, self._gone_ms])
        if gone:
            log.info("consumers forgotten", stream=self._name, consumers=int(gone))

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
