"""How many requests are taken: counted in Redis, so that all workers count as one.

Two limits (contract, section 6; settings `rate_limits`). Calls that take a password or a code count by the client's
address and by the account that they are about, for each rpc by itself; all others count by the caller, or by address
where nobody is known. IPv6 addresses count by their /64, which is what one subscriber has.

The algorithm is GCRA (ITU-T I.371): the whole minute's worth may come at once, and then comes back evenly. It keeps one
number for each caller. Answers carry `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import asyncio
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
from fastcms_common.redis_connection import redis_errors
from gateway.answers import Header
from gateway.config import Settings
from gateway.requests import Request

CREDENTIALS: Final = "credentials"
REQUESTS: Final = "requests"
_WINDOW: Final = 60
# Seconds for which a Redis that was away is not asked by calls that may go on without it.
_RESPITE: Final = 1.0
# Seconds that a count may take. A Redis that hangs must not make everything hang that could do without it.
_PATIENCE: Final = 0.5

# KEYS: the counters. ARGV: of each its limit and its window in microseconds. Gives for each: whether the call is taken,
# how many more would be, microseconds until all are there again, and until one is.
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {}
for i, key in ipairs(KEYS) do
    local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local interval = window / limit
    local free = math.max(tonumber(redis.call('GET', key) or 0), now)
    local taken = free + interval - now <= window + 0.5
    if taken then
        free = free + interval
        redis.call('SET', key, string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000))
    end
    local left = math.max(math.floor((window - (free - now)) / interval + 0.000001), 0)
    local wait = math.max(free + interval - window - now, 0)
    answer[#answer + 1] = taken and 1 or 0
    answer[#answer + 1] = left
    answer[#answer + 1] = math.ceil(free - now)
    answer[#answer + 1] = math.ceil(wait)
end
return answer
"""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """What a counter says after a call. Times in seconds."""

    taken: bool
    left: int
    reset: int
    wait: int


class Counters:
    """The counters in Redis. Calls of one turn of the event loop share one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)
        self._asked: list[tuple[str, int, asyncio.Future[Count]]] = []
        # The event loop does not keep a task alive by itself.
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, key: str, limit: int) -> asyncio.Future[Count]:
        """Counts a call of `limit` a minute. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Count] = loop.create_future()
        self._asked.append((key, limit, answer))
        return answer

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._answer())
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self) -> None:
        asked, self._asked = self._asked, []
        arguments: list[int] = []
        for _, limit, _ in asked:
            arguments += (limit, _WINDOW * 1_000_000)
        try:
            with redis_errors():
                async with asyncio.timeout(_PATIENCE):
                    numbers: Any = await self._take(keys=[key for key, _, _ in asked], args=arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are to hear it
            if isinstance(error, TimeoutError):
                error = Unavailable("Redis does not answer.", reason="REDIS_UNAVAILABLE")
            for _, _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for index, (_, _, answer) in enumerate(asked):
            taken, left, reset, wait = numbers[4 * index : 4 * index + 4]
            if not answer.done():
                answer.set_result(Count(bool(taken), left, _seconds(reset), _seconds(wait)))


class RateLimits:
    """The limits in force. `change` takes new values of the settings."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._counters = Counters(redis)
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
        try:
            await self._take(request, REQUESTS, "all", caller.id if caller is not None else _origin(request.client))
        except Unavailable:
            log.warning("requests are not counted", request_id=request.id)
            self._rest_until = time.monotonic() + _RESPITE

    async def by_address(self, request: Request, rpc: str) -> None:
        """Counts a call that takes a credential. Raises Exhausted; Unavailable without Redis: no guess is free."""
        if self._enabled:
            await self._take(request, CREDENTIALS, f"{rpc}:address", _origin(request.client))

    async def by_account(self, request: Request, rpc: str, account: Sequence[str]) -> None:
        """The same for the account that it is about: the texts that together name it."""
        if self._enabled:
            # An address of a person has no place in a key, and may be of any length.
            digest = hashlib.sha256("\0".join(account).encode()).hexdigest()[:32]
            await self._take(request, CREDENTIALS, f"{rpc}:account", digest)

    async def _take(self, request: Request, name: str, what: str, whom: str) -> None:
        limit = self._limits[name]
        # Counters of another limit say nothing about this one.
        count = await self._counters.take(redis_keys.rate(f"{what}:{limit}", whom), limit)
        if request.rate_limit is None or count.left < request.rate_limit.left or not count.taken:
            request.rate_limit = RateLimit(name, limit, count.left, count.reset if count.taken else count.wait)
        if not count.taken:
            raise Exhausted(f"Too many requests. Try again in {count.wait} seconds.", retry_after=count.wait)


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
            (b"ratelimit-policy", f'"{self.name}";q={self.limit};w={_WINDOW}'.encode("ascii")),
            (b"ratelimit", f'"{self.name}";r={self.left};t={self.seconds}'.encode("ascii")),
        ]


def _origin(address: str | None) -> str:
    """Whom an address stands for: an IPv4 address for itself, an IPv6 address for its /64."""
    if address is None:
        return "local"
    if ":" not in address:
        return address
    return IPv6Address(address).exploded[:19]


def _seconds(microseconds: int) -> int:
    return -(-microseconds // 1_000_000)
