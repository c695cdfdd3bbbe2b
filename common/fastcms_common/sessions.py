"""Whether a session is alive, asked on every authenticated call and mostly answered from memory.

The truth is `session:{id}` in Redis. Each process remembers sessions that it found alive, and forgets one when Redis
announces its end. Three rules keep a memory from outliving its session:

- what was asked before an announcement and answered after it is not remembered;
- while the subscription has not been heard from for a second nothing remembered is used;
- nothing is remembered for longer than `MEMORY` seconds, which bounds a session that ran out by itself.

Whoever asks Redis leaves word there that the session is in use, so `last_used` is never more than a minute behind while
most calls, answered from memory, cost nothing.

With Redis down nobody is let in: the caller sees `Unavailable`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from redis.asyncio import Redis

from fastcms_common import redis_keys, times
from fastcms_common.announcements import Announcements
from fastcms_common.errors import Unauthenticated
from fastcms_common.redis_connection import redis_errors

MEMORY = 30.0
# Seconds by which `last_used` may be behind before it is written again: many processes ask about one session.
_USE_NOTED = 15
# ARGV: now, and before when a use has to be noted, both canonical text. A session that has ended is not brought back.
_ASK = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if (redis.call('HGET', KEYS[1], 'last_used') or '') < ARGV[2] then
  redis.call('HSET', KEYS[1], 'last_used', ARGV[1])
end
return 1
"""
# Sessions that one process remembers; past it the memory starts anew.
_CAPACITY = 100_000


class SessionGuard:
    """The sessions that this process knows to be alive. `watch()` has to run for the memory to be used."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._alive: dict[str, float] = {}
        self._announcements = Announcements(redis, redis_keys.SESSION_REVOKED, self.forget, self._forget_all, clock)
        # How often something was announced, for those who find that it was while they asked.
        self._changes = 0
        self._asked: dict[str, asyncio.Future[bool]] = {}

    async def check(self, session_id: str) -> None:
        """Returns where the session is alive.

        Raises Unauthenticated (SESSION_REVOKED) where it is not, Unavailable where Redis cannot be asked.
        """
        now = self._clock()
        if self._announcements.heard and self._alive.get(session_id, 0.0) > now:
            return
        if not await self._ask(session_id):
            raise Unauthenticated("This session has ended. Sign in again.", reason="SESSION_REVOKED")

    def _ask(self, session_id: str) -> asyncio.Future[bool]:
        """Asks Redis; the questions of one turn of the event loop share one round trip."""
        asked = self._asked.get(session_id)
        if asked is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(lambda: loop.create_task(self._answer()))
            asked = self._asked[session_id] = loop.create_future()
        # One caller that gives up must not take the answer from the others.
        return asyncio.shield(asked)

    async def _answer(self) -> None:
        asked, self._asked = self._asked, {}
        changes = self._changes
        try:
            with redis_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    moment = times.now()
                    noted = times.to_text(moment - timedelta(seconds=_USE_NOTED))
                    for session_id in asked:
                        pipe.eval(_ASK, 1, redis_keys.session(session_id), times.to_text(moment), noted)
                    answers = await pipe.execute()
        except BaseException as error:
            for waiting in asked.values():
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()
            if not isinstance(error, Exception):
                raise
            return
        if len(self._alive) > _CAPACITY:
            self._alive.clear()
        until = self._clock() + MEMORY
        for (session_id, waiting), alive in zip(asked.items(), answers, strict=True):
            if alive and changes == self._changes:
                self._alive[session_id] = until
            if not waiting.done():
                waiting.set_result(bool(alive))

    def forget(self, session_id: str) -> None:
        """Takes note that a session has ended."""
        self._changes += 1
        self._alive.pop(session_id, None)

    def _forget_all(self) -> None:
        self._changes += 1
        self._alive.clear()

    async def watch(self) -> None:
        """Listens for ended sessions until it is cancelled."""
        await self._announcements.watch()
