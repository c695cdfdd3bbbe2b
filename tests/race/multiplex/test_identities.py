"""Callers that share a stream are told apart: in who they are, what they may, and what they are answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from fastcms.auth.v1 import identities_pb2, identities_pb2_grpc
from fastcms_common import context, errors, serving
from fastcms_common.access import enforce
from fastcms_common.channels import ServiceChannel
from fastcms_common.multiplex.server import Multiplexer
from tests.contract.multiplex.server import until


class Authenticator:
    """Believes any token: `admin:a1` is the admin a1, `user:u1` the user u1, and takes its time."""

    async def caller(self, access: Any, authorization: str | None) -> tuple[context.Caller | None, str | None]:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        if authorization is None:
            enforce(access, None)
            return None, None
        token = authorization.removeprefix("Bearer ")
        role, _, name = token.partition(":")
        caller = context.Caller(name, "admin" if role == "admin" else "user")
        enforce(access, caller)
        return caller, token


class Identities(identities_pb2_grpc.IdentitiesServiceServicer):
    """Says who asks, as it stands after a while."""

    async def GetIdentity(self, request, servicer_context):
        before = context.current()
        for _ in range(random.randrange(6)):
            await asyncio.sleep(0)
        now = context.current()
        assert now is before
        servicer_context.set_trailing_metadata((("etag", now.request_id),))
        return identities_pb2.Identity(id=request.id, email=f"{now.caller.id} {now.token} {now.request_id}")


@pytest.fixture
async def channel() -> AsyncIterator[ServiceChannel]:
    server = grpc.aio.server(options=serving.SERVER_OPTIONS)
    registry = serving._Registry(Authenticator())  # type: ignore[arg-type]
    identities_pb2_grpc.add_IdentitiesServiceServicer_to_server(Identities(), registry)
    multiplexer = Multiplexer()
    registry.register_with(multiplexer)
    server.add_generic_rpc_handlers((*registry.handlers(), multiplexer.handler()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = ServiceChannel(f"127.0.0.1:{port}")
    await channel.raw.channel_ready()
    await until(lambda: channel.raw.streams_up)
    yield channel
    await channel.close()
    await server.stop(None)


async def test_nobody_is_taken_for_another(channel: ServiceChannel):
    stub = identities_pb2_grpc.IdentitiesServiceStub(channel)  # type: ignore[arg-type]
    wrong: list[Any] = []

    async def ask(number: int) -> None:
        role = ("admin", "user", None)[number % 3]
        token = f"{role}:p{number}" if role else None
        caller = context.Caller(f"p{number}", "user") if role else None
        asked = context.RequestContext(f"r{number}", caller=caller, token=token)
        with context.bind(asked):
            for turn in range(20):
                id_ = f"{number}.{turn}"
                try:
                    answer = await stub.GetIdentity(identities_pb2.GetIdentityRequest(id=id_))
                except errors.DomainError as error:
                    expected = {"user": errors.Denied, None: errors.Unauthenticated}.get(role)
                    if type(error) is not expected:
                        wrong.append((token, error))
                else:
                    if role != "admin" or (answer.id, answer.email) != (id_, f"p{number} {token} r{number}"):
                        wrong.append((token, answer))

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask(number) for number in range(90)))
    assert wrong == []


async def test_the_trailing_metadata_of_a_call_are_its_own(channel: ServiceChannel):
    stub = identities_pb2_grpc.IdentitiesServiceStub(channel.raw)

    async def ask(number: int) -> Any:
        metadata = (("authorization", "Bearer admin:x"), ("x-request-id", f"r{number}"))
        call = stub.GetIdentity(identities_pb2.GetIdentityRequest(id="i"), metadata=metadata)
        await call
        return (await call.trailing_metadata())["etag"]

    assert await asyncio.gather(*map(ask, range(200))) == [f"r{number}" for number in range(200)]
