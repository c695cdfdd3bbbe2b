"""What every service's port does, on a real grpc.aio server and a real Redis."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import grpc.aio
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from redis.asyncio import Redis

from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc, identities_pb2, identities_pb2_grpc, keys_pb2_grpc
from fastcms_common import context, errors, serving
from fastcms_common.access import Authenticator
from fastcms_common.channels import open_channel
from fastcms_common.health_servicer import HealthServicer
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.sessions import SessionGuard
from fastcms_common.settings import ProcessSettings
from fastcms_common.tokens import AUDIENCE, TokenVerifier
from tests.ports import free_port

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
KEY = Ed25519PrivateKey.generate()
PUBLIC = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()


async def key_set() -> bytes:
    return orjson.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": PUBLIC, "alg": "EdDSA"}]})


def token(key: Ed25519PrivateKey = KEY, header: dict[str, str] | None = None, **claims: object) -> str:
    now = int(time.time())
    body = {"iss": "fastcms", "aud": AUDIENCE, "sub": "u1", "iat": now, "exp": now + 60, "jti": new_id()}
    body |= {"sid": "s1", "role": "user", "col": "users"} | claims
    return jwt.encode(body, key, algorithm="EdDSA", headers={"kid": "k1", "typ": "at+jwt"} | (header or {}))


class Accounts(auth_pb2_grpc.AuthServiceServicer):
    """Answers with what it was told about the call, or fails as the password asks."""

    async def Login(self, request, servicer_context):
        if request.password == "bug":
            raise RuntimeError("the secret 4711")
        if request.password == "locked":
            raise errors.Denied("Account locked. Try again in 7 seconds.", reason="ACCOUNT_LOCKED", retry_after=7)
        if request.password == "many":
            raise errors.Invalid([errors.FieldError(f"f{n}", "x" * 400) for n in range(300)])
        if request.password == "slow":
            await asyncio.Event().wait()
        now = context.current()
        return auth_pb2.LoginAnswer(access_token=now.request_id, token_type=now.user_agent or "")

    async def Logout(self, request, servicer_context):
        assert context.current().caller is not None
        return Empty()

    async def RevokeAllSessions(self, request, servicer_context):
        return Empty()


class Identities(identities_pb2_grpc.IdentitiesServiceServicer):
    async def GetIdentity(self, request, servicer_context):
        return identities_pb2.Identity(id=request.id)

    async def DeleteExpiredTokens(self, request, servicer_context):
        return identities_pb2.DeleteExpiredTokensResponse(deleted=1)


@dataclass
class Served:
    target: str
    channel: grpc.aio.Channel
    redis: Redis
    guard: SessionGuard

    async def call(self, method, request, *, bearer: str | None = None):
        asked = context.RequestContext(
            request_id="r-1", user_agent="agent ü", caller=context.Caller("x", "user"), token=bearer
        )
        with context.bind(asked):
            return await method(request)


@pytest.fixture(params=["plain", "multiplexed"])
async def served(redis_server, request) -> AsyncIterator[Served]:
    redis = connect(redis_server.url)
    await redis.flushdb()
    await redis.hset("session:s1", mapping={"user": "u1"})
    guard = SessionGuard(redis)
    settings = ProcessSettings(listen=f"127.0.0.1:{free_port()}", leaving_seconds=0, drain_seconds=0)
    task = asyncio.create_task(
        serving.serve(
            settings,
            "test",
            [
                (auth_pb2_grpc.add_AuthServiceServicer_to_server, Accounts()),
                (identities_pb2_grpc.add_IdentitiesServiceServicer_to_server, Identities()),
            ],
            Authenticator(TokenVerifier(key_set, "fastcms"), guard),
            ready={"redis": redis.ping},
            background=[guard.watch()],
        )
    )
    multiplex = request.param == "multiplexed"
    channel = open_channel(settings.listen, multiplex=multiplex)
    raw = channel.raw  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        await raw.channel_ready()
        while multiplex and not raw.streams_up:
            await asyncio.sleep(0.01)
    yield Served(settings.listen, channel, redis, guard)
    await channel.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await redis.aclose()


async def test_the_context_of_a_call_arrives_with_it(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    answer = await served.call(stub.Login, auth_pb2.LoginRequest(email="a", password="b"))
    assert (answer.access_token, answer.token_type) == ("r-1", "agent ü")


async def test_a_domain_error_comes_back_as_the_same_error(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    with pytest.raises(errors.Denied) as caught:
        await served.call(stub.Login, auth_pb2.LoginRequest(email="a", password="locked"))
    assert caught.value.reason == "ACCOUNT_LOCKED"
    assert caught.value.retry_after == 7
    assert caught.value.detail == "Account locked. Try again in 7 seconds."


async def test_a_bug_tells_nothing_of_itself(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel.raw)  # type: ignore[attr-defined]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Login(auth_pb2.LoginRequest(email="a", password="bug"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "4711" not in str(caught.value)


async def test_many_bad_fields_fit_into_an_answer(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    with pytest.raises(errors.Invalid) as caught:
        await served.call(stub.Login, auth_pb2.LoginRequest(email="a", password="many"))
    assert len(caught.value.fields) == 100


async def test_required_and_too_long_fields_are_named_all_at_once(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    with pytest.raises(errors.Invalid) as caught:
        await served.call(stub.Login, auth_pb2.LoginRequest(email="e" * 255, mfa_code="9" * 65))
    assert [field.field for field in caught.value.fields] == ["email", "password", "mfa_code"]


async def test_a_deadline_ends_a_call(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    soon = asyncio.get_running_loop().time() + 0.2
    with context.bind(context.RequestContext(request_id="r", deadline=soon)), pytest.raises(errors.TimedOut):
        await stub.Login(auth_pb2.LoginRequest(email="a", password="slow"))


FORGED = {
    "no token": None,
    "not a token": "nonsense",
    "signed by someone else": token(Ed25519PrivateKey.generate()),
    "unsigned": jwt.encode({"sub": "u1", "role": "admin"}, None, algorithm="none"),
    "signed with the public key as a secret": jwt.encode(
        {"sub": "u1", "role": "admin"}, PUBLIC + "x" * 40, algorithm="HS256", headers={"kid": "k1", "typ": "at+jwt"}
    ),
    "of another type": token(header={"typ": "JWT"}),
    "of an unknown key": token(header={"kid": "k2"}),
    "of another issuer": token(iss="elsewhere"),
    "for another audience": token(aud="elsewhere"),
    "expired": token(exp=int(time.time()) - 1),
    "of an unknown role": token(role="root"),
    "without a session": token(sid=None),
    "of an ended session": token(sid="s2"),
    "huge": token(pad="x" * 5000),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_bad_token_opens_nothing(served: Served, name: str):
    accounts = auth_pb2_grpc.AuthServiceStub(served.channel)
    identities = identities_pb2_grpc.IdentitiesServiceStub(served.channel)
    for method, request in (
        (accounts.Logout, auth_pb2.LogoutRequest()),
        (identities.GetIdentity, identities_pb2.GetIdentityRequest(id="u1")),
        (identities.DeleteExpiredTokens, identities_pb2.DeleteExpiredTokensRequest()),
    ):
        with pytest.raises(errors.Unauthenticated):
            await served.call(method, request, bearer=FORGED[name])


async def test_each_caller_reaches_what_is_meant_for_it(served: Served):
    identities = identities_pb2_grpc.IdentitiesServiceStub(served.channel)
    accounts = auth_pb2_grpc.AuthServiceStub(served.channel)
    who = {
        "user": token(),
        "admin": token(role="admin"),
        "admin of an auth collection": token(role="admin", col="c1"),
        "admin as someone": token(role="admin", act={"sub": "u9"}),
        "user by an admin": token(act={"sub": "u9"}),
        "service": token(role="service", sid=None, sub="service:x"),
    }
    allowed = {
        "GetIdentity": {"admin", "service"},
        "DeleteExpiredTokens": {"service"},
        "RevokeAllSessions": {"user", "admin", "admin of an auth collection"},
        "Logout": set(who) - {"service"},
    }
    calls = {
        "GetIdentity": (identities.GetIdentity, identities_pb2.GetIdentityRequest(id="u1")),
        "DeleteExpiredTokens": (identities.DeleteExpiredTokens, identities_pb2.DeleteExpiredTokensRequest()),
        "RevokeAllSessions": (accounts.RevokeAllSessions, auth_pb2.RevokeAllSessionsRequest()),
        "Logout": (accounts.Logout, auth_pb2.LogoutRequest()),
    }
    reached: dict[str, set[str]] = {name: set() for name in calls}
    for name, (method, request) in calls.items():
        for caller, bearer in who.items():
            try:
                await served.call(method, request, bearer=bearer)
                reached[name].add(caller)
            except errors.Denied:
                continue
    assert reached == allowed


async def test_a_revoked_session_is_refused_within_100_milliseconds(served: Served):
    stub = auth_pb2_grpc.AuthServiceStub(served.channel)
    bearer = token()
    for _ in range(50):
        await served.call(stub.Logout, auth_pb2.LogoutRequest(), bearer=bearer)
    await served.redis.delete("session:s1")
    await served.redis.publish("session-revoked", "s1")
    ended = time.monotonic()
    with pytest.raises(errors.Unauthenticated):
        while time.monotonic() - ended < 0.1:
            await served.call(stub.Logout, auth_pb2.LogoutRequest(), bearer=bearer)


async def test_health_answers_anyone_and_reflection_does_not(served: Served):
    raw = served.channel.raw  # type: ignore[attr-defined]
    health = health_pb2_grpc.HealthStub(raw)
    alive = await health.Check(health_pb2.HealthCheckRequest(service=""))
    assert alive.status == SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(raw)
    question = reflection_pb2.ServerReflectionRequest(list_services="")

    async def names(bearer: str | None):
        metadata = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        return [one async for one in reflection.ServerReflectionInfo(iter([question]), metadata=metadata)]

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await names(None)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    (answer,) = await names(token(role="admin"))
    assert "fastcms.auth.v1.AuthService" in {one.name for one in answer.list_services_response.service}


async def test_all_who_watch_hear_of_the_end_also_when_one_of_them_has_gone():
    servicer, server = HealthServicer(), grpc.aio.server()
    servicer.set("", SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with asyncio.timeout(10), grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service="")) for _ in range(3)]
        assert [(await watch.read()).status for watch in watches] == [SERVING] * 3
        watches.pop().cancel()
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="other"))
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        servicer.set("", NOT_SERVING)
        assert [(await watch.read()).status for watch in watches] == [NOT_SERVING] * 2
    await server.stop(0)


async def test_an_rpc_that_nobody_serves_is_unknown_rather_than_open(served: Served):
    stub = keys_pb2_grpc.KeysServiceStub(served.channel.raw)  # type: ignore[attr-defined]
    from fastcms.auth.v1 import keys_pb2

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetKeySet(keys_pb2.GetKeySetRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
