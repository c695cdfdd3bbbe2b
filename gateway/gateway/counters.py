"""Counters of requests in Redis, which all workers share, and the portions that a worker takes of them in advance.

The algorithm is GCRA (ITU-T I.371): the whole minute's worth may come at once, and then comes back evenly. It keeps one
number for each counter: when nothing will be used up any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.asyncio import Redis

from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import redis_errors

WINDOW: Final = 60
"""Seconds in which a limit's worth comes back."""

# Seconds that a count may take. A Redis that hangs must not make everything hang that could do without it.
_PATIENCE: Final = 0.5
# A portion is at most this part of the limit, and at most so many calls.
_PORTION: Final = 50
_MOST: Final = 256
# Seconds after which what is left of a portion goes back.
_KEEP: Final = 1.0

# KEYS: the counters. ARGV: of each its limit, its window in microseconds, how many calls are to be taken, and how many
# more in advance, which needs half of the limit to be there. Gives for each: how many were taken, how many more would
# be, microseconds until all are there again, and until one is.
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {}
for i, key in ipairs(KEYS) do
    local limit, window = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
    local interval = window / limit
    local free = math.max(tonumber(redis.call('GET', key) or 0), now)
    local there = math.floor((window - (free - now) + 0.5) / interval)
    local wanted = tonumber(ARGV[4 * i - 1])
    if there > limit / 2 then
        wanted = wanted + tonumber(ARGV[4 * i])
    end
    local taken = math.min(wanted, there)
    if taken > 0 then
        free = free + taken * interval
        redis.call('SET', key, string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000))
    end
    local left = math.max(math.floor((window - (free - now)) / interval + 0.000001), 0)
    local wait = math.max(free + interval - window - now, 0)
    answer[#answer + 1] = taken
    answer[#answer + 1] = left
    answer[#answer + 1] = math.ceil(free - now)
    answer[#answer + 1] = math.ceil(wait)
end
return answer
"""

# KEYS: the counters. ARGV: of each its limit, its window in microseconds, and how many calls go back.
_GIVE_BACK: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
for i, key in ipairs(KEYS) do
    local interval = tonumber(ARGV[3 * i - 1]) / tonumber(ARGV[3 * i - 2])
    local free = tonumber(redis.call('GET', key) or 0) - tonumber(ARGV[3 * i]) * interval
    if free > now then
        redis.call('SET', key, string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000))
    else
        redis.call('DEL', key)
    end
end
"""


@dataclass(frozen=True, slots=True)
class Count:
    """What a counter says after a call: how many were taken, how many are left, and seconds until all are there again,
    and until one is."""

    taken: int
    left: int
    reset: int
    wait: int


class Counters:
    """The counters in Redis. Calls of one turn of the event loop share one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._asked: list[tuple[str, tuple[int, ...], asyncio.Future[Count]]] = []
        # The event loop does not keep a task alive by itself.
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, key: str, limit: int, calls: int = 1, in_advance: int = 0) -> asyncio.Future[Count]:
        """Takes as many of `calls` as there are; those in advance too while more than half of the limit is there.

        `limit` is by the minute. Raises Unavailable.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Count] = loop.create_future()
        self._asked.append((key, (limit, WINDOW * 1_000_000, calls, in_advance), answer))
        return answer

    async def give_back(self, unused: list[tuple[str, int, int]]) -> None:
        """Puts back what was taken in advance: key, limit and calls of each. Without Redis it is lost, until time gives
        it back."""
        arguments = [number for _, limit, calls in unused for number in (limit, WINDOW * 1_000_000, calls)]
        try:
            with redis_errors():
                async with asyncio.timeout(_PATIENCE):
                    await self._give_back(keys=[key for key, _, _ in unused], args=arguments)
        except (TimeoutError, Unavailable):
            return

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._answer())
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self) -> None:
        asked, self._asked = self._asked, []
        arguments = [number for _, numbers, _ in asked for number in numbers]
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
                answer.set_result(Count(taken, left, _seconds(reset), _seconds(wait)))


class Portions:
    """Counters of which this worker takes more than one call at a time, for callers who call often.

    A portion grows while it is used up within a second, to a fiftieth of the limit; what is not used of it goes back
    after a second or two. Below half of the limit every call is counted by itself. So the workers together never take
    more than the limit, and refuse at most a fiftieth of it too early, for each other worker and that long.
    """

    def __init__(self, redis: Redis) -> None:
        self._counters = Counters(redis)
        self._portions: dict[str, _Portion] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._working: set[asyncio.Task[None]] = set()

    def at_hand(self, key: str) -> Count | None:
        """Takes a call of what this worker has in advance; None where it has nothing."""
        portion = self._portions.get(key)
        if portion is None or not portion.calls:
            return None
        portion.calls -= 1
        return Count(1, portion.left + portion.calls, portion.reset, 0)

    async def take(self, key: str, limit: int) -> Count:
        """Takes a call. Raises Unavailable."""
        portion = self._portions.get(key)
        if portion is None:
            portion = self._portions[key] = _Portion(limit)
            self._sweep_later()
        answer: asyncio.Future[Count] = asyncio.get_running_loop().create_future()
        portion.waiting.append(answer)
        if len(portion.waiting) == 1:
            self._work(self._fetch(key, portion))
        return await answer

    async def _fetch(self, key: str, portion: _Portion) -> None:
        """Asks for as many calls as wait, until none does; at first for those of one turn of the loop."""
        while portion.waiting:
            wanted = len(portion.waiting)
            try:
                count = await self._counters.take(key, portion.limit, wanted, portion.size)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are to hear it
                portion.fail(error)
                return
            portion.deal(count, wanted)

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_KEEP, self._sweep)

    def _sweep(self) -> None:
        """Takes from those who have not called lately what they have not used."""
        self._sweeping = None
        idle = [key for key, portion in self._portions.items() if not (portion.fresh or portion.waiting)]
        for portion in self._portions.values():
            portion.fresh = False
        if unused := self._drop(idle):
            self._work(self._counters.give_back(unused))
        if self._portions:
            self._sweep_later()

    async def close(self) -> None:
        """Gives back all that was not used."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if unused := self._drop(list(self._portions)):
            await self._counters.give_back(unused)

    def _drop(self, keys: list[str]) -> list[tuple[str, int, int]]:
        """Forgets these portions. Returns what there was left, for `Counters.give_back`."""
        dropped = [(key, self._portions.pop(key)) for key in keys]
        return [(key, portion.limit, portion.calls) for key, portion in dropped if portion.calls]

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


class _Portion:
    """What a worker has of one counter: `calls` in advance; `left` are in Redis; `waiting` are those who want one."""

    __slots__ = ("calls", "fresh", "left", "limit", "reset", "size", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls = 0
        self.left = 0
        self.reset = 0
        # How many to take in advance the next time.
        self.size = 0
        # Whether it was filled since the last sweep.
        self.fresh = True
        self.waiting: deque[asyncio.Future[Count]] = deque()

    def deal(self, count: Count, wanted: int) -> None:
        """Gives what was taken to those who wait, of whom the first `wanted` were asked for."""
        self.left, self.reset = count.left, count.reset
        self.fresh = True
        self.size = min(max(2 * self.size, 1), self.limit // _PORTION, _MOST)
        self.calls += count.taken
        while self.waiting and self.calls:
            self.calls -= 1
            self._tell(Count(1, self.left + self.calls, self.reset, 0))
        refused = replace(count, taken=0)
        for _ in range(min(wanted - count.taken, len(self.waiting))):
            self._tell(refused)

    def fail(self, error: Exception) -> None:
        """Tells everyone who waits that there is no answer."""
        while self.waiting:
            answer = self.waiting.popleft()
            if not answer.done():
                answer.set_exception(error)

    def _tell(self, count: Count) -> None:
        answer = self.waiting.popleft()
        if not answer.done():
            answer.set_result(count)


def _seconds(microseconds: int) -> int:
    return -(-microseconds // 1_000_000)
