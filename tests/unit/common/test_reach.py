"""How long calls wait for a service that is away."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from fastcms_common import reach
from fastcms_common.reach import Reach

READY, GONE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE


class Channel:
    """A channel in whatever state the test says."""

    def __init__(self, state: grpc.ChannelConnectivity = GONE) -> None:
        self.state = state
        self.streams_up = 0
        self.looks = 0

    def get_state(self, *, try_to_connect: bool) -> grpc.ChannelConnectivity:
        # Else a channel that was idle would stay so.
        assert try_to_connect
        self.looks += 1
        return self.state


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def service(channel: Any) -> Reach:
    return Reach(channel)


async def test_nobody_waits_for_what_is_there(channel: Channel, service: Reach):
    channel.state = READY
    await at_once(service)
    assert channel.looks == 1


async def test_a_call_waits_until_the_service_is_back(channel: Channel, service: Reach):
    waiting = asyncio.create_task(service.wait())
    assert not (await asyncio.wait([waiting], timeout=0.1))[0]
    channel.state = READY
    await soon(waiting)


async def test_many_wait_and_one_looks(channel: Channel, service: Reach, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reach, "PATIENCE", 0.1)
    await asyncio.gather(*(service.wait() for _ in range(1_000)))
    # Each once by itself, and one of them a hundred times a second.
    assert channel.looks < 1_050


async def test_who_gives_up_waiting_takes_nobody_along(channel: Channel, service: Reach):
    first, second = asyncio.create_task(service.wait()), asyncio.create_task(service.wait())
    await asyncio.wait([first, second], timeout=0.05)
    first.cancel()
    channel.state = READY
    await soon(second)
    assert first.cancelled()


async def test_nobody_waits_for_what_has_long_been_away(
    channel: Channel, service: Reach, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reach, "PATIENCE", 0.05)
    await soon(asyncio.create_task(service.wait()))
    monkeypatch.setattr(reach, "PATIENCE", 60)
    await at_once(service)
    # Once it has been back, what comes next is another outage.
    channel.state = READY
    await at_once(service)
    channel.state = GONE
    waiting = asyncio.create_task(service.wait())
    assert not (await asyncio.wait([waiting], timeout=0.1))[0]
    channel.state = READY
    await soon(waiting)


async def test_outages_that_follow_each_other_are_each_waited_for(channel: Channel, service: Reach):
    for _ in range(3):
        channel.state = GONE
        waiting = [asyncio.create_task(service.wait()) for _ in range(3)]
        assert not (await asyncio.wait(waiting, timeout=0.03))[0]
        channel.state = READY
        # Those who come just now do not disturb the one who looks.
        await at_once(service)
        await soon(*waiting)


async def test_a_stream_is_enough_for_calls_that_take_one(channel: Channel, service: Reach):
    channel.streams_up = 1
    await at_once(service)
    waiting = asyncio.create_task(service.wait(plain=True))
    assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    channel.state = READY
    await soon(waiting)


async def test_a_closed_channel_is_not_waited_for(channel: Channel, service: Reach):
    channel.state = grpc.ChannelConnectivity.SHUTDOWN
    await at_once(service)


async def at_once(service: Reach) -> None:
    """Waits for nothing at all: a coroutine that ends with its first step."""
    with pytest.raises(StopIteration):
        service.wait().send(None)


async def soon(*waiting: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
