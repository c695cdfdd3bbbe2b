"""The outermost layer, one for everything: the dispatcher's rpcs and FastAPI's pages alike.

Here a request gets its id and its client's address, and an answer its security headers, its CORS headers and its line
in the access log. Every error that reaches this place becomes a problem document.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Final

from fastcms_common import context, tracing
from fastcms_common.context import RequestContext
from fastcms_common.errors import DomainError
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from gateway.access_log import AccessLog, Entry
from gateway.addresses import ClientAddresses
from gateway.answers import Answer, Header, StreamedAnswer
from gateway.connections import lines_of, write_at_once
from gateway.cors import Cors
from gateway.dispatcher import Dispatcher
from gateway.endpoints import ServiceFailed
from gateway.problems import Refused, internal, problem_of
from gateway.requests import ClientGone, Message, Receive, Request, Scope, Send

if TYPE_CHECKING:
    from gateway.traces import RequestTraces

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Lifespan = Callable[[], AbstractAsyncContextManager[None]]
Admit = Callable[[Request], None]
"""Returns where a request may come in, raises DomainError where it may not."""

# nginx's name for a client that did not wait. It is logged, nobody is there to read it.
CLIENT_GONE: Final = 499

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_POLICY: Final = b"content-security-policy"
_NO_CONTENT_POLICY: Final[Header] = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
_CLOSE: Final[Header] = (b"connection", b"close")

_ID_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
_ID_LENGTH: Final = 128

_SECURITY_LINES: Final = lines_of(SECURITY_HEADERS)

log = get_logger(__name__)


class Edge:
    """The ASGI application. `pages` is what answers where the dispatcher has no such path; `admit` raises for a request
    that may not come in at all."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        pages: ASGIApp,
        *,
        addresses: ClientAddresses,
        cors: Cors,
        access_log: AccessLog,
        body_limit: int,
        lifespan: Lifespan,
        admit: Admit,
    ) -> None:
        self._dispatcher = dispatcher
        self._pages = pages
        self._addresses = addresses
        self._cors = cors
        self._access_log = access_log
        self._body_limit = body_limit
        self._lifespan = lifespan
        self._admit = admit
        self._traces = _traces()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive)
        request.id = _request_id(request.headers.get(b"x-request-id"))
        peer = scope.get("client")
        request.client = self._addresses.client(peer[0] if peer else None, request.headers.get(b"x-forwarded-for"))
        answering = _Answering(request, send, self._cors)
        self._access_log.open += 1
        try:
            if self._traces is None:
                await self._answer(request, scope, answering)
            else:
                await self._traces.follow(request, self._answer(request, scope, answering))
        except ClientGone:
            answering.status = answering.status or CLIENT_GONE
        finally:
            self._access_log.open -= 1
            elapsed = time.perf_counter() - started
            self._access_log.add(_entry(request, answering, elapsed))

    async def _answer(self, request: Request, scope: Scope, answering: _Answering) -> int:
        """Answers; gives the status."""
        try:
            self._admit(request)
            answer = self._cors.preflight(request) or await self._dispatcher.answer(request)
            if answer is None:
                await self._page(request, scope, answering)
            elif isinstance(answer, Answer):
                await answering.complete(answer)
            else:
                await answering.stream(answer)
        except ClientGone:
            raise
        except (DomainError, Refused) as error:
            await answering.complete(_problem(request, error))
        except Exception as error:
            kind = "service failed" if isinstance(error, ServiceFailed) else "request failed"
            log.error(kind, request_id=request.id, method=request.method, route=request.route, exc_info=error)
            await answering.complete(internal(request.id))
        return answering.status

    async def _page(self, request: Request, scope: Scope, answering: _Answering) -> None:
        # Pages take small bodies only, so these are read before anyone waits for them.
        body = await request.body(self._body_limit)
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else await request.receive()

        scope.setdefault("state", {})["request_id"] = request.id
        with context.bind(RequestContext(request_id=request.id, client_ip=request.client)):
            await self._pages(scope, receive, answering.pass_on)
        route = scope.get("route")
        request.route = getattr(route, "path", request.route)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._lifespan():
                writing = asyncio.create_task(self._access_log.run())
                await send({"type": "lifespan.startup.complete"})
                await receive()
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        except Exception as error:
            log.error("start or stop failed", exc_info=error)
            await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            return
        await send({"type": "lifespan.shutdown.complete"})


