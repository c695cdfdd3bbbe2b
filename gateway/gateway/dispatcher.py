"""The route table at work: which endpoint a request is for, or why none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import grpc.aio

from fastcms_common.access import Authenticator
from fastcms_common.audit import AuditLog
from fastcms_common.reach import Reach
from gateway.answers import Answer, StreamedAnswer
from gateway.endpoints import UnaryEndpoint
from gateway.problems import not_allowed
from gateway.rate_limits import RateLimits
from gateway.requests import Request
from gateway.routes import Route
from gateway.streams import DownloadEndpoint, ExchangeEndpoint, UploadEndpoint
from gateway.trie import Trie


class Endpoint(Protocol):
    """What a path and method lead to."""

    template: str

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        """Raises DomainError, Refused, ClientGone or ServiceFailed."""
        ...


class Dispatcher:
    """Endpoints by method and path."""

    def __init__(self) -> None:
        self._trie: Trie[Endpoint] = Trie()

    def add(self, method: str, endpoint: Endpoint) -> None:
        """Raises ValueError where the endpoint's path is taken."""
        self._trie.add(method, endpoint.template, endpoint)

    def find(self, method: str, path: str) -> Endpoint | None:
        """The endpoint that a request for `path` would come to."""
        found = self._trie.find(method, path)
        return None if found is None else found[0]

    async def answer(self, request: Request) -> Answer | StreamedAnswer | None:
        """The answer of the endpoint that the request is for; None where no endpoint has its path."""
        found = self._trie.find(request.method, request.path)
        if found is not None:
            endpoint, segments = found
            request.route = endpoint.template
            return await endpoint.answer(request, segments)
        allowed = self._trie.allowed(request.path)
        if not allowed:
            return None
        allowed = sorted({*allowed, "OPTIONS"})
        if request.method == "OPTIONS":
            return Answer(204, headers=((b"allow", ", ".join(allowed).encode("ascii")),))
        raise not_allowed(allowed)

    def knows(self, path: str) -> bool:
        """Whether any method is routed at `path`."""
        return bool(self._trie.allowed(path))


def compile_endpoints(
    routes: Iterable[Route],
    channels: Mapping[str, grpc.aio.Channel],
    authenticator: Authenticator,
    *,
    body_limit: int,
    seconds: float,
    limits: RateLimits | None = None,
    audit: AuditLog | None = None,
) -> Dispatcher:
    """A dispatcher for `routes`. `channels` by proto package; `body_limit` in bytes; `seconds` that a call may take;
    without `limits` nothing is counted, without `audit` nothing written down."""
    dispatcher = Dispatcher()
    reaches = {channel: Reach(channel) for channel in channels.values()}
    for route in routes:
        channel = channels[route.rpc.containing_service.file.package]
        endpoint: UnaryEndpoint | DownloadEndpoint | UploadEndpoint | ExchangeEndpoint
        if route.rpc.server_streaming and route.rpc.client_streaming:
            endpoint = ExchangeEndpoint(route, channel, authenticator, body_limit)
        elif route.rpc.server_streaming:
            endpoint = DownloadEndpoint(route, channel, authenticator, body_limit)
        elif route.rpc.client_streaming:
            endpoint = UploadEndpoint(route, channel, authenticator, body_limit)
        else:
            endpoint = UnaryEndpoint(route, channel, authenticator, body_limit, seconds)
        endpoint.reach = reaches[channel]
        endpoint.limits = limits
        endpoint.audit = audit
        dispatcher.add(route.method, endpoint)
    return dispatcher
