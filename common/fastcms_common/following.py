"""Following what another process keeps in Redis: told of changes, and asking now and then whether one was missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from redis.asyncio import Redis

from fastcms_common.errors import Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN

# Seconds between two looks where nothing is announced, and before a lost connection is opened again. A message that a
# broken connection has swallowed is made up for at the next look.
LOOK = 0.5

log = get_logger(__name__)


async def follow(redis: Redis, channel: str, refresh: Callable[[], Awaitable[object]], every: float = LOOK) -> NoReturn:
    """Calls `refresh` at the start, whenever `channel` speaks, and every so many seconds, until it is cancelled.

    `refresh` asks Redis or a database itself, cheaply where nothing has changed, and may raise what they raise while
    they are away.
    """
    away = False
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                while True:
                    await refresh()
                    away = False
                    await pubsub.get_message(timeout=every)
        except (Unavailable, *DOWN) as error:
            # Once for each outage: it is tried twice a second.
            if not away:
                log.warning("changes not followed", channel=channel, error=type(error).__name__)
            away = True
        except Exception as error:
            # What cannot be read today must not end the following for good: what was in force stays so.
            log.error("changes not taken over", channel=channel, exc_info=error)
        await asyncio.sleep(LOOK)
