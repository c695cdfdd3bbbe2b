"""Calls to other services: a channel that generated stubs use unchanged.

Each call carries the current request's id, address and agent, the caller's token (or, where there is no caller, this
service's own), and a deadline: what is left of the current call's, or `DEADLINE` seconds. Failures come back as domain
errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import grpc
import grpc.aio

from fastcms_common import context, tracing
from fastcms_common.errors import TimedOut
from fastcms_common.multiplex.client import MultiplexedChannel
from fastcms_common.reach import Reach
from fastcms_common.tls import Certificate, RenewedChannel, Tls
from fastcms_common.wire import error_of_call

# Seconds.
DEADLINE = 10.0
# A record list may be far larger than any request: the gateway bounds what comes in, services what goes out.
MAX_MESSAGE = 64 * 1024 * 1024
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 256 * 1024),
    ("grpc.absolute_max_metadata_size", 512 * 1024),
    # A service that was restarted is found again within half a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Where it is then is asked anew when a connection is lost; gRPC's own is twice a minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # No connection is shared with another channel of this process: gRPC crashes where two ask at the same moment
    # for the health of what they share (seen in 1.76 and in 1.85).
    ("grpc.use_local_subchannel_pool", 1),
    # Each server is asked to tell when it begins to stop: from then on calls go to the others.
    (
        "grpc.service_config",
        '{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":""}}',
    ),
]

ServiceToken = Callable[[], Awaitable[str]]
Metadata = tuple[tuple[str, str | bytes], ...]

_as_service: ContextVar[bool] = ContextVar("as_service", default=False)


@contextmanager
def as_service() -> Iterator[None]:
    """Calls in this block are the service's own: they carry its token rather than the caller's."""
    reset = _as_service.set(True)
    try:
        yield
    finally:
        _as_service.reset(reset)


def metadata_of(current: context.RequestContext, token: str | None) -> Metadata:
    """What a call made for `current` says about itself."""
    pairs: list[tuple[str, str | bytes]] = [(context.REQUEST_ID, current.request_id)]
    if token:
        pairs.append((context.AUTHORIZATION, f"Bearer {token}"))
    if current.client_ip:
        pairs.append((context.CLIENT_IP, current.client_ip))
    if current.user_agent:
        pairs.append((context.USER_AGENT, current.user_agent.encode("utf-8", "replace")))
    return tuple(pairs)


def time_left(current: context.RequestContext) -> float:
    """Seconds that a call made for `current` may take. Raises TimedOut where none are left."""
    if current.deadline is None:
        return DEADLINE
    left = current.deadline - asyncio.get_running_loop().time()
    if left <= 0:
        raise TimedOut("The deadline passed before the call could be made.")
    return min(left, DEADLINE)


class ServiceChannel:
    """A gRPC channel with the manners above. `raw` is the channel beneath."""

    def __init__(
        self, target: str, service_token: ServiceToken | None = None, *, multiplex: bool = True, tls: Tls | None = None
    ) -> None:
        self.raw = open_raw_channel(target, multiplex=multiplex, tls=tls)
        self._service_token = service_token
        self._reach = Reach(self.raw)

    async def _dressed(self, *, plain: bool) -> tuple[Metadata, float]:
        await self._reach.wait(plain=plain)
        current = context.current()
        token = current.token
        if _as_service.get() or current.caller is None:
            token = await self._service_token() if self._service_token else None
        return metadata_of(current, token), time_left(current)

    def unary_unary(self, *method: Any, **registered: Any) -> Any:
        return self._answering_once(self.raw.unary_unary(*method, **registered))

    def stream_unary(self, *method: Any, **registered: Any) -> Any:
        return self._answering_once(self.raw.stream_unary(*method, **registered), stream=True)

    def unary_stream(self, *method: Any, **registered: Any) -> Any:
        return self._answering_often(self.raw.unary_stream(*method, **registered))

    def stream_stream(self, *method: Any, **registered: Any) -> Any:
        return self._answering_often(self.raw.stream_stream(*method, **registered))

    def _answering_once(self, inner: Any, stream: bool = False) -> Any:
        async def call(request: Any, *, timeout: float | None = None) -> Any:
            metadata, left = await self._dressed(plain=stream)
            if timeout is None and not stream:
                timeout = left
            try:
                return await inner(request, metadata=metadata, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                raise error_of_call(error) from error

        return call

    def _answering_often(self, inner: Any) -> Any:
        async def call(request: Any, *, timeout: float | None = None) -> AsyncIterator[Any]:
            metadata, _ = await self._dressed(plain=True)
            try:
                async for response in inner(request, metadata=metadata, timeout=timeout):
                    yield response
            except grpc.aio.AioRpcError as error:
                raise error_of_call(error) from error

        return call

    async def close(self) -> None:
        await self.raw.close()


def open_channel(
    target: str, service_token: ServiceToken | None = None, *, multiplex: bool = True, tls: Tls | None = None
) -> grpc.aio.Channel:
    """A channel to `target` (`settings.ADDRESSES`) for generated stubs. `service_token` gives this service's own token.

    Calls without a deadline of their own end when the current call does. Streams have none: they end when they end.
    `multiplex` is the setting RPC_MULTIPLEX. With `tls` both sides show a certificate; without it nothing is encrypted.
    """
    return cast(grpc.aio.Channel, ServiceChannel(target, service_token, multiplex=multiplex, tls=tls))


def open_raw_channel(target: str, *, multiplex: bool = True, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel to `target` (`settings.ADDRESSES`) without manners: gRPC's own calls and errors, metadata by who calls.

    Calls are spread over all addresses that it stands for.

    With `multiplex` its unary calls share a stream, which changes nothing but their cost.
    """
    channel = _open(target, multiplex, tls)
    if (spans := tracing.active()) is None:
        return channel
    from fastcms_common.tracing.channels import TracedChannel

    return cast(grpc.aio.Channel, TracedChannel(channel, spans))


def _open(target: str, multiplex: bool, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return MultiplexedChannel(target, _open_plaintext) if multiplex else _open_plaintext(target)
    # Of several addresses each is connected to by itself, and all have to show the name that they stand for.
    host = target.rpartition(":")[0].strip("[]")

    def open_with(certificate: Certificate, target: str = target) -> grpc.aio.Channel:
        chain, key, authorities = certificate
        credentials = grpc.ssl_channel_credentials(authorities, key, chain)
        options = [*OPTIONS, ("grpc.ssl_target_name_override", host)]
        return grpc.aio.secure_channel(_grpc_target(target), credentials, options=options)

    if not multiplex:
        return RenewedChannel(tls, open_with)
    return MultiplexedChannel(
        target,
        lambda address: open_with(tls.current(), address),
        plain=RenewedChannel(tls, open_with),
        version=tls.current,
    )


def _open_plaintext(target: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(_grpc_target(target), options=OPTIONS)


def _grpc_target(target: str) -> str:
    """As gRPC writes it: several addresses have their kind before them."""
    if "," not in target:
        return target
    return f"{'ipv6' if target.startswith('[') else 'ipv4'}:{target}"
