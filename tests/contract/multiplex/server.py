"""A service that does what each request tells it to, served both as plain gRPC and on streams."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec

from fastcms_common.channels import open_raw_channel
from fastcms_common.multiplex.client import MultiplexedChannel
from fastcms_common.multiplex.server import Multiplexer
from fastcms_common.serving import SERVER_OPTIONS

DO = "/test.Service/Do"
CODES = {code.value[0]: code for code in grpc.StatusCode}

mark: ContextVar[str | None] = ContextVar("mark", default=None)


class Wishes(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a request asks for, in the order in which it is done. Bytes that are no wishes cannot be parsed."""

    mark: str | None = None
    hang: bool = False
    initial: list[tuple[str, Any]] | None = None
    trailing: list[tuple[str, Any]] | None = None
    raises: str | None = None
    abort: tuple[int, str, list[tuple[str, Any]]] | None = None
    code: tuple[int, str] | None = None
    size: int = 0
    nothing: bool = False
    poison: bool = False
    say: str = ""


def _bytes(answer: Any) -> bytes:
    if not isinstance(answer, bytes):
        raise TypeError("an answer has to be bytes")
    return answer


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Wishes).decode


class Service:
    """Counts what it does, for tests to see."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0
        self.served = 0
        self.cancelled = 0
        self.remaining: list[float | None] = []
        self.seen: list[tuple[str, Any]] = []

    async def do(self, wishes: Wishes, context: Any) -> Any:
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._do(wishes, context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            self.served += 1

    async def _do(self, wishes: Wishes, context: Any) -> Any:
        self.remaining.append(context.time_remaining())
        self.seen = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
        if wishes.mark is not None:
            before = mark.get()
            mark.set(wishes.mark)
            await asyncio.sleep(0)
            return f"{before}/{mark.get()}".encode()
        if wishes.hang:
            await asyncio.Event().wait()
        if wishes.initial is not None:
            await context.send_initial_metadata(tuple(wishes.initial))
        if wishes.trailing is not None:
            context.set_trailing_metadata(tuple(wishes.trailing))
        if wishes.poison:
            context.set_trailing_metadata((("key", "\ud800"),))
        if wishes.raises is not None:
            raise ValueError(wishes.raises)
        if wishes.abort is not None:
            code, details, trailing = wishes.abort
            await context.abort(CODES[code], details, tuple(trailing))
        if wishes.code is not None:
            context.set_code(CODES[wishes.code[0]])
            context.set_details(wishes.code[1])
        if wishes.nothing:
            return 7
        return wishes.say.encode() + b"x" * wishes.size

    def handlers(self) -> dict[str, Any]:
        unary = grpc.unary_unary_rpc_method_handler(self.do, _decode, _bytes)
        return {"Do": unary, "Count": grpc.unary_stream_rpc_method_handler(self.count, _decode, _bytes)}

    async def count(self, wishes: Wishes, context: Any) -> Any:
        for number in range(wishes.size):
            yield str(number).encode()


class Server:
    """A replica. Without `streams` it is a server of before there were any."""

    def __init__(self, *, port: int = 0, streams: bool = True, calls_at_once: int = 4096) -> None:
        self.service = Service()
        self.multiplexer = Multiplexer(calls_at_once)
        self._grpc = grpc.aio.server(options=SERVER_OPTIONS)
        self._grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Service", self.service.handlers()),)
        )
        if streams:
            self.multiplexer.add_registered_method_handlers("test.Service", self.service.handlers())
            self._grpc.add_generic_rpc_handlers((self.multiplexer.handler(),))
        self.port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> Server:
        await self._grpc.start()
        return self

    async def drain(self, grace: float) -> None:
        """As a service does on SIGTERM."""
        self.multiplexer.drain()
        await self._grpc.stop(grace)

    async def stop(self) -> None:
        """All at once, as a process that is killed."""
        await self._grpc.stop(None)

    async def until(self, running: int, within: float = 10) -> None:
        """Waits until so many calls are being served."""
        await until(lambda: self.service.running == running, within)


async def until(condition: Any, within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def connected(target: str, streams: int = 1) -> MultiplexedChannel:
    """A channel with that many streams up."""
    channel = open_raw_channel(target)
    assert isinstance(channel, MultiplexedChannel)
    await channel.channel_ready()
    await until(lambda: channel.streams_up == streams)
    return channel


class ServerProcess:
    """A server in a process of its own, which can be killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.contract.multiplex.server"]
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.target = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def rpc(channel: grpc.aio.Channel) -> Any:
    """`await rpc(channel)(Wishes(...), timeout=…, metadata=…)` gives text."""
    return channel.unary_unary(DO, request_serializer=encode, response_deserializer=bytes.decode)


async def _serve_until_killed() -> None:
    server = await Server().start()
    print(server.port, flush=True)  # noqa: T201 - for the one who started it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_until_killed())
