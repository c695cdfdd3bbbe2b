"""A gateway as it really is, over HTTP, in front of a made-up service on a real gRPC server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import httpx
import jwt
import orjson
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from redis.asyncio import Redis

from fastcms_common import errors, redis_keys
from fastcms_common.access import Authenticator
from fastcms_common.channels import OPTIONS, open_raw_channel
from fastcms_common.context import AUTHORIZATION, CLIENT_IP, REQUEST_ID, USER_AGENT
from fastcms_common.errors import FieldError
from fastcms_common.multiplex.client import MultiplexedChannel
from fastcms_common.multiplex.server import Multiplexer
from fastcms_common.sessions import SessionGuard
from fastcms_common.tokens import TokenVerifier
from fastcms_common.wire import DETAILS, status_of
from gateway.__main__ import build, server_config
from gateway.config import Settings
from gateway.health import Check
from gateway.processes import listen
from gateway.routes import compile_routes
from tests.contract.gateway import made_up

FAILURES: dict[str, errors.DomainError] = {
    "malformed": errors.Malformed("It makes no sense."),
    "invalid": errors.Invalid([FieldError("how", "Is bad."), FieldError("why", "Is bad too.")]),
    "policy": errors.Invalid(
        [FieldError("password", "Too short"), FieldError("password", "No digit")], reason="PASSWORD_POLICY"
    ),
    "unauthenticated": errors.Unauthenticated("Wrong e-mail or password.", reason="INVALID_CREDENTIALS"),
    "denied": errors.Denied("Account locked. Try again in 1742 seconds.", reason="ACCOUNT_LOCKED", retry_after=1742),
    "missing": errors.NotFound("No such thing."),
    "conflict": errors.Conflict("It is there already."),
    "stale": errors.Stale("It has changed."),
    "large": errors.TooLarge("It is too large."),
    "exhausted": errors.Exhausted("Slow down.", retry_after=3),
    "unavailable": errors.Unavailable("mongodb://secret-host refused"),
    "late": errors.TimedOut("secret-host slept"),
}
"""What the rpc Fail fails with."""


class MadeUpServicer:
    """Says what it was asked, fails as it is told to, and remembers what became of slow calls."""

    def __init__(self) -> None:
        self.messages = made_up.modules()[0]
        self.slow_calls = 0
        self.slow_seconds = 60
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def Echo(self, request: Any, context: Any) -> Any:
        return request

    async def EchoQuery(self, request: Any, context: Any) -> Any:
        return request

    async def WhoAmI(self, request: Any, context: Any) -> Any:
        sent = dict(context.invocation_metadata())
        agent = sent.get(USER_AGENT)
        return self.messages.Caller(
            authorization=sent.get(AUTHORIZATION),
            request_id=sent[REQUEST_ID],
            client_ip=sent.get(CLIENT_IP),
            user_agent=agent.decode() if isinstance(agent, bytes) else agent,
        )

    async def WhoMayBe(self, request: Any, context: Any) -> Any:
        return await self.WhoAmI(request, context)

    async def Govern(self, request: Any, context: Any) -> Any:
        return Empty()

    async def Hidden(self, request: Any, context: Any) -> Any:
        return Empty()

    async def GetThing(self, request: Any, context: Any) -> Any:
        if request.id == "slow":
            await self._sleep(context)
        if request.id == "huge":
            return HttpBody(content_type="application/json", data=b'"' + b"x" * 8_000_000 + b'"')
        context.set_trailing_metadata((("etag", '"v1"'),))
        told = {"id": request.id, "query": dict(request.query), "size": request.size, "exact": "N"}
        return HttpBody(
            content_type="application/json", data=orjson.dumps(told).replace(b'"N"', b"9007199254740993.10")
        )

    async def ListThings(self, request: Any, context: Any) -> Any:
        return self.messages.ListThingsResponse(things=[{"id": tag} for tag in request.tag])

    async def UpdateThing(self, request: Any, context: Any) -> Any:
        return request

    async def PutRaw(self, request: Any, context: Any) -> Any:
        return HttpBody(content_type=request.body.content_type, data=request.body.data)

    async def Fail(self, request: Any, context: Any) -> Any:
        if request.how in FAILURES:
            error = FAILURES[request.how]
            details = ((DETAILS, status_of(error).SerializeToString()),)
            await context.abort(error.code, error.detail, trailing_metadata=details)
        if request.how == "slow":
            await self._sleep(context)
        if request.how in grpc.StatusCode.__members__:
            await context.abort(grpc.StatusCode[request.how], "secret-host did it")
        return Empty()

    async def Download(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.fail_after == "slow":
            await self._sleep(context)
            request.ClearField("fail_after")
        for piece in range(request.pieces):
            yield HttpBody(content_type="application/x-ndjson", data=str(piece % 10).encode() * request.size)
        if request.HasField("fail_after"):
            await context.abort(grpc.StatusCode.UNAVAILABLE, request.fail_after)

    async def Upload(self, requests: AsyncIterator[Any], context: Any) -> Any:
        uploaded = self.messages.Uploaded()
        async for request in requests:
            if not uploaded.name:
                uploaded.name = request.name
                uploaded.content_type = request.body.content_type
                if request.name == "refused":
                    error = FAILURES["denied"]
                    details = ((DETAILS, status_of(error).SerializeToString()),)
                    await context.abort(error.code, error.detail, trailing_metadata=details)
            uploaded.pieces += 1
            uploaded.size += len(request.body.data)
        return uploaded

    async def Exchange(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        name = ""
        try:
            async for request in requests:
                name = name or request.name
                self.begun.set()
                if request.name == "refused":
                    error = FAILURES["denied"]
                    details = ((DETAILS, status_of(error).SerializeToString()),)
                    await context.abort(error.code, error.detail, trailing_metadata=details)
                if name != "late":
                    yield HttpBody(content_type="application/x-ndjson", data=b"%d\n" % len(request.body.data))
            yield HttpBody(content_type="application/x-ndjson", data=b"end of " + name.encode())
        finally:
            self.ended.set()

    async def _sleep(self, context: Any) -> None:
        self.slow_calls += 1
        try:
            await asyncio.sleep(self.slow_seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Keys:
    """The keys of an auth-service."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()

    async def key_set(self) -> bytes:
        raw = base64.urlsafe_b64encode(self._private.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return orjson.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": raw}]})

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": "fastcms", "aud": "fastcms", "sub": "u1", "iat": now, "exp": now + 600, "jti": "j"}
        body |= {"sid": "s1", "role": "user", "col": "users"} | claims
        return jwt.encode(body, self._private, algorithm="EdDSA", headers={"kid": "k", "typ": "at+jwt"})


class Server(uvicorn.Server):
    """uvicorn inside of a test: signals are the test run's own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class Service:
    """The made-up service as a process would have it: it can be stopped, and started again where it was."""

    def __init__(self, servicer: MadeUpServicer) -> None:
        self.port = 0
        self._servicer = servicer

    async def start(self) -> None:
        self._server = grpc.aio.server(options=OPTIONS)
        multiplexer = Multiplexer()
        for server_of in (self._server, multiplexer):
            made_up.modules()[1].add_MadeUpServiceServicer_to_server(self._servicer, server_of)
        self._server.add_generic_rpc_handlers((multiplexer.handler(),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)


class Running:
    """A gateway that listens, its service and its keys. `client` speaks HTTP to it."""

    def __init__(
        self, address: tuple[str, int], servicer: MadeUpServicer, service: Service, keys: Keys, redis: Redis
    ) -> None:
        self.address = address
        self.url = f"http://{address[0]}:{address[1]}"
        self.servicer = servicer
        self.service = service
        self.keys = keys
        self.redis = redis
        self.client = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=20)

    async def sign_in(self, session: str = "s1", **claims: Any) -> dict[str, str]:
        """The headers of a caller whose session is alive."""
        await self.redis.hset(redis_keys.session(session), mapping={"user": "u1"})  # type: ignore[misc]
        return {"Authorization": f"Bearer {self.keys.token(sid=session, **claims)}"}

    async def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """What the gateway answers to these bytes on a connection of their own."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(20):
                return await reader.read() if until_closed else await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def running(
    redis_url: str, checks: dict[str, Check] | None = None, *, multiplex: bool = True, **settings: Any
) -> AsyncIterator[Running]:
    """Starts the made-up service and a gateway before it."""
    servicer, keys, redis = MadeUpServicer(), Keys(), Redis.from_url(redis_url, protocol=3)
    service = Service(servicer)
    await service.start()
    channel = open_raw_channel(f"127.0.0.1:{service.port}", multiplex=multiplex)
    await channel.channel_ready()
    async with asyncio.timeout(20):
        # Before the first stream is up, calls are plain ones.
        while isinstance(channel, MultiplexedChannel) and not channel.streams_up:
            await asyncio.sleep(0.01)
    sessions = SessionGuard(redis)
    chosen = Settings(access_log=False, drain_seconds=0, **settings)
    app = build(
        chosen,
        compile_routes([made_up.service()]),
        {"made_up.v1": channel},
        Authenticator(TokenVerifier(keys.key_set, "fastcms"), sessions),
        checks=checks or {},
        lifespan=contextlib.nullcontext,  # type: ignore[arg-type]
        admit=lambda request: None,
    )
    socket = listen("127.0.0.1:0")
    server = Server(server_config(chosen, app))
    serving = asyncio.create_task(server.serve(sockets=[socket]))
    gateway = Running(socket.getsockname(), servicer, service, keys, redis)
    try:
        yield gateway
    finally:
        await gateway.client.aclose()
        server.should_exit = True
        await serving
        await channel.close()
        await service.stop()
        await redis.aclose()
