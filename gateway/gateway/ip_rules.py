"""Which addresses may come in, asked before anything else is done for a request.

The rules are admin-service's; every worker compiles its own from the copy in Redis, is told of each change, and asks
Redis twice a second whether it has missed one. What it knows stays in force while Redis or admin-service is away. A
worker that has never seen the rules lets nobody in, be it that Redis is away or that Redis has lost them and
admin-service is not there to tell them again: an address must not pass for the reason that a process is young.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn

from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.address_rules import AddressRules, decode
from fastcms_common.errors import Denied, Unavailable
from fastcms_common.following import follow
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN
from gateway.requests import Request

# What is open to everyone, so that a blocked address does not look like a dead process.
_OPEN: Final = "/health"
_READY: Final = "/health/ready"

log = get_logger(__name__)


class IpRules:
    """The rules as this worker knows them. `watch()` keeps them up to date."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rules: AddressRules | None = None
        self._version: bytes | None = None

    def admit(self, request: Request) -> None:
        """Returns where the request's address may come in. Raises Denied where it may not, Unavailable where that is
        not known yet. An address that is not known (a Unix socket's) is the operator's own."""
        if request.client is None or request.path == _OPEN:
            return
        if self._rules is None:
            if request.path == _READY:
                # It is there to say what is missing.
                return
            raise _unknown()
        refusal = self._rules.refusal(request.client)
        if refusal is not None:
            raise Denied(f"Access denied: {refusal}", reason="ADDRESS_BLOCKED")

    async def known(self) -> None:
        """Raises Unavailable where this worker has not seen the rules yet."""
        if self._rules is None:
            raise _unknown()

    async def prepare(self) -> None:
        """Loads the rules before the first request, where Redis is there to be asked."""
        try:
            await self._refresh()
        except DOWN as error:
            log.warning("IP rules not loaded", error=type(error).__name__)

    async def watch(self) -> NoReturn:
        """Loads the rules and follows their changes until it is cancelled."""
        await follow(self._redis, redis_keys.IP_RULES_CHANGED, self._refresh)

    async def _refresh(self) -> None:
        version: Any = await self._redis.get(redis_keys.IP_RULES_VERSION)
        if version is not None and version == self._version:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(redis_keys.IP_RULES_VERSION)
            pipe.hvals(redis_keys.IP_RULES)
            version, rules = await pipe.execute()
        if version is None:
            # Redis has lost its copy, or has none yet: admin-service makes one, even of no rules at all. Until then
            # what was in force stays so.
            return
        self._version = version
        # Ten thousand rules take some 30 ms: not in the event loop.
        self._rules = await asyncio.to_thread(_compiled, rules)
        log.info("IP rules loaded", rules=len(rules))


def _unknown() -> Unavailable:
    return Unavailable("The IP rules are not known yet.", reason="IP_RULES_UNAVAILABLE")


def _compiled(rules: list[bytes]) -> AddressRules:
    return AddressRules(map(decode, rules))
