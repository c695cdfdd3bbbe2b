"""One stream to each address of a service, opened again whenever it is lost.

A name that stands for several replicas is asked for anew every few seconds, so that each replica has its share, and
soon where no stream is up: what was replaced may be at another address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from fastcms_common.cancelling import end
from fastcms_common.multiplex import frames
from fastcms_common.multiplex.calls import MadeCall
from fastcms_common.multiplex.streams import Stream

# Seconds.
RESOLVE_EVERY = 10.0
RESOLVE_SOON = 1.0
_PAUSE = 0.1
# A server that does not know the stream may have been replaced by one that does.
_PAUSE_UNKNOWN = 30.0

OpenChannel = Callable[[str], grpc.aio.Channel]
Elsewhere = Callable[[MadeCall], None]
Version = Callable[[], object]
"""Gives what channels are opened with now, such as a certificate: another object, and streams are opened anew."""


class Lanes:
    """The streams to the addresses of `target` (host:port, or several with commas between). `elsewhere` takes the calls
    that no stream has sent.

    Where `version` gives another object than before, new streams take the place of all there are.
    """

    def __init__(
        self, target: str, open_channel: OpenChannel, elsewhere: Elsewhere, version: Version | None = None
    ) -> None:
        self._target = target
        self._open_channel = open_channel
        self._elsewhere = elsewhere
        self._version = version
        self._streams: list[Stream] = []
        self._turn = 0
        self._lanes: dict[str, _Lane] = {}
        # Of the addresses that are no more, until they have answered.
        self._retiring: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._missed = asyncio.Event()
        self._closed = False

    @property
    def up(self) -> int:
        """How many streams take calls."""
        return len(self._streams)

    def open(self) -> None:
        """Begins to connect, and keeps at it. To be called where a stream is missed. Needs a running event loop."""
        self._missed.set()
        if self._following is None and not self._closed:
            self._following = asyncio.create_task(self._follow_addresses())

    def next(self) -> Stream | None:
        """The stream whose turn it is; None where none is up."""
        streams = self._streams
        if not streams:
            return None
        if len(streams) == 1:
            return streams[0]
        self._turn += 1
        return streams[self._turn % len(streams)]

    async def close(self) -> None:
        """Ends the streams; the calls on them fail."""
        self._closed = True
        if self._following is not None:
            await end([self._following])
        await end(self._retiring)
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    async def _follow_addresses(self) -> None:
        places = [_place(one) for one in self._target.split(",")]
        opened_with = None
        while True:
            self._missed.clear()
            addresses = set[str]().union(*[await _resolved(host, port) for host, port in places])
            if self._version is not None and (version := self._version()) is not opened_with:
                self._retire(set(self._lanes))
                opened_with = version
            if addresses:
                self._adopt(addresses)
                if self._version is None and all(_is_literal(host) for host, _ in places):
                    return
            await asyncio.sleep(RESOLVE_SOON)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESOLVE_EVERY * random.uniform(0.8, 1.2)):  # noqa: S311 - not for secrets
                    await self._missed.wait()

    def _adopt(self, addresses: set[str]) -> None:
        for address in addresses - self._lanes.keys():
            self._lanes[address] = _Lane(self._open_channel(address), self._streams, self._elsewhere)
        # Gone from the name, not from the world: what is in flight there may still be answered.
        self._retire(self._lanes.keys() - addresses)

    def _retire(self, addresses: set[str]) -> None:
        for address in addresses:
            task = asyncio.create_task(self._lanes.pop(address).retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


class _Lane:
    """The stream to one address, kept open. While it takes calls it is in `streams`."""

    def __init__(self, channel: grpc.aio.Channel, streams: list[Stream], elsewhere: Elsewhere) -> None:
        self._channel = channel
        self._streams = streams
        self._elsewhere = elsewhere
        # At times two: one that takes calls, and one before it that only answers.
        self._running: set[asyncio.Task[None]] = set()
        self._opening = asyncio.create_task(self._keep_open())

    async def retire(self) -> None:
        """Takes no more calls, and closes once those that are in flight have been answered."""
        try:
            await end([self._opening])
            await asyncio.gather(*self._running, return_exceptions=True)
        finally:
            await self.close()

    async def close(self) -> None:
        await end([self._opening, *self._running])
        await self._channel.close()

    async def _keep_open(self) -> None:
        while True:
            pause = await self._one_stream()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - not for secrets

    async def _one_stream(self) -> float:
        """Opens a stream and keeps it in use until it closes. Returns the seconds to wait before the next."""
        exchange: Any = self._channel.stream_stream(frames.METHOD)(wait_for_ready=True)
        calls_at_once = 0
        try:
            first = await exchange.read()
            if first is not grpc.aio.EOF:
                calls_at_once = frames.decode_answers(first)[0]
        except grpc.aio.AioRpcError as error:
            return _PAUSE_UNKNOWN if error.code() is grpc.StatusCode.UNIMPLEMENTED else _PAUSE
        except frames.BadFrame:
            return _PAUSE_UNKNOWN
        finally:
            if calls_at_once <= 0:
                exchange.cancel()
        if calls_at_once <= 0:
            return _PAUSE
        stream = Stream(exchange, calls_at_once, self._elsewhere)
        task = asyncio.create_task(stream.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._streams.append(stream)
        try:
            await stream.closing.wait()
        finally:
            self._streams.remove(stream)
            stream.leave()
        return _PAUSE


def _place(target: str) -> tuple[str, int]:
    """Host, without brackets, and port."""
    host, _, port = target.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def _resolved(host: str, port: int) -> set[str]:
    """The addresses of a host, as gRPC targets. Empty where it cannot be resolved now."""
    with contextlib.suppress(OSError):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return {_grpc_target(family, address[0], port) for family, _, _, _, address in found}
    return set()


def _grpc_target(family: int, address: Any, port: int) -> str:
    return f"ipv6:[{address}]:{port}" if family == socket.AF_INET6 else f"ipv4:{address}:{port}"


def _is_literal(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
