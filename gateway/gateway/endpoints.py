"""One route at work: the request as a message, the rpc, its answer as HTTP.

Compiled at start, one endpoint per route. What differs from rpc to rpc is in the protos; nothing here does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
import orjson
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory

from fastcms.common.v1.options_pb2 import Access, Rest
from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.channels import metadata_of
from fastcms_common.context import Caller, RequestContext, bind
from fastcms_common.errors import Denied, DomainError, Unauthenticated, Unavailable
from fastcms_common.reach import Reach
from fastcms_common.wire import error_of_call
from gateway import fields
from gateway.answers import JSON, Answer, Header
from gateway.binding import Binding
from gateway.encoding import compile_encoder
from gateway.rate_limits import RateLimits
from gateway.requests import ClientGone, Request
from gateway.routes import Route

T = TypeVar("T")

# Seconds after which a call that is still running is watched for its client going away.
_WATCH_AFTER: Final = 0.05
# What was lost on its way may have been read, and nobody minds that it is read again (RFC 9110, 9.2.2): after so many
# seconds, for of a connection that is broken it takes a moment until everyone here knows.
_SAFE: Final = ("GET", "HEAD")
_AGAIN_AFTER: Final = (0.05, 0.5)
_ETAG: Final = "etag"
_COOKIE: Final = "set-cookie"
# What may be kept by a browser is asked for anew each time; the rest is not kept at all.
_REVALIDATE: Final[Header] = (b"cache-control", b"private, no-cache")
DO_NOT_STORE: Final[Header] = (b"cache-control", b"no-store")


class ServiceFailed(Exception):
    """A service failed in a way that has no meaning for the caller: a defect, seen from here."""


class RpcEndpoint:
    """What all rpcs have in common: who calls, how often, the messages, the answer."""

    reach: Reach
    """Whether the service can be called."""
    limits: RateLimits | None = None
    """What calls are counted by; None: nothing is."""
    audit: AuditLog | None = None
    """Where it is written who acts as someone else; None: nowhere."""

    def __init__(self, route: Route, authenticator: Authenticator, body_limit: int) -> None:
        self.template = route.template
        self._route = route
        self._access = route.access
        self._authenticator = authenticator
        self._binding = Binding(route, body_limit)
        self._status = route.status
        answer = route.rpc.output_type
        self._answer_class = message_factory.GetMessageClass(answer)
        self._passed_on = answer.full_name == fields.HTTP_BODY
        self._encode = compile_encoder(answer, route.response_body) if not self._passed_on else None

    async def _metadata(self, request: Request) -> Any:
        """Finds out whether the caller may call, now, and what the call says about them."""
        authorization = request.header(b"authorization")
        request.token_sent = authorization is not None and self._access.caller != Access.CALLER_PUBLIC
        try:
            caller, token = await self._authenticator.caller(self._access, authorization)
        except (Unauthenticated, Denied):
            await self._count(request, None)
            raise
        if caller is not None:
            request.caller_id = caller.id
        await self._count(request, caller)
        agent = request.header(b"user-agent")
        context = RequestContext(
            request_id=request.id, client_ip=request.client, user_agent=agent[:512] if agent else None, caller=caller
        )
        if caller is not None and caller.actor_id is not None:
            await self._write_down(request, context)
        return metadata_of(context, token)

    async def _write_down(self, request: Request, context: RequestContext) -> None:
        """Everything that is done as someone else is in the audit log before it is done. Raises Unavailable."""
        if self.audit is not None:
            with bind(context):
                await self.audit.record(
                    "admin",
                    "impersonated_request",
                    description=f"{request.method} {self.template} while impersonating",
                    details={"method": request.method, "path": request.path, "rpc": self._route.rpc.full_name},
                )

    async def _count(self, request: Request, caller: Caller | None) -> None:
        """Counts the call against its limits. Raises Exhausted."""
        if self.limits is None or self._route.rest.rate_limit == Rest.RATE_LIMIT_NONE:
            return
        if self._route.rest.rate_limit == Rest.RATE_LIMIT_CREDENTIALS:
            await self.limits.by_address(request, self._route.rpc.name)
            if caller is not None and not self._route.rest.account_field:
                # Where no field names an account the call is about the caller's own.
                await self.limits.by_account(request, self._route.rpc.name, [caller.id])
        else:
            await self.limits.by_caller(request, caller)

    async def _count_account(self, request: Request, message: Any) -> None:
        """Counts a call that takes a credential against the account that it is about."""
        name = self._route.rest.account_field
        if self.limits is None or not name:
            return
        known = name in message.DESCRIPTOR.fields_by_name
        whose = getattr(message, name) if known else _told(message.body.data, name)
        if isinstance(whose, str):
            account = [str(getattr(message, part)) for part in self._route.parameters]
            parts = [part.strip().casefold() for part in (*account, whose)]
            await self.limits.by_account(request, self._route.rpc.name, parts)

    async def _asked(self, request: Request, ask: Callable[[], Awaitable[T]], *, plain: bool = False) -> T:
        """What `ask` gives, when the service can be called; asked again where that is lost on its way and does no harm.

        `plain`: as in `Reach.wait`.
        """
        for pause in _AGAIN_AFTER if request.method in _SAFE else ():
            there = await self.reach.wait(plain=plain)
            try:
                return await ask()
            except Unavailable as error:
                if not there or error.reason != "SERVICE_UNAVAILABLE":
                    raise
            await asyncio.sleep(pause)
        await self.reach.wait(plain=plain)
        return await ask()

    def _answer(self, request: Request, message: Any, trailing: Any) -> Answer:
        etag, cookie = _header_of(trailing, _ETAG), _header_of(trailing, _COOKIE)
        headers: tuple[Header, ...] = (DO_NOT_STORE,) if etag is None else ((b"etag", etag), _REVALIDATE)
        if cookie is not None:
            headers = (*headers, (b"set-cookie", cookie))
        if etag is not None and request.method in ("GET", "HEAD") and _matches(request, etag):
            return Answer(304, headers=headers)
        if self._status == 204:
            return Answer(204, headers=headers)
        if self._encode is not None:
            return Answer(self._status, self._encode(message), JSON, headers)
        return Answer(self._status, message.data, content_type_of(message), headers)


class UnaryEndpoint(RpcEndpoint):
    """One message in, one message out."""

    def __init__(
        self, route: Route, channel: grpc.aio.Channel, authenticator: Authenticator, body_limit: int, seconds: float
    ) -> None:
        super().__init__(route, authenticator, body_limit)
        self._seconds = seconds
        self._stub = channel.unary_unary(
            route.full_method,
            request_serializer=message_factory.GetMessageClass(route.rpc.input_type).SerializeToString,
            response_deserializer=self._answer_class.FromString,
        )

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer:
        metadata = await self._metadata(request)
        message = await self._binding.message(request, segments)
        await self._count_account(request, message)

        async def ask() -> Answer:
            call = self._stub(message, metadata=metadata, timeout=self._seconds)
            return await watched(self._finish(request, call), call, request)

        return await self._asked(request, ask)

    async def _finish(self, request: Request, call: Any) -> Answer:
        try:
            message = await call
            return self._answer(request, message, await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from error


async def watched(work: Awaitable[T], call: Any, request: Request) -> T:
    """The result of `work`, which waits for `call`. A client that goes away cancels the call: raises ClientGone."""
    loop = asyncio.get_running_loop()
    watcher: asyncio.Task[None] | None = None

    def watch() -> None:
        nonlocal watcher
        watcher = loop.create_task(_cancel_when_gone(call, request))

    # Most calls are done long before, and pay for a timer instead of a task.
    timer = loop.call_later(_WATCH_AFTER, watch)
    try:
        return await work
    except asyncio.CancelledError:
        if watcher is not None and watcher.done() and not watcher.cancelled():
            raise ClientGone from None
        call.cancel()
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


async def _cancel_when_gone(call: Any, request: Request) -> None:
    await request.gone()
    call.cancel()


def failure_of(error: grpc.aio.AioRpcError) -> DomainError | ServiceFailed:
    """What a failed call means. A bare INTERNAL is a defect, or else a lost connection."""
    code = error.code()
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS):
        if "RST_STREAM" in (error.details() or ""):
            return Unavailable("The connection to a service was lost.", reason="SERVICE_UNAVAILABLE")
        return ServiceFailed(f"{code.name}: {error.details()}")
    return error_of_call(error)


def _header_of(trailing: Any, name: str) -> bytes | None:
    if trailing:
        for key, value in trailing:
            if key == name:
                return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
    return None


def _matches(request: Request, etag: bytes) -> bool:
    """Whether If-None-Match names the tag, by weak comparison (RFC 9110, 13.1.2)."""
    wanted = request.headers.get(b"if-none-match")
    if wanted is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in wanted.split(b",")]
    return b"*" in tags or etag.removeprefix(b"W/") in tags


def content_type_of(message: HttpBody) -> bytes:
    return message.content_type.encode("latin-1", "replace") if message.content_type else JSON


def _told(body: bytes, name: str) -> Any:
    """What a body that is passed on as it was sent says under a key; None where it says nothing."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # It is for the service to say what is wrong with it.
        return None
    return value.get(name) if isinstance(value, dict) else None
