"""The copy of the IP rules in Redis, from which every gateway worker reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

from redis.asyncio import Redis

from admin_service.store import AdminStore
from fastcms_common import redis_keys, times
from fastcms_common.address_rules import AddressRule, encode
from fastcms_common.errors import DomainError, Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import redis_errors
from fastcms_common.storage import Document

# Seconds between two looks at whether Redis still has the copy, and between two comparisons of all of it.
_LOOK = 0.5
_COMPARE = 60.0
# KEYS: rules, version. ARGV: channel, how many rules to set, then id and rule of each, then the ids to remove.
_CHANGE = """
local last = 2 + 2 * tonumber(ARGV[2])
for i = 3, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[1], version)
return version
"""

log = get_logger(__name__)


def as_rule(document: Document) -> AddressRule:
    """A stored rule as the gateway judges by it."""
    expires = document.get("expires_at")
    return AddressRule(
        document["cidr"],
        document["rule_type"],
        document.get("reason"),
        times.from_text(expires).timestamp() if expires else None,
    )


class IpRulesCopy:
    """Keeps the copy equal to what is stored. `watch()` runs for as long as the service does.

    A change is written to storage first and here second, rule by rule, so that replicas never write an old whole over a
    new one; whatever goes missing in between is found by comparing.
    """

    def __init__(self, store: AdminStore, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        self._change = redis.register_script(_CHANGE)
        # The last version this process has seen; None: compare before anything else.
        self._version: int | None = None

    async def changed(self, set_: Sequence[Document] = (), removed: Sequence[str] = ()) -> None:
        """Publishes what was changed. Where Redis cannot be reached now, `watch` makes up for it when it can."""
        try:
            await self._publish(set_, removed)
        except Unavailable as error:
            self._version = None
            log.warning("IP rules wait for Redis", error=error.detail)

    async def watch(self) -> NoReturn:
        """Compares at the start, every minute, and whenever Redis seems to have lost something."""
        compared = float("-inf")
        while True:
            try:
                with redis_errors():
                    found = await self._redis.get(redis_keys.IP_RULES_VERSION)
                version = int(found) if found is not None else -1
                now = asyncio.get_running_loop().time()
                if self._version is None or version < self._version or now - compared > _COMPARE:
                    await self.compare()
                    compared = now
                else:
                    self._version = version
            except DomainError as error:
                self._version = None
                log.warning("IP rules not compared", error=error.detail)
            await asyncio.sleep(_LOOK)

    async def compare(self) -> None:
        """Makes the copy equal to storage. Raises Unavailable."""
        with redis_errors():
            copied: dict[Any, Any] = await self._redis.hgetall(redis_keys.IP_RULES)
            version = await self._redis.get(redis_keys.IP_RULES_VERSION)
        stored = {rule["id"].encode(): rule for rule in await self._store.ip_rules()}
        missing = [rule for key, rule in stored.items() if copied.get(key) != encode(as_rule(rule))]
        # Asked again, one by one: a rule may have been made since all were read. Ids do not come back.
        extra = [key.decode() for key in copied.keys() - stored.keys() if not await self._store.ip_rule(key.decode())]
        if missing or extra or version is None:
            await self._publish(missing, extra)
            # And one may have been removed since.
            gone = [rule["id"] for rule in missing if not await self._store.ip_rule(rule["id"])]
            if gone:
                await self._publish((), gone)
        else:
            self._version = int(version)

    async def _publish(self, set_: Sequence[Document], removed: Sequence[str]) -> None:
        arguments: list[str | bytes | int] = [redis_keys.IP_RULES_CHANGED, len(set_)]
        for rule in set_:
            arguments += [rule["id"], encode(as_rule(rule))]
        with redis_errors():
            version = await self._change(
                keys=[redis_keys.IP_RULES, redis_keys.IP_RULES_VERSION], args=[*arguments, *removed]
            )
        self._version = int(version)
