"""Calls that a worker takes in advance for those who call often: cheap, and still counted as one with all workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from redis.asyncio import Redis

from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import connect
from gateway.counters import Count, Counters, Portions

KEY = "{rate}:x"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def portions(redis: Redis) -> AsyncIterator[Portions]:
    made = Portions(redis)
    yield made
    await made.close()


async def take(portions: Portions, limit: int) -> Count:
    """What the gateway does for each request."""
    return portions.at_hand(KEY) or await portions.take(KEY, limit)


async def test_who_calls_often_is_seldom_asked_about(redis: Redis, portions: Portions):
    await redis.config_resetstat()
    for _ in range(1_000):
        assert (await take(portions, 100_000)).taken
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] < 20


async def test_each_call_leaves_one_less(portions: Portions):
    left = [(await take(portions, 1_000)).left for _ in range(300)]
    assert all(0 <= earlier - later <= 1 for earlier, later in pairwise(left))
    assert 690 <= left[-1] <= 710


async def test_all_workers_together_take_the_limit_and_no_more(redis: Redis):
    workers = [Portions(redis) for _ in range(4)]
    taken = 0
    for _ in range(10):
        counts = await asyncio.gather(*(take(workers[number % 4], 200) for number in range(40)))
        taken += sum(count.taken for count in counts)
    for worker in workers:
        await worker.close()
    # What comes back in the meantime may be taken too.
    assert 200 <= taken <= 203


async def test_a_small_limit_is_never_taken_in_advance(portions: Portions):
    for _ in range(5):
        await take(portions, 10)
        assert portions.at_hand(KEY) is None


async def test_below_half_of_the_limit_every_call_is_counted_by_itself(redis: Redis, portions: Portions):
    await Counters(redis).take(KEY, 1_000, 600)
    for _ in range(50):
        await portions.take(KEY, 1_000)
        assert portions.at_hand(KEY) is None


async def used(redis: Redis, since: int) -> float:
    """How many calls of 6000 a minute Redis takes for used since it had the number `since`."""
    return (int(await redis.get(KEY) or 0) - since) / 10_000


async def test_what_is_not_used_goes_back(redis: Redis, portions: Portions):
    await Counters(redis).take(KEY, 6_000, 2_000)
    since = int(await redis.get(KEY))
    for _ in range(45):
        await take(portions, 6_000)
    assert await used(redis, since) > 45 + 5
    async with asyncio.timeout(5):
        while await used(redis, since) > 45.5:
            await asyncio.sleep(0.05)
    assert portions.at_hand(KEY) is None


async def test_a_worker_that_ends_gives_back_what_it_has(redis: Redis):
    portions = Portions(redis)
    await Counters(redis).take(KEY, 6_000, 2_000)
    since = int(await redis.get(KEY))
    for _ in range(45):
        await take(portions, 6_000)
    await portions.close()
    assert 44.5 < await used(redis, since) < 45.5


async def test_refused_callers_who_came_together_are_all_told(portions: Portions):
    counts = await asyncio.gather(*(portions.take(KEY, 5) for _ in range(12)))
    assert [count.taken for count in counts] == [1] * 5 + [0] * 7
    assert {count.wait for count in counts[5:]} == {12}


async def test_a_caller_who_goes_away_keeps_nobody_waiting(portions: Portions):
    tasks = [asyncio.create_task(portions.take(KEY, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    counts = await asyncio.gather(*tasks[1:])
    assert all(count.taken for count in counts)


async def test_without_redis_everyone_who_waits_hears_of_it():
    redis = connect("redis://127.0.0.1:1/0", retry=None)
    portions = Portions(redis)
    answers = await asyncio.gather(*(portions.take(KEY, 100) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    await portions.close()
    await redis.aclose()
