"""What a client puts on a stream, and in which frames."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest

from fastcms_common.multiplex import frames
from fastcms_common.multiplex.calls import MadeCall
from fastcms_common.multiplex.streams import Stream


class Exchange:
    """A stream in memory: keeps the frames that were written, and gives those that the test puts in."""

    def __init__(self) -> None:
        self.written: list[tuple[list[frames.Call], list[int]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.half_closed = False
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()

    async def read(self) -> Any:
        return await self._incoming.get()

    async def write(self, frame: bytes) -> None:
        await self.open.wait()
        self.written.append(frames.decode_calls(frame))

    async def done_writing(self) -> None:
        self.half_closed = True

    def cancel(self) -> None:
        self.end()

    def end(self) -> None:
        self._incoming.put_nowait(grpc.aio.EOF)

    def answer(self, *ids: int, word: int = frames.NOTHING, parts: tuple[frames.Part, ...] = ()) -> None:
        answers = [frames.entry((id_, 0, b"!%d" % id_, "", (), ())) for id_ in ids]
        self._incoming.put_nowait(frames.answers_frame(word, answers, [frames.entry(part) for part in parts]))


class Client:
    """A stream on an exchange in memory."""

    def __init__(self, calls_at_once: int = 100) -> None:
        self.exchange = Exchange()
        self.elsewhere: list[MadeCall] = []
        self.stream = Stream(self.exchange, calls_at_once, self.elsewhere.append)
        self.running = asyncio.create_task(self.stream.run())

    def call(self, request: bytes = b"?", timeout: float | None = 10) -> MadeCall:
        call = MadeCall("/s/M", (("k", "v"),), request, timeout, None)
        self.stream.start(call)
        return call

    @property
    def sent(self) -> list[list[int]]:
        """The ids of the calls of each frame."""
        return [[call[0] for call in calls] for calls, _ in self.exchange.written]

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def client():
    client = Client()
    yield client
    client.exchange.end()
    await client.running


async def test_the_calls_of_one_turn_are_one_frame(client: Client):
    for _ in range(20):
        client.call()
    await client.settle()
    client.call()
    await client.settle()
    assert client.sent == [list(range(1, 21)), [21]]


async def test_what_comes_while_a_frame_is_written_is_the_next_frame(client: Client):
    client.exchange.open.clear()
    client.call()
    await client.settle()
    for _ in range(5):
        client.call()
        await client.settle()
    client.exchange.open.set()
    await client.settle()
    assert client.sent == [[1], [2, 3, 4, 5, 6]]


async def test_a_frame_takes_no_more_than_it_should(client: Client):
    each = frames.PART
    for _ in range(10):
        client.call(b"x" * each)
    await client.settle()
    assert client.sent == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_a_call_says_all_about_itself(client: Client):
    client.call(b"request", timeout=3)
    client.call(b"other", timeout=None)
    await client.settle()
    ((first, second), given_up), *more = client.exchange.written
    assert more == []
    assert given_up == []
    assert (*first[:2], *first[3:]) == (1, "/s/M", [("k", "v")], b"request")
    assert 2.5 < first[2] <= 3
    assert second[2] is None


async def test_answers_are_told_apart_by_id(client: Client):
    one, two = client.call(), client.call()
    client.exchange.answer(2, 77, 1)
    assert (await one, await two) == (b"!1", b"!2")
    assert client.stream.load == 0


async def test_the_parts_of_an_answer_come_before_its_end(client: Client):
    one, two = client.call(), client.call()
    client.exchange.answer(parts=((1, b"a"), (2, b"x"), (99, b"nobody's")))
    client.exchange.answer(1, 2, parts=((1, b"b"),))
    assert (await one, await two) == (b"ab!1", b"x!2")


async def test_a_call_that_is_given_up_is_told_once(client: Client):
    call = client.call()
    await client.settle()
    assert call.cancel()
    assert not call.cancel()
    await client.settle()
    client.exchange.answer(1)
    await client.settle()
    assert [given_up for _, given_up in client.exchange.written] == [[], [1]]


async def test_an_answered_call_cannot_be_cancelled(client: Client):
    call = client.call()
    client.exchange.answer(1)
    await call
    assert not call.cancel()
    await client.settle()
    assert [given_up for _, given_up in client.exchange.written] == [[]]


async def test_two_may_wait_for_one_call(client: Client):
    call = client.call()
    waiting = [asyncio.create_task(_result(call)) for _ in range(2)]
    await client.settle()
    client.exchange.answer(1)
    assert await asyncio.gather(*waiting) == [b"!1", b"!1"]
    assert await call.code() is grpc.StatusCode.OK


async def test_who_asks_for_the_status_of_a_call_does_not_end_it(client: Client):
    call = client.call()
    asking = asyncio.create_task(call.trailing_metadata())
    await client.settle()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert not call.done()
    client.exchange.answer(1)
    assert await call == b"!1"


async def test_callbacks_are_told_of_the_end(client: Client):
    call = client.call()
    told: list[Any] = []
    call.add_done_callback(told.append)
    client.exchange.answer(1)
    await call
    await client.settle()
    assert told == [call]


async def test_calls_over_the_limit_wait_in_order():
    client = Client(calls_at_once=2)
    calls = [client.call() for _ in range(6)]
    await client.settle()
    calls[2].cancel()
    client.exchange.answer(1, 2)
    await client.settle()
    client.exchange.answer(3, 4)
    await client.settle()
    assert client.sent == [[1, 2], [3, 4], [5]]
    assert [call.done() for call in calls] == [True, True, True, True, True, False]
    client.exchange.end()
    await client.running


async def test_a_server_that_goes_away_still_answers_and_gets_no_more():
    client = Client(calls_at_once=1)
    first, second = client.call(), client.call()
    await client.settle()
    client.exchange.answer(word=frames.GO_AWAY)
    await client.settle()
    assert client.stream.closing.is_set()
    assert client.elsewhere == [second]
    assert not client.exchange.half_closed
    client.exchange.answer(1)
    assert await first == b"!1"
    await client.settle()
    assert client.exchange.half_closed
    client.exchange.end()
    await client.running


async def test_a_lost_stream_fails_its_calls_and_passes_the_others_on():
    client = Client(calls_at_once=1)
    first, second = client.call(), client.call()
    await client.settle()
    client.exchange.end()
    await client.running
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await first
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert client.elsewhere == [second]


async def test_a_frame_that_is_none_loses_the_stream():
    client = Client()
    call = client.call()
    client.exchange._incoming.put_nowait(b"\xc1")
    await client.running
    with pytest.raises(grpc.aio.AioRpcError):
        await call


def test_frames_are_plain_messagepack():
    call = frames.entry((1, "/s/M", 0.5, (("k", b"v"),), b"r"))
    assert msgspec.msgpack.decode(frames.calls_frame([call], [7])) == [[[1, "/s/M", 0.5, [["k", b"v"]], b"r"]], [7]]
    answer = frames.entry((1, 0, b"r", "", (), ()))
    assert msgspec.msgpack.decode(frames.answers_frame(-1, [answer], [])) == [-1, [[1, 0, b"r", "", [], []]], []]


async def _result(call: Any) -> Any:
    return await call


@pytest.mark.parametrize("told", [False, True])
async def test_a_call_on_a_stream_that_has_just_ended_goes_elsewhere(client: Client, told: bool):
    """It may still be the one whose turn it is, until whoever keeps the list of streams comes to strike it off."""
    if told:
        client.exchange.answer(word=frames.GO_AWAY)
    else:
        client.exchange.end()
    await client.settle()
    late = client.call()
    await client.settle()
    assert client.elsewhere == [late]
    assert client.sent == []


async def test_a_call_on_a_stream_that_has_been_told_to_go_is_still_sent(client: Client):
    sent = client.call()
    await client.settle()
    client.exchange.answer(word=frames.GO_AWAY)
    await client.settle()
    late = client.call()
    await client.settle()
    assert client.elsewhere == []
    assert client.sent == [[sent.id], [late.id]]
