"""What every answer has, whichever part of the gateway gives it, and what no client gets away with."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import httpx
import pytest
from prometheus_client import REGISTRY

from gateway.connections import GuardedProtocol
from gateway.edge import SECURITY_HEADERS
from tests.contract.gateway.server import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES = "/docs"
RPC = "/made-up/things/t"


@pytest.mark.parametrize(
    "path", [RPC, PAGES, "/openapi.json", "/health", "/nowhere", "/docs/assets/nowhere", "/made-up/me"]
)
async def test_every_answer_has_an_id_and_security_headers_and_no_banner(gateway: Running, path: str):
    answer = await gateway.client.get(path, headers={"X-Request-Id": "r1"})
    assert answer.headers["x-request-id"] == "r1"
    for name, value in SECURITY_HEADERS:
        assert answer.headers[name.decode()] == value.decode()
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe-inline" not in answer.headers["content-security-policy"].partition("style-src")[0]
    assert "server" not in answer.headers
    assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize(
    ("method", "paths"), [("GET", ["/made-up/nowhere", "/docs/nowhere"]), ("DELETE", [RPC, PAGES])]
)
async def test_rpcs_and_pages_refuse_alike(gateway: Running, method: str, paths: list[str]):
    rpc, page = [await gateway.client.request(method, path) for path in paths]
    assert rpc.status_code == page.status_code >= 400
    same = ("type", "title", "status", "code", "errors")
    assert [rpc.json()[key] for key in same] == [page.json()[key] for key in same]
    assert rpc.json().keys() == page.json().keys()
    assert rpc.json()["request_id"] == rpc.headers["x-request-id"]
    assert page.json()["request_id"] == page.headers["x-request-id"]
    assert rpc.headers["content-type"] == page.headers["content-type"] == "application/problem+json"
    assert ("allow" in rpc.headers) == ("allow" in page.headers)


async def test_405_says_what_is_allowed(gateway: Running):
    answer = await gateway.client.delete(RPC)
    assert answer.status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"


async def test_options_says_what_is_allowed(gateway: Running):
    for path, allowed in ((RPC, "GET, HEAD, OPTIONS, PATCH"), (PAGES, "GET, HEAD, OPTIONS")):
        answer = await gateway.client.options(path)
        assert answer.status_code == httpx.codes.NO_CONTENT
        assert answer.headers["allow"] == allowed
    assert (await gateway.client.options("/nowhere")).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("path", [RPC, PAGES, "/health", "/openapi.json", "/made-up/download?pieces=3&size=10"])
async def test_head_is_get_without_the_body(gateway: Running, path: str):
    get, head = await gateway.client.get(path), await gateway.client.head(path)
    assert head.status_code == get.status_code == httpx.codes.OK
    assert head.content == b""
    assert head.headers.get("content-length") == get.headers.get("content-length")
    assert head.headers["content-type"] == get.headers["content-type"]


async def test_a_tag_that_still_holds_saves_the_body(gateway: Running):
    first = await gateway.client.get(RPC)
    assert first.headers["etag"] == '"v1"'
    assert first.headers["cache-control"] == "private, no-cache"
    for sent in ('"v1"', 'W/"v1"', '"v0", "v1"', "*"):
        again = await gateway.client.get(RPC, headers={"If-None-Match": sent})
        assert again.status_code == httpx.codes.NOT_MODIFIED
        assert again.content == b""
        assert again.headers["etag"] == '"v1"'
    changed = await gateway.client.get(RPC, headers={"If-None-Match": '"v0"'})
    assert changed.status_code == httpx.codes.OK


async def test_answers_are_not_stored(gateway: Running):
    assert (await gateway.client.post("/made-up/echo")).headers["cache-control"] == "no-store"


async def test_a_body_over_the_limit_is_refused_whatever_its_head_says(redis_url: str):
    async with running(redis_url, max_body_bytes=2048) as gateway:
        json = {"Content-Type": "application/json"}
        fits = b'{"text": "' + b"x" * 2000 + b'"}'
        assert (await gateway.client.post("/made-up/echo", content=fits, headers=json)).status_code == httpx.codes.OK
        for path in ("/made-up/echo", "/made-up/raw", PAGES):
            answer = await gateway.client.post(path, content=b"x" * 200_000, headers=json)
            assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
            assert answer.json()["code"] == "BODY_TOO_LARGE"

        async def pieces():
            for _ in range(100):
                yield b"x" * 1000

        answer = await gateway.client.post("/made-up/echo", content=pieces(), headers=json)
        assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


async def test_a_client_that_asks_before_it_sends_is_refused_before_it_sends(gateway: Running):
    head = b"POST /made-up/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    answer = await gateway.raw(head)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_shorter_than_its_length_is_waited_for_and_then_given_up(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.requests.BODY_TIMEOUT", 0.1)
    answer = await gateway.raw(b"POST /made-up/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_longer_than_its_length_is_another_request(gateway: Running):
    answer = await gateway.raw(
        b"POST /made-up/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 101 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    ],
    ids=["large header", "many headers", "long address", "not ASCII", "TLS", "negative length", "two lengths"],
)
async def test_a_head_that_is_too_much_ends_the_connection(gateway: Running, head: bytes, status: bytes):
    answer = await gateway.raw(head)
    assert answer.startswith(b"HTTP/1.1 " + status + b" ")
    assert b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert (await gateway.client.get("/health")).status_code == httpx.codes.OK


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"])
async def test_a_head_that_does_not_come_ends_the_connection(
    gateway: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
):
    monkeypatch.setattr(GuardedProtocol, "head_seconds", 0.1)
    answer = await gateway.raw(sent)
    assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize("multiplex", [True, False])
async def test_a_call_that_takes_too_long_is_a_504(redis_url: str, multiplex: bool):
    async with running(redis_url, call_seconds=0.2, multiplex=multiplex) as gateway:
        answer = await gateway.client.post("/made-up/fail", json={"how": "slow"})
        assert answer.status_code == httpx.codes.GATEWAY_TIMEOUT
        assert answer.json()["code"] == "DEADLINE_EXCEEDED"
        await asyncio.wait_for(gateway.servicer.cancelled.wait(), 10)


@pytest.mark.parametrize("multiplex", [True, False])
async def test_a_client_that_goes_away_takes_its_call_with_it(redis_url: str, multiplex: bool):
    async with running(redis_url, multiplex=multiplex) as gateway:
        _, writer = await asyncio.open_connection(*gateway.address)
        writer.write(b"GET /made-up/things/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(10):
            while not gateway.servicer.slow_calls:
                await asyncio.sleep(0.01)
            writer.close()
            await gateway.servicer.cancelled.wait()
        assert (await gateway.client.get("/health")).status_code == httpx.codes.OK


async def test_other_origins_are_let_through_by_name_only(redis_url: str):
    async with running(redis_url, cors_origins="https://a.example") as gateway:
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PATCH"}
        for path in (RPC, PAGES):
            preflight = await gateway.client.options(path, headers=asked)
            assert preflight.status_code == httpx.codes.NO_CONTENT
            assert preflight.headers["access-control-allow-origin"] == "https://a.example"
            assert "PATCH" in preflight.headers["access-control-allow-methods"]
            assert "Authorization" in preflight.headers["access-control-allow-headers"]
            answer = await gateway.client.get(path, headers={"Origin": "https://a.example"})
            assert answer.headers["access-control-allow-origin"] == "https://a.example"
            assert answer.headers["vary"] == "Origin"
            other = await gateway.client.get(path, headers={"Origin": "https://b.example"})
            assert "access-control-allow-origin" not in other.headers
            assert other.headers["vary"] == "Origin"
        refused = await gateway.client.options(RPC, headers=asked | {"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in refused.headers
        failed = await gateway.client.get("/made-up/me", headers={"Origin": "https://a.example"})
        assert failed.headers["access-control-allow-origin"] == "https://a.example"


async def test_by_default_no_other_origin_is_let_through(gateway: Running):
    answer = await gateway.client.get(RPC, headers={"Origin": "https://a.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/docs", "/docs/assets/docs.js", "/docs/assets/swagger/swagger-ui-bundle.js"])
async def test_the_docs_need_nothing_from_elsewhere(gateway: Running, path: str):
    answer = await gateway.client.get(path)
    assert answer.status_code == httpx.codes.OK
    if path == "/docs":
        assert "://" not in answer.text
        assert "<script>" not in answer.text


async def test_the_document_is_served_once(gateway: Running):
    first = await gateway.client.get("/openapi.json")
    assert first.json()["openapi"] == "3.1.0"
    again = await gateway.client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == httpx.codes.NOT_MODIFIED


async def test_ready_names_what_is_down_and_tells_no_more(redis_url: str):
    async def well() -> None:
        return

    async def ill() -> None:
        raise ConnectionError("mongodb://secret-host")

    async def silent() -> None:
        await asyncio.sleep(60)

    async with running(redis_url, checks={"a": well, "b": ill, "c": silent}) as gateway:
        answer = await gateway.client.get("/health/ready")
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.json() == {
            "status": "unavailable",
            "dependencies": [
                {"name": "a", "status": "ok", "error": None},
                {"name": "b", "status": "down", "error": "ConnectionError"},
                {"name": "c", "status": "down", "error": "TimeoutError"},
            ],
        }
        assert (await gateway.client.get("/health")).status_code == httpx.codes.OK
    async with running(redis_url, checks={"a": well}) as gateway:
        assert (await gateway.client.get("/health/ready")).status_code == httpx.codes.OK


async def test_a_defect_is_logged_under_the_id_that_the_client_sees(
    gateway: Running, capfd: pytest.CaptureFixture[str]
):
    answer = await gateway.client.post("/made-up/fail", json={"how": "INTERNAL"}, headers={"X-Request-Id": "find-me"})
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert answer.json()["request_id"] == "find-me"
    written = capfd.readouterr()
    assert "find-me" in written.out + written.err


async def test_requests_are_counted_by_route_and_never_by_path(gateway: Running):
    def counted(route: str, status: str) -> float:
        labels = {"method": "GET", "route": route, "status": status}
        return REGISTRY.get_sample_value("fastcms_http_requests_total", labels) or 0.0

    before = counted("/made-up/things/{id}", "200"), counted("unmatched", "404")
    await gateway.client.get("/made-up/things/1")
    await gateway.client.get("/made-up/things/2")
    await gateway.client.get("/nowhere/1")
    async with asyncio.timeout(10):
        while counted("unmatched", "404") < before[1] + 1:
            await asyncio.sleep(0.01)
    assert counted("/made-up/things/{id}", "200") == before[0] + 2


async def test_nothing_that_fails_leaves_noise_behind(gateway: Running, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR), contextlib.suppress(httpx.HTTPError):
        await gateway.client.get("/made-up/things/%ff")
        await gateway.client.post("/made-up/echo", content=b"{", headers={"Content-Type": "application/json"})
    assert caplog.records == []


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
async def test_an_upgrade_that_is_not_offered_is_passed_over(gateway: Running, protocol: bytes):
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
    answer = await gateway.raw(head, until_closed=False)
    assert answer.startswith(b"HTTP/1.1 200 ")
