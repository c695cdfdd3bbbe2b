"""Events between services, on a real Redis: nothing is lost, what is left behind is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from fastcms_common import events as events_module
from fastcms_common.cancelling import end
from fastcms_common.errors import Unavailable
from fastcms_common.events import EventStream
from fastcms_common.redis_connection import connect


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def consumed(stream: EventStream, handler, condition: Callable[[], bool]) -> None:
    task = asyncio.create_task(stream.consume(handler))
    try:
        await until(condition)
    finally:
        await end([task])


async def left(redis: Redis) -> set[str]:
    return {consumer["name"].decode() for consumer in await redis.xinfo_consumers("s", "s")}


async def nothing(_: object) -> None:
    """Takes events and does nothing with them."""


async def empty(redis: Redis, name: str) -> bool:
    return await redis.xlen(name) == 0


async def test_events_arrive_in_order_and_are_gone_afterwards(redis: Redis):
    stream = EventStream(redis, "s")
    for number in range(250):
        await stream.publish({"n": str(number)})
    seen: list[int] = []

    async def handler(events):
        seen.extend(int(fields[b"n"]) for _, fields in events)

    await consumed(stream, handler, lambda: len(seen) >= 250)
    assert seen == list(range(250))
    assert await redis.xlen("s") <= 100, "at most the batch in flight when the consumer was stopped"


async def test_what_a_handler_could_not_take_comes_again(redis: Redis):
    stream = EventStream(redis, "s")
    await stream.publish({"n": "1"})
    tries: list[str] = []

    async def handler(events):
        tries.append(events[0][0])
        if len(tries) < 3:
            raise Unavailable("The store is away.")

    await consumed(stream, handler, lambda: len(tries) >= 3)
    assert len(set(tries)) == 1


async def test_one_bad_event_does_not_hold_up_the_rest(redis: Redis):
    stream = EventStream(redis, "s")
    for number in range(10):
        await stream.publish({"n": str(number)})
    seen: list[int] = []

    async def handler(events):
        numbers = [int(fields[b"n"]) for _, fields in events]
        if 4 in numbers:
            raise ValueError("four")
        seen.extend(numbers)

    await consumed(stream, handler, lambda: len(seen) >= 9)
    assert seen == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert await redis.xlen("s") >= 1, "the bad one stays until it has been tried often enough"


async def test_an_event_that_is_never_taken_is_set_aside_not_dropped(redis: Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events_module, "_BLOCK_MS", 10)
    stream = EventStream(redis, "s", idle_ms=1)
    await stream.publish({"n": "bad"})
    tries = 0

    async def handler(events):
        nonlocal tries
        tries += 1
        raise ValueError("bad")

    task = asyncio.create_task(stream.consume(handler))
    async with asyncio.timeout(30):
        while not await redis.xlen("s:refused"):
            await asyncio.sleep(0.02)
    await end([task])
    assert tries >= 20
    ((_, fields),) = await redis.xrange("s:refused")
    assert fields == {b"n": b"bad"}


async def test_events_of_a_consumer_that_died_are_taken_over(redis: Redis):
    stream = EventStream(redis, "s", idle_ms=50)
    await stream.publish({"n": "1"})
    await redis.xgroup_create("s", "s", id="0")
    taken = await redis.xreadgroup("s", "dead", {"s": ">"})
    assert taken
    seen: list[bytes] = []

    async def handler(events):
        seen.extend(fields[b"n"] for _, fields in events)

    await consumed(stream, handler, lambda: bool(seen))
    assert seen == [b"1"]


async def test_consumers_that_are_gone_are_forgotten_once_they_have_nothing_left(redis: Redis):
    """With pending events, a consumer's removal would lose them."""
    await redis.xgroup_create("s", "s", id="0", mkstream=True)
    for name in ("idle", "holding"):
        await redis.xgroup_createconsumer("s", "s", name)
    await redis.xadd("s", {"n": "1"})
    assert await redis.xreadgroup("s", "holding", {"s": ">"})
    assert await left(redis) == {"idle", "holding"}
    stream = EventStream(redis, "s", gone_ms=3_600_000)
    await consumed(stream, nothing, lambda: stream._tidied > 0)
    assert {"idle", "holding"} <= await left(redis), "an hour is not over"
    again = EventStream(redis, "s", gone_ms=0)
    again._consumer = "again"
    task = asyncio.create_task(again.consume(nothing))
    async with asyncio.timeout(20):
        while await left(redis) != {"holding", "again"}:
            await asyncio.sleep(0.01)
    await end([task])
    # What the one that is gone held is still there to be taken over.
    assert (await redis.xpending("s", "s"))["pending"] == 1


async def test_a_consumer_that_was_forgotten_while_it_was_stopped_goes_on(redis: Redis):
    stream = EventStream(redis, "s")
    seen: list[bytes] = []

    async def handler(events):
        seen.extend(fields[b"n"] for _, fields in events)

    task = asyncio.create_task(stream.consume(handler))
    await stream.publish({"n": "1"})
    await until(lambda: len(seen) == 1)
    await redis.xgroup_delconsumer("s", "s", stream._consumer)
    await stream.publish({"n": "2"})
    await until(lambda: len(seen) == 2)
    await end([task])


async def test_two_consumers_share_the_work_without_doubling_it(redis: Redis):
    stream = EventStream(redis, "s")
    other = EventStream(redis, "s")
    other._consumer = "other"
    seen: list[int] = []

    async def handler(events):
        seen.extend(int(fields[b"n"]) for _, fields in events)
        await asyncio.sleep(0)

    tasks = [asyncio.create_task(one.consume(handler)) for one in (stream, other)]
    await asyncio.gather(*(stream.publish({"n": str(number)}) for number in range(500)))
    await until(lambda: len(seen) >= 500)
    await end(tasks)
    assert sorted(seen) == list(range(500))


async def test_a_group_that_went_with_its_data_is_made_again(redis: Redis):
    stream = EventStream(redis, "s")
    seen: list[bytes] = []

    async def handler(events):
        seen.extend(fields[b"n"] for _, fields in events)

    task = asyncio.create_task(stream.consume(handler))
    await stream.publish({"n": "1"})
    await until(lambda: len(seen) == 1)
    await redis.flushdb()
    await stream.publish({"n": "2"})
    await until(lambda: len(seen) == 2)
    await end([task])
    assert seen == [b"1", b"2"]
