"""The memory of live sessions never outlives a session, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from fastcms_common.announcements import SILENCE
from fastcms_common.cancelling import end
from fastcms_common.errors import Unauthenticated, Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.sessions import SessionGuard


class Clock:
    """The real clock, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    await client.hset("session:s1", mapping={"user": "u1"})
    yield client
    await client.aclose()


async def watching(guard: SessionGuard) -> asyncio.Task[None]:
    task = asyncio.create_task(guard.watch())
    async with asyncio.timeout(10):
        while not guard._announcements.heard:
            await asyncio.sleep(0.01)
    return task


async def stopped(task: asyncio.Task[None]) -> None:
    await end([task])


async def asked(redis: Redis) -> int:
    return int((await redis.info("commandstats"))["cmdstat_exists"]["calls"])


async def test_a_live_session_is_asked_for_once(redis: Redis):
    guard = SessionGuard(redis)
    task = await watching(guard)
    await guard.check("s1")
    before = await asked(redis)
    for _ in range(100):
        await guard.check("s1")
    assert await asked(redis) == before
    await stopped(task)


async def test_the_questions_of_one_turn_share_a_round_trip(redis: Redis):
    guard = SessionGuard(redis)
    results = await asyncio.gather(*(guard.check(sid) for sid in ["s1", "s2"] * 50), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Unauthenticated] * 50


async def test_without_the_subscription_redis_is_asked_every_time(redis: Redis):
    guard = SessionGuard(redis)
    await guard.check("s1")
    await redis.delete("session:s1")
    with pytest.raises(Unauthenticated):
        await guard.check("s1")


async def test_a_silent_subscription_is_not_trusted(redis: Redis):
    clock = Clock()
    guard = SessionGuard(redis, clock)
    task = await watching(guard)
    await guard.check("s1")
    # The announcement is lost: the key goes, and the listener hears nothing any more.
    await stopped(task)
    await redis.delete("session:s1")
    clock.ahead = SILENCE
    with pytest.raises(Unauthenticated):
        await guard.check("s1")


async def test_a_check_that_raced_with_the_end_of_a_session_is_not_remembered(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    guard = SessionGuard(redis)
    task = await watching(guard)
    execute = Pipeline.execute

    async def execute_and_end(pipe: Pipeline, *arguments):
        answer = await execute(pipe, *arguments)
        # The answer "alive" is on its way while the end is announced.
        guard.forget("s1")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "execute", execute_and_end)
        await guard.check("s1")
    await redis.delete("session:s1")
    with pytest.raises(Unauthenticated):
        await guard.check("s1")
    await stopped(task)


async def test_one_caller_that_gives_up_does_not_disturb_the_others(redis: Redis):
    guard = SessionGuard(redis)
    impatient = asyncio.create_task(guard.check("s1"))
    patient = asyncio.create_task(guard.check("s1"))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_an_ended_session_is_forgotten_everywhere_within_100_milliseconds(redis: Redis):
    guards = [SessionGuard(redis) for _ in range(5)]
    tasks = [await watching(guard) for guard in guards]
    for guard in guards:
        await guard.check("s1")
    await redis.delete("session:s1")
    await redis.publish("session-revoked", "s1")
    ended = time.monotonic()
    while any("s1" in guard._alive for guard in guards):
        await asyncio.sleep(0.001)
    assert time.monotonic() - ended < 0.1
    for task in tasks:
        await stopped(task)


async def test_with_redis_away_nobody_is_let_in():
    guard = SessionGuard(connect("redis://127.0.0.1:1/0"))
    with pytest.raises(Unavailable):
        await guard.check("s1")
