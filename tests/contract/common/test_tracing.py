"""What is traced and what is not: on both storage engines, over plain gRPC and on streams."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc
from fastcms_common import serving, tracing
from fastcms_common.access import Authenticator
from fastcms_common.channels import open_channel
from fastcms_common.errors import Unavailable
from fastcms_common.redis_connection import connect
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import ProcessSettings
from fastcms_common.storage import Table, eq, open_store
from fastcms_common.tokens import TokenVerifier
from tests.ports import free_port

tracing.allow_sdk()
from opentelemetry.sdk.trace import ReadableSpan  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from fastcms_common.tracing.spans import SpanKind, Spans  # noqa: E402
from fastcms_common.tracing.stores import traced_store  # noqa: E402

LOGIN = "fastcms.auth.v1.AuthService/Login"
WANTED = {"traceparent": "00-000000000000000000000000000000aa-00000000000000bb-01", "tracestate": "vendor=1"}


class Traced:
    """What this process has traced."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.spans = Spans("test", self._exporter)

    def enter(self, carrier: dict[str, str]):
        return self.spans.enter("entry", SpanKind.SERVER, carrier, {})

    async def finished(self) -> list[ReadableSpan]:
        """All spans, each after those within it."""
        # A call's span is ended by a task, after its caller has the answer.
        await asyncio.sleep(0)
        await asyncio.to_thread(self.spans._provider.force_flush)
        return list(self._exporter.get_finished_spans())


@pytest.fixture
async def traced(monkeypatch) -> AsyncIterator[Traced]:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    traced = Traced()
    monkeypatch.setattr(tracing, "_spans", traced.spans)
    yield traced
    await traced.spans.close()


async def test_the_database_is_in_the_trace_of_what_asks_it(traced: Traced, storage):
    store = traced_store(await open_store(storage.url, "traced"), storage.url, traced.spans)
    await store.ensure(Table("things"))
    await store.insert("things", {"id": "untraced"})
    with traced.enter(WANTED):
        await store.insert("things", {"id": "a", "secret": "4711"})
        assert await store.first("things", eq("secret", "4711")) == {"id": "a", "secret": "4711"}
        assert [one["id"] async for one in store.scan("things")] == ["a", "untraced"]
    await store.close()

    *asked, entered = await traced.finished()
    assert [one.name for one in asked] == ["insert things", "first things"]
    assert {one.parent.span_id for one in asked} == {entered.context.span_id}
    assert {one.attributes["db.system.name"] for one in asked} == {storage.url.partition(":")[0]}
    assert "4711" not in "".join(one.to_json() for one in asked)


async def test_redis_is_in_the_trace_of_what_asks_it(traced: Traced, redis_url):
    redis = connect(redis_url)
    await redis.set("before", "1")
    with traced.enter(WANTED):
        await redis.set("key", "a secret")
        async with redis.pipeline(transaction=True) as pipe:
            pipe.get("key")
            pipe.get("before")
            assert await pipe.execute() == [b"a secret", b"1"]
    await redis.aclose()

    first, second, entered = await traced.finished()
    assert (first.name, second.name) == ("SET", "PIPELINE")
    assert first.parent.span_id == second.parent.span_id == entered.context.span_id
    assert "a secret" not in first.to_json() + second.to_json()


class Accounts(auth_pb2_grpc.AuthServiceServicer):
    async def Login(self, request, servicer_context):
        if request.password == "away":
            raise Unavailable("Something is away.")
        return auth_pb2.LoginAnswer(access_token=tracing.active().trace_id() or "")


@pytest.fixture(params=[False, True], ids=["plain", "multiplexed"])
async def accounts(request, traced: Traced, redis_url) -> AsyncIterator[auth_pb2_grpc.AuthServiceAsyncStub]:
    settings = ProcessSettings(listen=f"127.0.0.1:{free_port()}", leaving_seconds=0, drain_seconds=0)
    redis = connect(redis_url)

    async def no_keys() -> bytes:
        return b'{"keys": []}'

    authenticator = Authenticator(TokenVerifier(no_keys, "fastcms"), SessionGuard(redis))
    services = [(auth_pb2_grpc.add_AuthServiceServicer_to_server, Accounts())]
    task = asyncio.create_task(serving.serve(settings, "test", services, authenticator, ready={}))
    channel = open_channel(settings.listen, multiplex=request.param)
    raw = channel.raw  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        await raw.channel_ready()
        while request.param and not raw.streams_up:
            await asyncio.sleep(0.01)
    yield auth_pb2_grpc.AuthServiceStub(channel)
    await channel.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await redis.aclose()


async def test_a_call_is_a_span_on_either_side(traced: Traced, accounts):
    with traced.enter(WANTED):
        answer = await accounts.Login(auth_pb2.LoginRequest(email="a@example.com", password="x"))

    spans = await traced.finished()
    below = sorted(spans, key=lambda one: one.start_time, reverse=True)
    assert [(one.name, one.kind.name) for one in below] == [(LOGIN, "SERVER"), (LOGIN, "CLIENT"), ("entry", "SERVER")]
    assert all(inner.parent.span_id == outer.context.span_id for inner, outer in pairwise(below))
    assert answer.access_token == f"{0xAA:032x}" == f"{below[0].context.trace_id:032x}"
    assert below[0].context.trace_state.get("vendor") == "1"


async def test_what_goes_wrong_is_marked_on_either_side(traced: Traced, accounts):
    with traced.enter(WANTED), pytest.raises(Unavailable):
        await accounts.Login(auth_pb2.LoginRequest(email="a@example.com", password="away"))

    calls = []
    async with asyncio.timeout(10):
        # The caller may hear of it before the service is done with it.
        while len(calls) < 2:
            calls = [one for one in await traced.finished() if one.name == LOGIN]
    assert [one.attributes["error.type"] for one in calls] == ["UNAVAILABLE"] * 2
    assert [one.attributes["rpc.grpc.status_code"] for one in calls] == [14] * 2
    assert all(not one.status.is_ok for one in calls)


async def test_what_is_not_wanted_is_nowhere(traced: Traced, accounts, redis_url):
    redis = connect(redis_url)
    for carrier in ({}, {"traceparent": WANTED["traceparent"][:-1] + "0"}, {"traceparent": "nonsense"}):
        with traced.enter(carrier) as span:
            assert span is None
            answer = await accounts.Login(auth_pb2.LoginRequest(email="a@example.com", password="x"))
            assert answer.access_token == ""
            await redis.get("key")
    await redis.aclose()
    assert await traced.finished() == []


def test_without_an_endpoint_the_sdk_is_not_loaded():
    program = (
        "import sys, gateway.__main__, auth_service.__main__, collections_service.__main__, admin_service.__main__,"
        " scheduler_service.__main__, scheduler_service.worker\n"
        "from fastcms_common import tracing\n"
        "from fastcms_common.settings import ProcessSettings\n"
        "tracing.start(ProcessSettings(), 'test')\n"
        "print(tracing.active(), [one for one in sys.modules.values() if 'opentelemetry.sdk' in str(one)])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "None []", found.stderr
