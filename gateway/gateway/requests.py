"""One HTTP request as the dispatcher sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from gateway.problems import Refused

if TYPE_CHECKING:
    from gateway.rate_limits import RateLimit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Seconds between two pieces of a body, after which the client is taken for gone.
BODY_TIMEOUT: Final = 30.0
# Bytes past the limit that are read and thrown away, so that the client gets to read the answer.
_DRAINED: Final = 8 * 1024 * 1024
_CLOSE: Final = (b"connection", b"close")


class ClientGone(Exception):
    """The client has closed the connection; nobody waits for an answer."""


class Request:
    """Method, path and headers of a request, its id, its client's address, and its body on demand.

    `path` is as sent, percent-encoding included. A header sent several times is one value, joined with commas
    (RFC 9110, 5.3). `route` is the template that matched, for logs and metrics.
    """

    __slots__ = (
        "caller_id", "client", "headers", "id", "method", "path", "query", "rate_limit", "receive", "route",
        "token_sent",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.headers = joined_headers(scope["headers"])
        self.id = ""
        self.client: str | None = None
        self.route = "unmatched"
        self.caller_id: str | None = None
        # The limit that the request has come closest to.
        self.rate_limit: RateLimit | None = None
        # Whether a token came along that was looked at: a 401 then is about that token.
        self.token_sent = False

    def header(self, name: bytes) -> str | None:
        """The value of a header, by its lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def has_body(self) -> bool:
        """Whether the head of the request announces a body (RFC 9112, 6.3)."""
        length = self.headers.get(b"content-length")
        return (length is not None and length.strip(b"0") != b"") or b"transfer-encoding" in self.headers

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises Refused (413, 408) and ClientGone."""
        if not self.has_body:
            return b""
        announced = int(self.headers.get(b"content-length", 0))
        if announced > limit:
            # A client that asked for leave to send (Expect: 100-continue) gets its refusal at once.
            if b"expect" not in self.headers and announced <= limit + _DRAINED:
                async for _ in self._pieces(True):
                    continue
            raise _too_large(limit)
        message = await self._next()
        body: bytes = message["body"]
        if not message["more_body"] and len(body) <= limit:
            return body
        pieces = [body]
        size = len(body)
        async for piece in self._pieces(message["more_body"]):
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            elif size > limit + _DRAINED:
                break
        if size > limit:
            raise _too_large(limit)
        return b"".join(pieces)

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes in; `limit` in bytes, 0 for none. Raises as `body` does."""
        size = 0
        if self.has_body:
            async for piece in self._pieces(True):
                size += len(piece)
                if limit and size > limit:
                    raise _too_large(limit)
                if piece:
                    yield piece

    async def gone(self) -> None:
        """Returns when the client has closed the connection. To be called after the body has been read."""
        while (await self.receive())["type"] != "http.disconnect":
            continue

    async def _pieces(self, more: bool) -> AsyncIterator[bytes]:
        while more:
            message = await self._next()
            more = message["more_body"]
            yield message["body"]

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                message = await self.receive()
        except TimeoutError:
            raise Refused(408, "REQUEST_TIMEOUT", "The body did not arrive in time.", headers=(_CLOSE,)) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message


def joined_headers(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _too_large(limit: int) -> Refused:
    return Refused(413, "BODY_TOO_LARGE", f"The body is larger than {limit} bytes.", headers=(_CLOSE,))
