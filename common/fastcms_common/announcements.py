"""A Redis channel on which changes are announced, for whoever remembers things for as long as they would hear of it.

A message that a broken connection swallows would be missed, so the channel is pinged: what it sends was sent after all
announcements before it. While nothing has come in for `SILENCE` seconds there is no telling what was missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from redis.asyncio import Redis

from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN

SILENCE = 1.0
_PING_EVERY = 0.25

log = get_logger(__name__)


class Announcements:
    """What is announced on a channel. `watch()` has to run for anything to be heard.

    `changed` is called with the text of each announcement, and `lost` when the connection was lost and anything may
    have been announced.
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
                    await pubsub.ping()
                    pinged = self._clock()
                message = await pubsub.get_message(timeout=_PING_EVERY)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._changed(message["data"].decode())
                elif message["type"] in ("pong", "subscribe"):
                    self._last = self._clock()
                    if self._away:
                        log.info("announcements heard again", channel=self._channel)
                        self._away = False
