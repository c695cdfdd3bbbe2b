"""Callers that give up, run out of time and lose their server, all at once: nobody gets another's answer, or none."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from fastcms_common.multiplex import frames
from tests.contract.multiplex.server import Server, Wishes, connected, rpc, until

CALLERS = 60
CALLS = 40
# CANCELLED is what a plain call ends with on a server that stops without grace.
FAILURES = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Outcomes:
    """What became of the calls. Each caller makes `each` of them, unless it is `enough`."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.count: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.enough = False


async def caller(channel: grpc.aio.Channel, number: int, chance: random.Random, outcomes: Outcomes) -> None:
    turn = 0
    while not outcomes.enough and turn < outcomes.each:
        turn += 1
        name = f"{number}.{turn}:"
        size = chance.choice([0, 0, 10, 3 * frames.PART])
        hang = chance.random() < 0.1
        call = rpc(channel)(Wishes(say=name, size=size, hang=hang), timeout=chance.choice([0.01, 0.05, 20]))
        if hang or chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.random() * 0.02, call.cancel)
        try:
            answer = await call
        except asyncio.CancelledError:
            outcomes.count["cancelled"] += 1
        except grpc.aio.AioRpcError as error:
            outcomes.count[error.code().name] += 1
            if error.code() not in FAILURES:
                outcomes.wrong.append(error)
        else:
            outcomes.count["answered"] += 1
            if answer != name + "x" * size:
                outcomes.wrong.append((name, answer[:20]))


@pytest.mark.parametrize("seed", range(3))
def test_every_call_ends_once_and_as_its_own(seed: int):
    async def race() -> None:
        server = await Server(calls_at_once=50).start()
        channel = await connected(server.target)
        outcomes = Outcomes(CALLS)
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(caller(channel, n, random.Random(seed * 1000 + n), outcomes) for n in range(CALLERS))
            )
        assert outcomes.wrong == []
        assert sum(outcomes.count.values()) == CALLERS * CALLS
        assert outcomes.count["answered"] > CALLERS * CALLS / 3
        assert outcomes.count["cancelled"] > 0
        assert outcomes.count["DEADLINE_EXCEEDED"] > 0
        assert outcomes.count["UNAVAILABLE"] + outcomes.count["CANCELLED"] == 0
        await server.until(running=0)
        (stream,) = channel._lanes._streams
        assert stream.load == 0
        assert server.service.peak <= 51
        await channel.close()
        await server.stop()

    run(race())


def test_calls_survive_servers_that_come_and_go():
    async def race() -> None:
        server = await Server(calls_at_once=50).start()
        channel = await connected(server.target)
        outcomes = Outcomes(1_000_000)
        calling = asyncio.gather(*(caller(channel, n, random.Random(n), outcomes) for n in range(CALLERS)))
        for number in range(4):
            answered = outcomes.count["answered"]
            await until(lambda: outcomes.count["answered"] > answered + 200)  # noqa: B023
            if number % 2:
                await server.drain(grace=5)
            else:
                await server.stop()
            server = await Server(port=server.port, calls_at_once=50).start()
            await until(lambda: channel.streams_up == 1)
        outcomes.enough = True
        # Sooner than at their deadlines: none was left with a server that is gone.
        async with asyncio.timeout(10):
            await calling
        assert outcomes.wrong == []
        assert outcomes.count["UNAVAILABLE"] > 0
        assert await rpc(channel)(Wishes(say="still here"), timeout=10) == "still here"
        await server.until(running=0)
        await channel.close()
        await server.stop()

    run(race())


def run(race: Any) -> None:
    """On the loop of production; whatever a call leaves behind when it is over fails the test."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        complaints: list[dict[str, Any]] = []
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        runner.run(race)
        assert complaints == []
