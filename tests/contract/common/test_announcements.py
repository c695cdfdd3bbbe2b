"""What is announced is heard, and what may have been missed is known, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fastcms_common.announcements import SILENCE, Announcements
from fastcms_common.cancelling import end
from fastcms_common.redis_connection import connect
from tests.redis_process import RedisProcess


class Lines:
    """What is said in the place of a log."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str, **_: object) -> None:
        self.said.append(text)

    info = warning


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def test_an_outage_is_noticed_said_once_and_so_is_its_end(
    redis_url: str, redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
):
    lines = Lines()
    monkeypatch.setattr("fastcms_common.announcements.log", lines)
    client = connect(redis_url)
    changed: list[str] = []
    losses: list[int] = []
    announcements = Announcements(client, "changes", changed.append, lambda: losses.append(1))
    assert not announcements.heard
    task = asyncio.create_task(announcements.watch())
    for outage in (1, 2):
        await until(lambda: announcements.heard)
        await client.publish("changes", f"ä{outage}")
        await until(lambda: changed[-1:] == [f"ä{outage}"])  # noqa: B023 - it is over before the next round
        before = len(losses)
        redis_server.kill()
        try:
            # Tried and lost again several times.
            await until(lambda: len(losses) >= before + 3)  # noqa: B023
            assert not announcements.heard
        finally:
            redis_server.start()
        await until(lambda: announcements.heard)
        assert lines.said == ["announcements lost", "announcements heard again"] * outage
    await end([task])
    await client.aclose()


async def test_an_announcement_is_made_when_all_have_taken_note(redis_url: str):
    client = connect(redis_url)
    heard: list[tuple[int, str]] = []
    several = [
        Announcements(client, "news", lambda text, number=number: heard.append((number, text)), heard.clear)
        for number in range(5)
    ]
    tasks = [asyncio.create_task(one.watch()) for one in several]
    await until(lambda: all(one.heard for one in several))
    for round in range(20):
        heard.clear()
        await several[round % 5].announce(f"change{round}")
        assert sorted(heard) == [(number, f"change{round}") for number in range(5)]
    assert [key async for key in client.scan_iter("heard:*")] == []
    await end(tasks)
    # Nobody listens.
    await several[0].announce("unheard")
    await client.aclose()


async def test_one_that_does_not_answer_is_waited_for_until_it_relies_on_nothing(redis_url: str):
    client, now = connect(redis_url), 0.0
    heard: list[str] = []
    hears = Announcements(client, "news", heard.append, heard.clear)
    task = asyncio.create_task(hears.watch())
    await until(lambda: hears.heard)
    async with client.pubsub() as deaf:
        await deaf.subscribe("news")
        announcer = Announcements(client, "news", heard.append, heard.clear, lambda: now)
        call = asyncio.create_task(announcer.announce("change"))
        await until(lambda: heard == ["change"])
        assert not call.done()
        now = SILENCE
        await call
    await end([task])
    await client.aclose()


async def test_what_was_learnt_before_the_channel_was_open_is_forgotten(redis_url: str):
    """Nobody would have told of its change: neither at the start, nor between two connections."""
    client = connect(redis_url)
    losses: list[int] = []
    announcements = Announcements(client, "news", lambda text: None, lambda: losses.append(1))
    task = asyncio.create_task(announcements.watch())
    for _ in range(3):
        before = len(losses)
        await until(lambda: announcements.heard)
        assert losses
        await client.client_kill_filter(_type="pubsub")
        await until(lambda: len(losses) > before)  # noqa: B023 - it is over before the next round
    await end([task])
    await client.aclose()
