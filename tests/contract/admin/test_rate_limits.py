"""Counting in Redis, as gateway workers do it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.context import Caller
from fastcms_common.errors import Exhausted, Unavailable
from fastcms_common.redis_connection import connect
from gateway.config import Settings
from gateway.counters import Counters
from gateway.rate_limits import RateLimits
from gateway.requests import Request
from tests.redis_process import RedisProcess

ADA = Caller("ada", "user")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


def request(client: str | None = "192.0.2.1") -> Request:
    async def receive() -> dict[str, str]:
        return {}

    made = Request({"method": "GET", "path": "/", "query_string": b"", "headers": []}, receive)
    made.client = client
    return made


def limits(redis: Redis, credentials: int = 10, requests: int = 600) -> RateLimits:
    settings = Settings(rate_limit_credentials_per_minute=credentials, rate_limit_requests_per_minute=requests)
    return RateLimits(redis, settings)


async def test_a_minutes_worth_may_come_at_once_and_not_one_more(redis: Redis):
    counters = Counters(redis)
    counts = [await counters.take("{rate}:x", 10) for _ in range(11)]
    assert [count.taken for count in counts] == [True] * 10 + [False]
    assert [count.left for count in counts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert counts[-1].wait == 6
    assert 55 <= counts[9].reset <= 60


async def test_what_was_refused_does_not_count(redis: Redis):
    counters = Counters(redis)
    for _ in range(10):
        await counters.take("{rate}:x", 10)
    refused = [await counters.take("{rate}:x", 10) for _ in range(50)]
    assert {count.wait for count in refused} == {6}


async def test_time_gives_back(redis: Redis):
    """A call of 60000 a minute is a millisecond's worth."""
    counters = Counters(redis)
    await asyncio.gather(*(counters.take("{rate}:x", 60_000) for _ in range(2_000)))
    before = (await counters.take("{rate}:x", 60_000)).left
    async with asyncio.timeout(5):
        while (await counters.take("{rate}:x", 60_000)).left < before + 20:
            await asyncio.sleep(0.05)


async def test_a_counter_goes_when_it_has_nothing_to_say(redis: Redis):
    await Counters(redis).take("{rate}:x", 10)
    assert 5_000 < await redis.pttl("{rate}:x") <= 6_000


async def test_of_two_hundred_calls_at_once_by_four_workers_a_hundred_are_taken(redis: Redis):
    workers = [Counters(redis) for _ in range(4)]
    counts = await asyncio.gather(*(workers[number % 4].take("{rate}:x", 100) for number in range(200)))
    assert sum(count.taken for count in counts) == 100


async def test_a_callers_answers_say_what_is_left(redis: Redis):
    asked = request()
    await limits(redis, requests=600).by_caller(asked, ADA)
    assert asked.rate_limit is not None
    assert dict(asked.rate_limit.headers()) == {
        b"ratelimit-policy": b'"requests";q=600;w=60',
        b"ratelimit": b'"requests";r=599;t=1',
    }


async def test_callers_are_counted_apart_wherever_they_are(redis: Redis):
    counted = limits(redis, requests=1)
    await counted.by_caller(request("192.0.2.1"), ADA)
    await counted.by_caller(request("192.0.2.1"), Caller("grace", "user"))
    await counted.by_caller(request("192.0.2.1"), None)
    await counted.by_caller(request("192.0.2.2"), None)
    with pytest.raises(Exhausted) as caught:
        await counted.by_caller(request("192.0.2.3"), ADA)
    assert caught.value.retry_after == 60
    assert caught.value.detail == "Too many requests. Try again in 60 seconds."


async def test_credentials_are_counted_by_address_and_by_account(redis: Redis):
    counted = limits(redis, credentials=2)
    for number in range(2):
        await counted.by_address(request("192.0.2.1"), "Login")
        await counted.by_account(request(f"192.0.2.{number}"), "Login", ["ada@example.com"])
    with pytest.raises(Exhausted):
        await counted.by_address(request("192.0.2.1"), "Login")
    with pytest.raises(Exhausted):
        await counted.by_account(request("192.0.2.9"), "Login", ["ada@example.com"])
    await counted.by_address(request("192.0.2.1"), "Register")
    await counted.by_account(request("192.0.2.9"), "Login", ["grace@example.com"])


async def test_an_ipv6_network_counts_as_one_address(redis: Redis):
    counted = limits(redis, credentials=1)
    await counted.by_address(request("2001:db8:0:1::1"), "Login")
    with pytest.raises(Exhausted):
        await counted.by_address(request("2001:db8:0:1:ffff::2"), "Login")
    await counted.by_address(request("2001:db8:0:2::1"), "Login")


async def test_no_key_names_a_person(redis: Redis):
    await limits(redis).by_account(request(), "Login", ["ada@example.com"])
    assert not [key for key in await redis.keys("*") if b"ada" in key]


async def test_the_closest_limit_is_the_one_that_is_told(redis: Redis):
    counted = limits(redis, credentials=10)
    await counted.by_account(request("192.0.2.2"), "Login", ["ada@example.com"])
    asked = request("192.0.2.1")
    await counted.by_account(asked, "Login", ["ada@example.com"])
    await counted.by_address(asked, "Login")
    assert asked.rate_limit is not None
    assert asked.rate_limit.left == 8


async def test_new_settings_count_at_once(redis: Redis):
    counted = limits(redis, requests=1)
    await counted.by_caller(request(), ADA)
    counted.change({"enabled": True, "credentials_per_minute": 10, "requests_per_minute": 5})
    await counted.by_caller(request(), ADA)
    counted.change({"enabled": True, "credentials_per_minute": 10, "requests_per_minute": 1})
    with pytest.raises(Exhausted):
        await counted.by_caller(request(), ADA)
    counted.change({"enabled": False, "credentials_per_minute": 1, "requests_per_minute": 1})
    await counted.by_caller(request(), ADA)


async def test_without_redis_credentials_are_refused_and_the_rest_goes_on():
    redis = connect("redis://127.0.0.1:1/0", retry=None)
    counted = limits(redis)
    await counted.by_caller(request(), ADA)
    await counted.by_caller(request(), None)
    for take in (
        lambda: counted.by_address(request(), "Login"),
        lambda: counted.by_account(request(), "Login", ["ada@example.com"]),
    ):
        with pytest.raises(Unavailable):
            await take()
    await redis.aclose()


async def test_a_redis_that_hangs_holds_nobody_up(redis_server: RedisProcess):
    redis = connect(redis_server.url)
    counted = limits(redis)
    await counted.by_caller(request(), ADA)
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(1.5):
            for _ in range(20):
                await counted.by_caller(request(), ADA)
        with pytest.raises(Unavailable):
            await counted.by_address(request(), "Login")
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    await redis.aclose()


def test_all_counters_are_in_one_slot_of_a_cluster():
    assert redis_keys.rate("requests", "x").startswith("{rate}:")
