"""A Redis channel on which changes are announced, for whoever remembers things for as long as they would hear of it.

A message that a broken connection swallows would be missed, so the channel is pinged: an answer to that comes after all
announcements before the ping. Where none came to a ping of the last `SILENCE` seconds, there is no telling what was
missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN

SILENCE = 1.0
_PING_EVERY = 0.25

log = get_logger(__name__)


class Announcements:
    """What is announced on a channel. `watch()` has to run for anything to be heard.

    `changed` is called with the text of each announcement, which has no blanks, and `lost` when anything may have been
    announced: the connection was lost, or has just been opened.
    """

    def __init__(
        self,
        redis: Redis,
        channel: str,
        changed: Callable[[str], None],
        lost: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._channel = channel
        self._changed = changed
        self._lost = lost
        self._clock = clock
        self._last = float("-inf")
        self._away = False
        self._name = new_id()

    async def announce(self, text: str) -> None:
        """Returns when everyone who listens has taken note. Who has not within `SILENCE` seconds takes nothing that it
        remembers for true any more. Raises `DOWN` where Redis cannot be told."""
        answers = redis_keys.heard(new_id())
        until = self._clock() + SILENCE
        listening = await self._redis.publish(self._channel, f"{text} {answers}")
        heard: set[bytes | str] = set()
        # Without Redis nobody takes what it remembers for true.
        with suppress(*DOWN):
            # Redis takes less than a millisecond for no end.
            while len(heard) < listening and (left := until - self._clock()) > 0:
                answer = await self._redis.blpop([answers], timeout=max(left, 0.01))
                if answer is not None:
                    heard.add(answer[1])

    @property
    def heard(self) -> bool:
        """Whether every announcement up to a moment ago has come in."""
        return self._clock() - self._last < SILENCE

    async def watch(self) -> None:
        """Listens until it is cancelled; a lost connection is opened again."""
        while True:
            try:
                await self._listen()
            except DOWN as error:
                # Once for each outage: it is tried several times a second.
                if not self._away:
                    log.warning("announcements lost", channel=self._channel, error=type(error).__name__)
                self._away = True
            self._last = float("-inf")
            self._lost()
            await asyncio.sleep(_PING_EVERY)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            pinged = 0.0
            while True:
                if self._clock() - pinged >= _PING_EVERY:
                    pinged = self._clock()
                    await pubsub.ping(repr(pinged))
                message = await pubsub.get_message(timeout=_PING_EVERY)
                if message is None:
                    continue
                if message["type"] == "message":
                    text, _, answers = message["data"].decode().partition(" ")
                    self._changed(text)
                    if answers:
                        await self._answer(answers)
                elif message["type"] == "subscribe":
                    # What was learnt before this may have changed unheard; also where the client has opened a lost
                    # connection again without a word.
                    self._lost()
                elif message["type"] == "pong":
                    # It comes with the time at which it was asked for.
                    self._last = float(message["data"])
                    if self._away:
                        log.info("announcements heard again", channel=self._channel)
                        self._away = False

    async def _answer(self, answers: str) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(answers, self._name)
            pipe.expire(answers, 10)
            await pipe.execute()
