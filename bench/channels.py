"""Calls per second from one process to another: plain gRPC beside the multiplexed channel, both through the wrapping
that every rpc has. `python bench/channels.py [seconds]`; 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, cast

import grpc.aio
import uvloop

from fastcms.auth.v1 import auth_pb2, auth_pb2_grpc
from fastcms_common import logs, serving
from fastcms_common.access import Authenticator
from fastcms_common.channels import open_raw_channel
from fastcms_common.multiplex.server import Multiplexer
from fastcms_common.settings import ProcessSettings

CONCURRENCY = (1, 8, 32, 128)
METADATA = (
    ("x-request-id", "0199f3a2-1111-7222-8333-444455556666"),
    ("authorization", "Bearer " + "a" * 420),
    ("x-client-ip", "127.0.0.1"),
    ("x-user-agent-bin", b"wrk/4.1.0"),
)


class Accounts(auth_pb2_grpc.AuthServiceServicer):
    """Answers at once: what is left is the call itself."""

    async def Login(self, request: Any, context: Any) -> Any:  # noqa: N802
        return auth_pb2.LoginAnswer(access_token=request.email)


async def serve(ready: Connection) -> None:
    logs.configure(ProcessSettings(log_level="warning"), "bench")  # type: ignore[call-arg]
    server = grpc.aio.server(options=serving.SERVER_OPTIONS)
    # Login is public: nothing asks the authenticator for anybody.
    registry = serving._Registry(cast(Authenticator, _Nobody()))
    auth_pb2_grpc.add_AuthServiceServicer_to_server(Accounts(), registry)  # type: ignore[abstract, arg-type]
    multiplexer = Multiplexer()
    registry.register_with(multiplexer)
    server.add_generic_rpc_handlers((*registry.handlers(), multiplexer.handler()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.collect()
    gc.freeze()
    ready.send(port)
    await server.wait_for_termination()


class _Nobody:
    async def caller(self, access: object, authorization: object) -> tuple[None, None]:
        return None, None


async def measure(port: int, multiplex: bool, concurrency: int, seconds: float) -> tuple[float, float]:
    """Calls per second, and the 99th percentile of a call in milliseconds."""
    channel = open_raw_channel(f"127.0.0.1:{port}", multiplex=multiplex)
    stub = auth_pb2_grpc.AuthServiceStub(channel)
    await channel.channel_ready()
    if multiplex:
        async with asyncio.timeout(10):
            while not cast(Any, channel).streams_up:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
    request = auth_pb2.LoginRequest(email="someone@example.com", password="a long password")
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await stub.Login(request, metadata=METADATA, timeout=10)
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    elapsed = time.perf_counter() - began
    await channel.close()
    took.sort()
    return len(took) / elapsed, took[int(len(took) * 0.99)] * 1000


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        uvloop.run(compare(ours.recv(), seconds))
    finally:
        server.terminate()


async def compare(port: int, seconds: float) -> None:
    print(f"{'calls at once':>13} {'plain/s':>9} {'p99 ms':>7} {'multiplexed/s':>14} {'p99 ms':>7} {'ratio':>6}")
    for concurrency in CONCURRENCY:
        plain, plain_p99 = await measure(port, False, concurrency, seconds)
        many, many_p99 = await measure(port, True, concurrency, seconds)
        print(f"{concurrency:13} {plain:9,.0f} {plain_p99:7.2f} {many:14,.0f} {many_p99:7.2f} {many / plain:6.2f}")


def _serve(ready: Connection) -> None:
    uvloop.run(serve(ready))


if __name__ == "__main__":
    main()
