"""Whatever a call asks for and whatever its handler does, a call on a stream ends as a plain gRPC call does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcms_common.channels import open_raw_channel
from fastcms_common.multiplex import frames
from tests.contract.multiplex.server import CODES, DO, Server, Wishes, connected, encode

TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
PAIR = st.one_of(
    st.tuples(st.sampled_from(["a", "b", "x-request-id", "etag", "authorization"]), TEXT),
    st.tuples(st.sampled_from(["a-bin", "b-bin"]), st.binary(max_size=40)),
)
PAIRS = st.lists(PAIR, max_size=4)
# What the status of a call says, in any language: gRPC percent-encodes it.
DETAILS = st.text(max_size=60).filter(lambda text: text.isprintable())
FAILURES = st.sampled_from([number for number in CODES if number])
SIZES = st.one_of(st.integers(0, 300), st.integers(frames.PART - 30, frames.PART + 30), st.integers(0, 400_000))
WISHES = st.builds(
    Wishes,
    initial=st.none() | PAIRS,
    trailing=st.none() | PAIRS,
    raises=st.none() | st.none() | TEXT,
    abort=st.none() | st.none() | st.tuples(FAILURES, DETAILS, PAIRS),
    code=st.none() | st.none() | st.tuples(st.sampled_from(list(CODES)), DETAILS),
    size=SIZES,
    nothing=st.sampled_from([False, False, False, True]),
    say=st.text(max_size=50),
)
REQUESTS = st.one_of(
    WISHES.map(encode), WISHES.map(encode), st.binary(max_size=30), SIZES.map(lambda size: b"\xc1" * size)
)
METHODS = st.sampled_from([DO, DO, DO, DO, "/test.Service/Nope", "/test.Nope/Do"])


@dataclass(frozen=True)
class Outcome:
    """All that a caller can learn of a call."""

    response: bytes | None
    code: grpc.StatusCode
    details: str
    initial: tuple[Any, ...]
    trailing: tuple[Any, ...]
    raised: tuple[Any, ...] | None


async def outcome_of(channel: grpc.aio.Channel, method: str, request: bytes, metadata: Any) -> Outcome:
    call = channel.unary_unary(method)(request, metadata=metadata, timeout=20)
    response, raised = None, None
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        raised = (error.code(), error.details(), ordered(error.initial_metadata()), ordered(error.trailing_metadata()))
    return Outcome(
        response,
        await call.code(),
        await call.details(),
        ordered(await call.initial_metadata()),
        ordered(await call.trailing_metadata()),
        raised,
    )


def ordered(metadata: Any) -> tuple[Any, ...]:
    """The pairs; only the order of the values of one key means anything."""
    return tuple(sorted(metadata or (), key=lambda pair: pair[0]))


class Both:
    """A server, and a channel of each kind to it."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.server = runner.run(self._start())
        self.multiplexed = runner.run(connected(self.server.target))
        self.plain = runner.run(self._plain())

    async def _start(self) -> Server:
        return await Server().start()

    async def _plain(self) -> grpc.aio.Channel:
        return open_raw_channel(self.server.target, multiplex=False)

    def outcomes(self, *call: Any) -> tuple[Outcome, Outcome]:
        async def both() -> tuple[Outcome, Outcome]:
            return await outcome_of(self.plain, *call), await outcome_of(self.multiplexed, *call)

        return self.runner.run(both())

    async def close(self) -> None:
        await self.multiplexed.close()
        await self.plain.close()
        await self.server.stop()


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        both = Both(runner)
        yield both
        runner.run(both.close())


@settings(max_examples=400, deadline=None)
@given(method=METHODS, request_=REQUESTS, metadata=st.none() | PAIRS)
def test_a_call_ends_alike_on_a_stream_and_by_itself(both: Both, method: str, request_: bytes, metadata):
    given_pairs = None if metadata is None else tuple(metadata)
    plain, multiplexed = both.outcomes(method, request_, given_pairs)
    assert multiplexed == plain
    assert both.multiplexed.streams_up == 1


@settings(max_examples=40, deadline=None)
@given(wishes=st.lists(WISHES, max_size=60))
def test_each_of_many_calls_gets_the_answer_that_is_its_own(both: Both, wishes: list[Wishes]):
    async def all_at_once() -> tuple[list[Outcome], list[Outcome]]:
        calls = [(DO, encode(one), (("x-request-id", str(n)),)) for n, one in enumerate(wishes)]
        alone = [await outcome_of(both.plain, *call) for call in calls]
        together = await asyncio.gather(*(outcome_of(both.multiplexed, *call) for call in calls))
        return alone, together

    alone, together = both.runner.run(all_at_once())
    assert together == alone