def _traces() -> RequestTraces | None:
    spans = tracing.active()
    if spans is None:
        return None
    from gateway.traces import RequestTraces

    return RequestTraces(spans)


class _Answering:
    """Sends one answer, with the headers that all answers have; knows what was sent."""

    __slots__ = ("_cors", "_request", "_send", "size", "status")

    def __init__(self, request: Request, send: Send, cors: Cors) -> None:
        self._request = request
        self._send = send
        self._cors = cors
        self.status = 0
        self.size = 0

    async def complete(self, answer: Answer) -> None:
        """Sends a whole answer. Where another has begun it stays unfinished: the server then closes the connection."""
        if self.status:
            return
        headers = self._headers()
        body = answer.body
        if answer.content_type:
            headers.append((b"content-type", answer.content_type))
        if answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        headers.extend(answer.headers)
        _add_policy(headers)
        self.size = len(body)
        if _CLOSE not in answer.headers and write_at_once(
            self._send, answer.status, _SECURITY_LINES + lines_of(headers), body
        ):
            self.status = answer.status
            return
        await self._start(answer.status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, answer: StreamedAnswer) -> None:
        """Sends an answer as it comes."""
        headers = [*self._headers(), (b"content-type", answer.content_type), _NO_CONTENT_POLICY, *answer.headers]
        async with aclosing(answer.pieces) as pieces:
            await self._start(answer.status, headers)
            if self._request.method != "HEAD":
                async for piece in pieces:
                    self.size += len(piece)
                    await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def pass_on(self, message: Message) -> None:
        """Takes the place of `send` for an ASGI application within."""
        if message["type"] == "http.response.start":
            headers = [*self._headers(), *message.get("headers", ())]
            _add_policy(headers)
            await self._start(message["status"], headers)
        else:
            self.size += len(message.get("body", b""))
            await self._send(message)

    def _headers(self) -> list[Header]:
        """Those that differ from answer to answer."""
        headers = [(b"x-request-id", self._request.id.encode("ascii"))]
        self._cors.extend(headers, self._request)
        if self._request.rate_limit is not None:
            headers.extend(self._request.rate_limit.headers())
        return headers

    async def _start(self, status: int, headers: list[Header]) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": [*SECURITY_HEADERS, *headers]})


def _add_policy(headers: list[Header]) -> None:
    """Adds the policy of what is no page, unless there is one."""
    for name, _ in headers:
        if name == _POLICY:
            return
    headers.append(_NO_CONTENT_POLICY)


def _problem(request: Request, error: DomainError | Refused) -> Answer:
    answer = problem_of(error, request.id, token_sent=request.token_sent)
    if answer.status >= 500:
        log.warning(
            "request failed",
            request_id=request.id,
            method=request.method,
            route=request.route,
            status=answer.status,
            reason=getattr(error, "reason", None),
            error=str(error),
            cause=repr(error.__cause__) if error.__cause__ else None,
        )
    return answer


def _request_id(sent: bytes | None) -> str:
    """The id that the client has sent, where it is one; else a new one."""
    if sent and len(sent) <= _ID_LENGTH and not sent.translate(None, _ID_LETTERS):
        return sent.decode("ascii")
    return new_id()


def _entry(request: Request, answering: _Answering, elapsed: float) -> Entry:
    return Entry(
        request.method,
        request.route,
        request.path,
        answering.status,
        elapsed,
        answering.size,
        request.id,
        request.client,
        request.caller_id,
        request.header(b"user-agent"),
        time.time(),
    )
