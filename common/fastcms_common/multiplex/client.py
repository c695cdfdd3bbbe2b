"""The channel that stubs take: unary calls go on a stream where one is up, and everything else as plain gRPC.

Plain gRPC is also what there is before the first stream is up, between two streams, beside a server that does not know
streams, and for requests too large for a frame. So nothing ever waits for a stream, and a service that is down looks
the same as without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc
import grpc.aio

from fastcms_common.multiplex import frames
from fastcms_common.multiplex.calls import CLOSED, MadeCall
from fastcms_common.multiplex.lanes import Lanes, OpenChannel, Version
from fastcms_common.reach import Reach


class MultiplexedChannel(grpc.aio.Channel):
    """A channel to `target` (host:port). `open_channel` opens a plain one to a target of gRPC's.

    `plain` is for the calls that go on no stream; `version` tells when streams have to be opened anew (`Lanes`).
    """

    def __init__(
        self,
        target: str,
        open_channel: OpenChannel,
        *,
        plain: grpc.aio.Channel | None = None,
        version: Version | None = None,
    ) -> None:
        self._plain = plain or open_channel(target)
        self._reach = Reach(self._plain)
        self._lanes = Lanes(target, open_channel, self._make_plainly, version)
        self._passed_on: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def streams_up(self) -> int:
        """How many streams take calls now. None before the first call, or `channel_ready`."""
        return self._lanes.up

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        plain: Any = self._plain.unary_unary(method, response_deserializer=response_deserializer)
        return _Rpc(self._lanes, method, request_serializer, response_deserializer, plain, self._make_plainly)

    def unary_stream(self, *method: Any, **registered: Any) -> Any:
        return self._plain.unary_stream(*method, **registered)

    def stream_unary(self, *method: Any, **registered: Any) -> Any:
        return self._plain.stream_unary(*method, **registered)

    def stream_stream(self, *method: Any, **registered: Any) -> Any:
        return self._plain.stream_stream(*method, **registered)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        if try_to_connect and not self._lanes.up:
            self._lanes.open()
        return self._plain.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._plain.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        self._lanes.open()
        await self._plain.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        self._closed = True
        await self._lanes.close()
        for task in list(self._passed_on):
            task.cancel()
        await self._plain.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    def _make_plainly(self, call: MadeCall) -> None:
        """A call that no stream has sent is made as a plain one, and nobody notices."""
        if self._closed:
            call.fail(grpc.StatusCode.UNAVAILABLE, CLOSED)
            return
        task = asyncio.create_task(call.relay(self._reach, self._plainly))
        self._passed_on.add(task)
        task.add_done_callback(self._passed_on.discard)

    def _plainly(self, call: MadeCall) -> Any:
        plain: Any = self._plain.unary_unary(call.method, response_deserializer=call.deserializer)
        return plain(call.request, timeout=call.time_remaining(), metadata=call.metadata)


class _Rpc(grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    """One rpc of a stub."""

    def __init__(
        self,
        lanes: Lanes,
        method: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
        plain: Any,
        make_plainly: Callable[[MadeCall], None],
    ) -> None:
        self._lanes = lanes
        self._method = method
        self._serializer = serializer
        self._deserializer = deserializer
        self._plain = plain
        self._make_plainly = make_plainly

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        message = request if self._serializer is None else self._serializer(request)
        stream = self._lanes.next()
        if stream is None:
            self._lanes.open()
        if stream is None or credentials or wait_for_ready or compression:
            return self._plain(
                message,
                timeout=timeout,
                metadata=metadata,
                credentials=credentials,
                wait_for_ready=wait_for_ready,
                compression=compression,
            )
        call = MadeCall(self._method, frames.pairs(metadata), message, timeout, self._deserializer)
        if len(message) > frames.PART:
            self._make_plainly(call)
        else:
            stream.start(call)
        return call
