"""Settings that admins change while everything runs, as the processes that obey them see them.

admin-service owns them and keeps a copy of each category in Redis; whoever needs one follows it. Before the first copy
is seen, and where Redis has lost it, what was in force last stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import orjson
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.following import follow
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN

OnChange = Callable[[Mapping[str, Any]], None]
"""Takes the values of a category, all of them, whenever one has changed."""

log = get_logger(__name__)


def encode(version: int, values: Mapping[str, Any]) -> bytes:
    """A category as it stands in Redis. `version` counts its changes."""
    return orjson.dumps({"version": version, "values": values})


class LiveSettings:
    """The categories that a process has asked for. `watch()` has to run."""

    def __init__(self, redis: Redis, categories: Mapping[str, OnChange]) -> None:
        self._redis = redis
        self._categories = dict(categories)
        self._seen: dict[str, bytes] = {}

    async def prepare(self) -> None:
        """Loads what there is before the first use, where Redis is there to be asked."""
        try:
            await self._refresh()
        except DOWN as error:
            log.warning("settings not loaded", error=type(error).__name__)

    async def watch(self) -> NoReturn:
        """Follows the categories until it is cancelled."""
        await follow(self._redis, redis_keys.SETTINGS_CHANGED, self._refresh)

    async def _refresh(self) -> None:
        names = list(self._categories)
        copies: Any = await self._redis.hmget(redis_keys.SETTINGS, names)
        for name, copy in zip(names, copies, strict=True):
            if copy is not None and copy != self._seen.get(name):
                self._seen[name] = copy
                self._categories[name](orjson.loads(copy)["values"])
                log.info("settings in force", category=name)
