"""Bodies of any size, in and out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.gateway.server import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_pieces_come_as_they_are_made(gateway: Running):
    async with gateway.client.stream("GET", "/made-up/download?pieces=500&size=10000") as answer:
        assert answer.status_code == httpx.codes.OK
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["x-request-id"]
        size = 0
        async for piece in answer.aiter_raw():
            size += len(piece)
    assert size == 5_000_000


async def test_no_pieces_are_an_empty_body(gateway: Running):
    answer = await gateway.client.get("/made-up/download")
    assert answer.status_code == httpx.codes.OK
    assert answer.content == b""


async def test_a_failure_before_the_first_piece_is_a_problem(gateway: Running):
    answer = await gateway.client.get("/made-up/download?fail_after=now")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.json()["code"] == "SERVICE_UNAVAILABLE"


async def test_a_failure_on_the_way_is_not_taken_for_the_end(gateway: Running):
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.client.get("/made-up/download?pieces=2&size=10&fail_after=later")


async def test_a_bad_parameter_of_a_stream_is_named(gateway: Running):
    answer = await gateway.client.get("/made-up/download?pieces=x")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY


async def test_a_client_that_leaves_ends_the_stream(gateway: Running):
    async with gateway.client.stream("GET", "/made-up/download?pieces=1000000&size=100000") as answer:
        async for _ in answer.aiter_raw():
            break
    assert (await gateway.client.get("/health")).status_code == httpx.codes.OK


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size
        await asyncio.sleep(0)


async def test_a_body_far_over_the_limit_of_bodies_is_streamed_in(gateway: Running):
    answer = await gateway.client.post(
        "/made-up/upload/a%20b", content=pieces(300, 10_000), headers={"Content-Type": "text/csv"}
    )
    told = answer.json()
    assert told["name"] == "a b"
    assert told["size"] == 3_000_000
    assert told["content_type"] == "text/csv"
    assert told["pieces"] > 1


async def test_an_empty_body_is_streamed_in_too(gateway: Running):
    answer = await gateway.client.post("/made-up/upload/a")
    assert answer.json() == {"name": "a", "size": 0, "pieces": 1, "content_type": ""}


async def test_a_service_may_refuse_a_stream_before_its_end(gateway: Running):
    """Also where it does so while a piece is being written, which one try in some fifty hits."""
    for _ in range(100):
        answer = await gateway.client.post("/made-up/upload/refused", content=pieces(50, 10_000))
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert answer.json()["code"] == "ACCOUNT_LOCKED"


async def test_an_answer_may_come_while_the_body_is_still_sent(gateway: Running):
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        head = b"POST /made-up/exchange/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 8\r\n\r\n"
        writer.write(head + b"abc")
        async with asyncio.timeout(20):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            assert b"3\n" in await reader.readuntil(b"3\n")
            writer.write(b"defgh")
            assert b"5\n" in await reader.readuntil(b"5\n")
            assert await reader.readuntil(b"0\r\n\r\n") is not None
    finally:
        writer.close()


async def test_an_exchange_may_answer_at_the_end_alone(gateway: Running):
    for body in (pieces(50, 10_000), b""):
        answer = await gateway.client.post("/made-up/exchange/late", content=body)
        assert (answer.status_code, answer.text) == (httpx.codes.OK, "end of late")
        assert answer.headers["content-type"] == "application/x-ndjson"


async def test_an_exchange_that_is_refused_is_a_problem(gateway: Running):
    answer = await gateway.client.post("/made-up/exchange/refused", content=pieces(50, 10_000))
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert answer.json()["code"] == "ACCOUNT_LOCKED"


@pytest.mark.parametrize("name", ["a", "late"])
async def test_a_client_that_leaves_in_the_middle_ends_an_exchange(gateway: Running, name: str):
    gateway.servicer.begun.clear()
    gateway.servicer.ended.clear()
    _, writer = await asyncio.open_connection(*gateway.address)
    head = f"POST /made-up/exchange/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nabc"
    writer.write(head.encode())
    async with asyncio.timeout(20):
        await gateway.servicer.begun.wait()
        writer.close()
        await gateway.servicer.ended.wait()
