"""Which other origins a browser may call from (Fetch, 3.2). Tokens travel in a header: no cookies are let through."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gateway.answers import Answer, Header
from gateway.requests import Request

_MAX_AGE: Final = b"600"
_EXPOSED: Final = b"ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
_ACCEPTED: Final = b"Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id, X-Setup-Token"
_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_VARY: Final[Header] = (b"vary", b"Origin")


class Cors:
    """Answers for a set of origins; "*" stands for all, an empty set for none but the gateway's own."""

    def __init__(self, origins: Collection[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/").encode("ascii") for origin in origins)

    def preflight(self, request: Request) -> Answer | None:
        """The answer to a preflight request; None where it is none."""
        if request.method != "OPTIONS" or not self._origins:
            return None
        if b"origin" not in request.headers or b"access-control-request-method" not in request.headers:
            return None
        request.route = "preflight"
        headers: list[Header] = [(b"access-control-max-age", _MAX_AGE)]
        if self._allowed(request):
            headers.append((b"access-control-allow-methods", _METHODS))
            headers.append((b"access-control-allow-headers", _ACCEPTED))
        return Answer(204, headers=headers)

    def extend(self, headers: list[Header], request: Request) -> None:
        """Adds to an answer's headers what its browser wants to see."""
        if not self._origins:
            return
        if self._allowed(request):
            origin = b"*" if self._all else request.headers[b"origin"]
            headers.append((b"access-control-allow-origin", origin))
            headers.append((b"access-control-expose-headers", _EXPOSED))
        if not self._all:
            headers.append(_VARY)

    def _allowed(self, request: Request) -> bool:
        origin = request.headers.get(b"origin")
        return origin is not None and (self._all or origin in self._origins)
