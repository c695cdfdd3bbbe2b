"""IP rules as a gateway worker knows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.address_rules import AddressRule, encode
from fastcms_common.cancelling import end
from fastcms_common.errors import Denied, Unavailable
from fastcms_common.redis_connection import connect
from gateway.ip_rules import IpRules
from gateway.requests import Request
from tests.redis_process import RedisProcess

SPAM = AddressRule("192.0.2.0/24", "block", "spam")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


def request(client: str | None, path: str = "/api/v1/auth/me") -> Request:
    async def receive() -> dict[str, str]:
        return {}

    made = Request({"method": "GET", "path": path, "query_string": b"", "headers": []}, receive)
    made.client = client
    return made


async def publish(redis: Redis, *rules: AddressRule) -> None:
    """What admin-service does, in short."""
    await redis.delete(redis_keys.IP_RULES)
    for number, rule in enumerate(rules):
        await redis.hset(redis_keys.IP_RULES, str(number), encode(rule))
    version = await redis.incr(redis_keys.IP_RULES_VERSION)
    await redis.publish(redis_keys.IP_RULES_CHANGED, version)


def blocked(rules: IpRules, address: str) -> bool:
    try:
        rules.admit(request(address))
    except Denied:
        return True
    return False


async def until(condition: Callable[[], bool], within: float = 1.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(rules: IpRules) -> AsyncIterator[None]:
    task = asyncio.create_task(rules.watch())
    try:
        yield
    finally:
        await end([task])


async def test_a_refusal_says_why(redis: Redis):
    await publish(redis, SPAM)
    rules = IpRules(redis)
    await rules.prepare()
    with pytest.raises(Denied) as caught:
        rules.admit(request("192.0.2.1"))
    assert (caught.value.detail, caught.value.reason) == ("Access denied: spam", "ADDRESS_BLOCKED")
    rules.admit(request("192.0.3.1"))


async def test_health_is_open_to_everyone_and_nothing_else_is(redis: Redis):
    await publish(redis, SPAM)
    rules = IpRules(redis)
    await rules.prepare()
    rules.admit(request("192.0.2.1", "/health"))
    for path in ("/health/ready", "/health/", "//health", "/docs", "/"):
        with pytest.raises(Denied):
            rules.admit(request("192.0.2.1", path))


async def test_a_change_is_in_force_within_a_second(redis: Redis):
    await publish(redis)
    rules = IpRules(redis)
    await rules.prepare()
    async with watching(rules):
        assert not blocked(rules, "192.0.2.1")
        await publish(redis, SPAM)
        await until(lambda: blocked(rules, "192.0.2.1"))
        await publish(redis)
        await until(lambda: not blocked(rules, "192.0.2.1"))


async def test_a_change_that_was_not_heard_of_is_found(redis: Redis):
    await publish(redis)
    rules = IpRules(redis)
    await rules.prepare()
    async with watching(rules):
        await redis.hset(redis_keys.IP_RULES, "1", encode(SPAM))
        await redis.incr(redis_keys.IP_RULES_VERSION)
        await until(lambda: blocked(rules, "192.0.2.1"))


async def test_what_redis_lost_stays_in_force(redis: Redis):
    await publish(redis, SPAM)
    rules = IpRules(redis)
    async with watching(rules):
        await until(lambda: rules._version is not None)
        await redis.flushdb()
        # The next change is heard of, so the loss was seen before it.
        await redis.publish(redis_keys.IP_RULES_CHANGED, "lost")
        for _ in range(20):
            assert blocked(rules, "192.0.2.1")
            await asyncio.sleep(0.03)


async def test_rules_outlive_a_redis_that_is_away(redis_server: RedisProcess):
    redis = connect(redis_server.url)
    await redis.flushdb()
    await publish(redis, SPAM)
    rules = IpRules(redis)
    await rules.prepare()
    async with watching(rules):
        redis_server.kill()
        try:
            assert blocked(rules, "192.0.2.1")
            rules.admit(request("192.0.3.1"))
        finally:
            redis_server.start()
        await publish(redis, AddressRule("198.51.100.0/24", "block"))
        await until(lambda: blocked(rules, "198.51.100.1"), within=10)
    await redis.aclose()


async def test_a_worker_that_starts_after_redis_has_lost_the_rules_lets_nobody_in_until_they_are_back(redis: Redis):
    await publish(redis, SPAM)
    await redis.flushdb()
    rules = IpRules(redis)
    await rules.prepare()
    async with watching(rules):
        for address in ("192.0.2.1", "192.0.3.1"):
            with pytest.raises(Unavailable):
                rules.admit(request(address))
        with pytest.raises(Unavailable):
            await rules.known()
        rules.admit(request("192.0.2.1", "/health/ready"))
        await publish(redis, SPAM)
        await until(lambda: rules._version is not None and rules._rules is not None)
        await rules.known()
        assert blocked(rules, "192.0.2.1")
        rules.admit(request("192.0.3.1"))


async def test_no_rules_at_all_are_rules_that_are_known(redis: Redis):
    await publish(redis)
    rules = IpRules(redis)
    await rules.prepare()
    rules.admit(request("192.0.2.1"))


async def test_a_worker_that_has_never_seen_the_rules_lets_nobody_in():
    redis = connect("redis://127.0.0.1:1/0", retry=None)
    rules = IpRules(redis)
    await rules.prepare()
    with pytest.raises(Unavailable):
        rules.admit(request("192.0.2.1"))
    rules.admit(request("192.0.2.1", "/health"))
    await redis.aclose()


async def test_a_client_without_an_address_is_the_operators_own(redis: Redis):
    await publish(redis, AddressRule("192.0.2.0/24", "allow"))
    rules = IpRules(redis)
    await rules.prepare()
    rules.admit(request(None))
