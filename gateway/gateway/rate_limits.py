"""How many requests are taken: counted in Redis, so that all workers count as one.

Two limits (contract, section 6; settings `rate_limits`). Calls that take a password or a code count by the client's
address and by the account that they are about, for each rpc by itself; all others count by the caller, or by address
where nobody is known. IPv6 addresses count by their /64, which is what one subscriber has.

Answers carry `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final

from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.context import Caller
from fastcms_common.errors import Exhausted, Unavailable
from fastcms_common.logs import get_logger
from gateway.answers import Header
from gateway.config import Settings
from gateway.counters import WINDOW, Count, Counters, Portions
from gateway.requests import Request

CREDENTIALS: Final = "credentials"
REQUESTS: Final = "requests"
# Seconds for which a Redis that was away is not asked by calls that may go on without it.
_RESPITE: Final = 1.0

log = get_logger(__name__)


class RateLimits:
    """The limits in force. `change` takes new values of the settings."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._counters = Counters(redis)
        self._portions = Portions(redis)
        self._enabled = settings.rate_limits_enabled
        self._limits = {
            CREDENTIALS: settings.rate_limit_credentials_per_minute,
            REQUESTS: settings.rate_limit_requests_per_minute,
        }
        self._rest_until = 0.0

    def change(self, values: Mapping[str, Any]) -> None:
        """Puts new values of the category `rate_limits` in force."""
        self._enabled = values["enabled"]
        self._limits = {
            CREDENTIALS: values["credentials_per_minute"],
            REQUESTS: values["requests_per_minute"],
        }

    async def by_caller(self, request: Request, caller: Caller | None) -> None:
        """Counts a call of anyone. Raises Exhausted. Without Redis it is taken as it comes."""
        if not self._enabled or time.monotonic() < self._rest_until:
            return
        limit = self._limits[REQUESTS]
        key = _key("all", limit, caller.id if caller is not None else _origin(request.client))
        try:
            count = self._portions.at_hand(key) or await self._portions.take(key, limit)
        except Unavailable:
            log.warning("requests are not counted", request_id=request.id)
            self._rest_until = time.monotonic() + _RESPITE
            return
        _note(request, REQUESTS, limit, count)

    async def by_address(self, request: Request, rpc: str) -> None:
        """Counts a call that takes a credential. Raises Exhausted; Unavailable without Redis: no guess is free."""
        if self._enabled:
            await self._take_credential(request, f"{rpc}:address", _origin(request.client))

    async def by_account(self, request: Request, rpc: str, account: Sequence[str]) -> None:
        """The same for the account that it is about: the texts that together name it."""
        if self._enabled:
            # An address of a person has no place in a key, and may be of any length.
            digest = hashlib.sha256("\0".join(account).encode()).hexdigest()[:32]
            await self._take_credential(request, f"{rpc}:account", digest)

    async def close(self) -> None:
        """Gives back what was taken in advance."""
        await self._portions.close()

    async def _take_credential(self, request: Request, what: str, whom: str) -> None:
        limit = self._limits[CREDENTIALS]
        _note(request, CREDENTIALS, limit, await self._counters.take(_key(what, limit, whom), limit))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The limit that a request is closest to: `left` of `limit` a minute, `seconds` until there are more."""

    name: str
    limit: int
    left: int
    seconds: int

    def headers(self) -> list[Header]:
        """The limit as headers (structured fields, RFC 9651)."""
        return [
            (b"ratelimit-policy", f'"{self.name}";q={self.limit};w={WINDOW}'.encode("ascii")),
            (b"ratelimit", f'"{self.name}";r={self.left};t={self.seconds}'.encode("ascii")),
        ]


def _key(what: str, limit: int, whom: str) -> str:
    """Counters of another limit say nothing about this one: a limit that is changed begins anew."""
    return redis_keys.rate(f"{what}:{limit}", whom)


def _note(request: Request, name: str, limit: int, count: Count) -> None:
    """Writes down what the answer is to say. Raises Exhausted where the call was not taken."""
    if request.rate_limit is None or count.left < request.rate_limit.left or not count.taken:
        request.rate_limit = RateLimit(name, limit, count.left, count.reset if count.taken else count.wait)
    if not count.taken:
        raise Exhausted(f"Too many requests. Try again in {count.wait} seconds.", retry_after=count.wait)


def _origin(address: str | None) -> str:
    """Whom an address stands for: an IPv4 address for itself, an IPv6 address for its /64."""
    if address is None:
        return "local"
    if ":" not in address:
        return address
    return IPv6Address(address).exploded[:19]
