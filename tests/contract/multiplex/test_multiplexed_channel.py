"""A call on a stream is a call: deadlines, cancellation, limits, and what happens when a server goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import grpc
import grpc.aio
import pytest

from fastcms_common.channels import open_raw_channel
from fastcms_common.multiplex import frames, lanes
from fastcms_common.multiplex.client import MultiplexedChannel
from fastcms_common.reach import Reach
from tests.contract.multiplex.server import DO, Server, ServerProcess, Wishes, connected, encode, rpc, until
from tests.ports import free_port


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = await Server().start()
    yield server
    await server.stop()


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    channel = await connected(server.target)
    yield channel
    await channel.close()


def on_streams_only(monkeypatch: pytest.MonkeyPatch, channel) -> None:
    """Makes sure that a test is about streams: a plain call fails it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this call was made as a plain one")

    monkeypatch.setattr(channel, "_plain", type("NoPlain", (), {"unary_unary": lambda *_, **__: refuse})())


async def _result(call):
    return await call


async def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(server, channel):
    waiting = asyncio.create_task(_result(rpc(channel)(Wishes(hang=True))))
    await server.until(running=1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await server.until(running=0)
    assert server.service.cancelled == 1


async def test_cancel_of_the_call_object_ends_the_one_who_waits_for_it(server, channel):
    call = rpc(channel)(Wishes(hang=True))
    waiting = asyncio.create_task(_result(call))
    await server.until(running=1)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert call.cancelled()
    assert call.done()
    assert not call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await server.until(running=0)


async def test_a_deadline_ends_the_call_on_both_sides(server, channel):
    began = time.monotonic()
    call = rpc(channel)(Wishes(hang=True), timeout=0.2)
    assert 0 < call.time_remaining() <= 0.2
    assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.15 < time.monotonic() - began < 2
    await server.until(running=0)
    assert server.service.cancelled == 1
    (left,) = server.service.remaining
    assert left is not None
    assert 0.1 < left <= 0.2


async def test_a_deadline_that_has_passed_is_exceeded_at_once(server, channel):
    assert await code_of(rpc(channel)(Wishes(), timeout=0)) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await code_of(rpc(channel)(Wishes(), timeout=-1)) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_without_a_deadline_has_none_on_the_server(server, channel):
    await rpc(channel)(Wishes())
    assert server.service.remaining == [None]


async def test_a_slow_call_holds_up_nobody(server, channel):
    slow = [rpc(channel)(Wishes(hang=True)) for _ in range(500)]
    await server.until(running=500)
    async with asyncio.timeout(5):
        for number in range(50):
            assert await rpc(channel)(Wishes(say=str(number))) == str(number)
    for call in slow:
        call.cancel()
    await server.until(running=0)


async def test_a_huge_answer_holds_up_nobody(server, channel, monkeypatch):
    on_streams_only(monkeypatch, channel)
    size = 48 * 1024 * 1024
    huge = asyncio.create_task(_result(rpc(channel)(Wishes(size=size))))
    await until(lambda: server.service.served == 1)
    overtaking = 0
    while not huge.done():
        await rpc(channel)(Wishes(say="small"))
        overtaking += 1
    assert len(await huge) == size
    # It has 192 frames, and small answers go in between; on a busy machine not between any two.
    assert overtaking > 5


async def test_large_answers_are_whole_and_not_mixed_up(server, channel):
    sizes = [frames.PART - 1, frames.PART, frames.PART + 1, 2 * frames.PART, 1_000_000, 3, 0]
    calls = [rpc(channel)(Wishes(say=f"{n}:", size=size)) for n, size in enumerate(sizes * 3)]
    for n, answer in enumerate(await asyncio.gather(*map(_result, calls))):
        assert answer == f"{n}:" + "x" * sizes[n % len(sizes)]


async def test_a_large_request_goes_by_plain_grpc(server, channel):
    text = "y" * (frames.PART + 1)
    call = rpc(channel)(Wishes(say=text))
    assert isinstance(call, grpc.aio.UnaryUnaryCall)
    assert await call == text
    assert channel.unary_unary(DO)(encode(Wishes(say="z"))).__class__.__name__ == "MadeCall"


async def test_an_answer_over_the_limit_of_a_message_fails_as_in_plain_grpc(server, channel):
    size = 64 * 1024 * 1024 + 1
    assert await code_of(rpc(channel)(Wishes(size=size))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await rpc(channel)(Wishes(say="still there")) == "still there"


async def test_ten_thousand_calls_at_once_are_all_answered(server, channel, monkeypatch):
    on_streams_only(monkeypatch, channel)
    calls = [rpc(channel)(Wishes(say=str(n)), timeout=30) for n in range(10_000)]
    answers = await asyncio.gather(*map(_result, calls))
    assert answers == [str(n) for n in range(10_000)]
    assert server.service.served == 10_000


async def test_no_more_calls_are_on_a_stream_than_its_server_takes():
    server = await Server(calls_at_once=7).start()
    channel = await connected(server.target)
    answers = await asyncio.gather(*(_result(rpc(channel)(Wishes(mark=str(n)))) for n in range(200)))
    assert len(answers) == 200
    assert server.service.peak == 7
    await channel.close()
    await server.stop()


async def test_a_call_that_waits_for_its_turn_has_its_deadline_all_the_same():
    server = await Server(calls_at_once=1).start()
    channel = await connected(server.target)
    first = rpc(channel)(Wishes(hang=True))
    second = rpc(channel)(Wishes(say="never sent"), timeout=0.1)
    third = rpc(channel)(Wishes(say="third"))
    assert await code_of(second) is grpc.StatusCode.DEADLINE_EXCEEDED
    first.cancel()
    assert await third == "third"
    assert server.service.served == 2
    await channel.close()
    await server.stop()


async def test_a_client_that_does_not_count_is_held_back():
    server = await Server(calls_at_once=3).start()
    plain = grpc.aio.insecure_channel(server.target)
    exchange = plain.stream_stream(frames.METHOD)()
    assert frames.decode_answers(await exchange.read())[0] == 3

    async def pour() -> None:
        for number in range(50):
            call = frames.entry((number, DO, None, (), encode(Wishes(hang=True))))
            await exchange.write(frames.calls_frame([call], []))

    pouring = asyncio.create_task(pour())
    await server.until(running=4)
    with pytest.raises(TimeoutError):
        await server.until(running=5, within=0.3)
    pouring.cancel()
    exchange.cancel()
    await server.until(running=0)
    await plain.close()
    await server.stop()


async def test_a_client_that_is_gone_has_its_calls_cancelled(server, channel):
    calls = [rpc(channel)(Wishes(hang=True)) for _ in range(5)]
    await server.until(running=5)
    await channel.close()
    await server.until(running=0)
    assert server.service.cancelled == 5
    for call in calls:
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_frame_that_is_none_ends_its_stream_and_no_other(server, channel):
    plain = grpc.aio.insecure_channel(server.target)
    for bad in (b"\xff nonsense", b"", frames.calls_frame([b"\x01"], []), b"\xc1"):
        exchange = plain.stream_stream(frames.METHOD)()
        await exchange.read()
        await exchange.write(bad)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    twice = frames.entry((1, DO, None, (), encode(Wishes(hang=True))))
    exchange = plain.stream_stream(frames.METHOD)()
    await exchange.read()
    await exchange.write(frames.calls_frame([twice, twice], []))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await exchange.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await plain.close()
    await server.until(running=0)
    assert channel.streams_up == 1
    assert await rpc(channel)(Wishes(say="unharmed")) == "unharmed"


async def test_what_cannot_be_encoded_fails_alone(server, channel):
    call = rpc(channel)
    beside = call(Wishes(say="fine"))
    assert await code_of(call(Wishes(), metadata=(("key", "\ud800"),))) is grpc.StatusCode.INTERNAL
    assert await code_of(call(Wishes(poison=True))) is grpc.StatusCode.INTERNAL
    assert await code_of(call(Wishes(poison=True, size=5 * frames.PART))) is grpc.StatusCode.INTERNAL
    assert await beside == "fine"


async def test_an_answer_that_cannot_be_parsed_is_internal(server, channel):
    """Plain grpc.aio logs it and gives None, which no caller expects."""
    call = channel.unary_unary(DO, response_deserializer=int)
    assert await code_of(call(encode(Wishes(say="no number")))) is grpc.StatusCode.INTERNAL


async def test_calls_share_no_context(server, channel):
    answers = await asyncio.gather(*(_result(rpc(channel)(Wishes(mark=f"m{n}"))) for n in range(100)))
    assert answers == [f"None/m{n}" for n in range(100)]


async def test_metadata_goes_both_ways(server, channel):
    given = (("x-request-id", "r-1"), ("x-bytes-bin", b"\x00\xff"), ("twice", "a"), ("twice", "b"))
    call = rpc(channel)(
        Wishes(initial=[("early", "1")], trailing=[("etag", '"7"'), ("raw-bin", b"\x80")]), metadata=given
    )
    await call
    assert tuple(server.service.seen) == given
    assert tuple(await call.initial_metadata()) == (("early", "1"),)
    assert tuple(await call.trailing_metadata()) == (("etag", '"7"'), ("raw-bin", b"\x80"))
    assert await call.code() is grpc.StatusCode.OK


async def test_streaming_rpcs_are_plain_calls_on_the_same_channel(server, channel):
    counting = channel.unary_stream("/test.Service/Count", encode, bytes.decode)
    assert [one async for one in counting(Wishes(size=4))] == ["0", "1", "2", "3"]


async def test_an_unknown_method_is_unimplemented(server, channel):
    assert await code_of(channel.unary_unary("/test.Service/Nope")(b"")) is grpc.StatusCode.UNIMPLEMENTED
    # Known, but no unary rpc.
    assert await code_of(channel.unary_unary("/test.Service/Count")(b"")) is grpc.StatusCode.UNIMPLEMENTED


async def test_a_server_without_streams_is_called_plainly():
    server = await Server(streams=False).start()
    channel = await connected(server.target, streams=0)
    for number in range(20):
        assert await rpc(channel)(Wishes(say=str(number))) == str(number)
    assert channel.streams_up == 0
    await channel.close()
    await server.stop()


async def test_a_service_that_is_down_is_unavailable():
    server = await Server().start()
    await server.stop()
    channel = open_raw_channel(server.target)
    assert await code_of(rpc(channel)(Wishes(), timeout=5)) is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_a_server_that_dies_fails_what_is_in_flight_and_is_found_again(server, channel):
    calls = [rpc(channel)(Wishes(hang=True), timeout=30) for _ in range(20)]
    await server.until(running=20)
    await server.stop()
    for call in calls:
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
    await until(lambda: channel.streams_up == 0)
    assert await code_of(rpc(channel)(Wishes(), timeout=5)) is grpc.StatusCode.UNAVAILABLE
    again = await Server(port=server.port).start()
    await until(lambda: channel.streams_up == 1)
    assert await rpc(channel)(Wishes(say="back")) == "back"
    assert again.service.served == 1
    await channel.close()
    await again.stop()


async def test_a_killed_process_fails_what_is_in_flight():
    process = ServerProcess()
    try:
        channel = await connected(process.target)
        answered = await rpc(channel)(Wishes(say="alive"), timeout=10)
        calls = [rpc(channel)(Wishes(hang=True), timeout=30) for _ in range(20)]
        await rpc(channel)(Wishes(say="these are on their way"), timeout=10)
    finally:
        process.kill()
    assert answered == "alive"
    for call in calls:
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
    assert await code_of(rpc(channel)(Wishes(), timeout=10)) is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_no_call_hangs_when_its_channel_is_closed():
    server = await Server(calls_at_once=2).start()
    channel = await connected(server.target)
    calls = [rpc(channel)(Wishes(hang=True)) for _ in range(10)]
    await server.until(running=2)
    await channel.close()
    async with asyncio.timeout(10):
        for call in calls:
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
    await server.stop()


async def test_a_plain_call_in_place_of_one_on_a_stream_ends_with_its_channel():
    server = await Server(calls_at_once=1).start()
    channel = await connected(server.target)
    calls = [rpc(channel)(Wishes(hang=True)) for _ in range(5)]
    await server.until(running=1)
    server.multiplexer.drain()
    await server.until(running=5)
    calls[1].cancel()
    await server.until(running=4)
    await channel.close()
    async with asyncio.timeout(10):
        for call in (calls[0], *calls[2:]):
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
    await server.until(running=0)
    await server.stop()


async def test_calls_that_were_never_sent_survive_their_stream():
    server = await Server(calls_at_once=1).start()
    channel = await connected(server.target)
    sent = rpc(channel)(Wishes(hang=True), timeout=20)
    unsent = [rpc(channel)(Wishes(say=str(n)), timeout=20) for n in range(5)]
    await server.until(running=1)
    server.multiplexer.drain()
    # The server still answers plain calls, and that is how these are made now.
    assert await asyncio.gather(*map(_result, unsent)) == list("01234")
    assert not sent.done()
    sent.cancel()
    await channel.close()
    await server.stop()


async def test_plain_calls_in_place_of_streamed_ones_wait_for_their_server():
    first = await Server(calls_at_once=1).start()
    port = free_port()
    plain = open_raw_channel(f"127.0.0.1:{port}", multiplex=False)
    channel = MultiplexedChannel(first.target, partial(open_raw_channel, multiplex=False), plain=plain)
    assert await code_of(rpc(channel)(Wishes())) is grpc.StatusCode.UNAVAILABLE
    await until(lambda: channel.streams_up == 1)
    sent = rpc(channel)(Wishes(hang=True), timeout=20)
    large = rpc(channel)(Wishes(say="y" * (frames.PART + 1)), timeout=20)
    unsent = [rpc(channel)(Wishes(say=str(n)), timeout=20) for n in range(5)]
    given_up = rpc(channel)(Wishes(say="given up"), timeout=20)
    await first.until(running=1)
    first.multiplexer.drain()
    await until(lambda: channel.streams_up == 0)
    given_up.cancel()
    second = await Server(port=port).start()
    assert await asyncio.gather(*map(_result, unsent)) == list("01234")
    assert len(await large) == frames.PART + 1
    assert second.service.served == 6
    sent.cancel()
    await channel.close()
    await first.stop()
    await second.stop()


async def test_a_server_that_drains_finishes_what_it_has(server, channel):
    slow = rpc(channel)(Wishes(hang=True), timeout=20)
    await server.until(running=1)
    quick = [rpc(channel)(Wishes(say=str(n)), timeout=20) for n in range(100)]
    draining = asyncio.create_task(server.drain(grace=20))
    assert await asyncio.gather(*map(_result, quick)) == [str(n) for n in range(100)]
    await until(lambda: channel.streams_up == 0)
    assert not draining.done()
    slow.cancel()
    async with asyncio.timeout(10):
        await draining


@pytest.fixture
async def replicas(monkeypatch) -> AsyncIterator[list[Server]]:
    """Three servers behind the name `replicas.test`."""
    servers = [await Server().start() for _ in range(3)]
    addresses = {f"ipv4:{server.target}" for server in servers}

    async def resolved(host: str, port: int) -> set[str]:
        lanes.looks += 1
        return set(addresses)

    monkeypatch.setattr(lanes, "_resolved", resolved)
    monkeypatch.setattr(lanes, "looks", 0, raising=False)
    monkeypatch.setattr(lanes, "RESOLVE_SOON", 0)
    monkeypatch.setattr(lanes, "RESOLVE_EVERY", 0.05)
    monkeypatch.setattr(lanes, "addresses", addresses, raising=False)
    yield servers
    for server in servers:
        await server.stop()


async def to_replicas(first: Server) -> grpc.aio.Channel:
    """Plain calls go to the first one; the streams to all of them."""
    return await connected(first.target.replace("127.0.0.1", "localhost"), streams=3)


async def test_each_replica_has_its_share(replicas):
    channel = await to_replicas(replicas[0])
    await asyncio.gather(*(_result(rpc(channel)(Wishes(mark="x"))) for _ in range(300)))
    assert [server.service.served for server in replicas] == [100, 100, 100]
    await channel.close()


async def test_no_call_fails_while_a_replica_drains(replicas):
    channel = await to_replicas(replicas[0])
    stop = asyncio.Event()
    failures: list[BaseException] = []
    done = 0

    async def keep_calling() -> None:
        nonlocal done
        while not stop.is_set():
            try:
                await rpc(channel)(Wishes(mark="x"), timeout=10)
                done += 1
            except grpc.aio.AioRpcError as error:
                failures.append(error)

    callers = [asyncio.create_task(keep_calling()) for _ in range(20)]
    await until(lambda: done > 200)
    await replicas[2].drain(grace=10)
    gone = replicas[2].service.served
    before = done
    await until(lambda: done > before + 500)
    stop.set()
    await asyncio.gather(*callers)
    assert failures == []
    assert replicas[2].service.served == gone
    await channel.close()


async def test_a_service_that_comes_back_at_another_address_is_found_soon(replicas, monkeypatch):
    before, after = (f"ipv4:{server.target}" for server in replicas[:2])
    lanes.addresses.intersection_update({before})
    channel = await connected(replicas[0].target.replace("127.0.0.1", "localhost"))
    monkeypatch.setattr(lanes, "RESOLVE_EVERY", 60)
    # The look that has begun with the time of before is over.
    looks = lanes.looks
    await until(lambda: lanes.looks > looks)
    await replicas[0].stop()
    await until(lambda: channel.streams_up == 0)
    waiting = asyncio.create_task(Reach(channel).wait())
    await asyncio.wait([waiting], timeout=0.2)
    lanes.addresses.symmetric_difference_update({before, after})
    await asyncio.wait_for(waiting, 4)
    assert await rpc(channel)(Wishes(say="here"), timeout=5) == "here"
    assert replicas[1].service.served == 1
    await channel.close()


async def test_an_address_that_leaves_the_name_is_left_when_it_has_answered(replicas):
    channel = await to_replicas(replicas[0])
    slow = [rpc(channel)(Wishes(hang=True)) for _ in range(3)]
    for server in replicas:
        await server.until(running=1)
    lanes.addresses.discard(f"ipv4:{replicas[2].target}")
    await until(lambda: channel.streams_up == 2)
    await asyncio.gather(*(_result(rpc(channel)(Wishes(mark="x"))) for _ in range(20)))
    assert [server.service.served for server in replicas] == [10, 10, 0]
    assert not any(call.done() for call in slow)
    for call in slow:
        call.cancel()
    for server in replicas:
        await server.until(running=0)
    await channel.close()
