"""Whether the gateway lives, and whether everything it needs answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import grpc.aio
import orjson
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.asyncio import Redis

from gateway.answers import JSON, Answer, Header, StreamedAnswer
from gateway.requests import Request

Check = Callable[[], Awaitable[None]]
"""Returns where a dependency is well, raises where it is not."""

# Seconds that each dependency has to answer. All are asked at once.
CHECK_SECONDS: Final = 1.0
_HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"),)
_ALIVE: Final = b'{"status":"ok"}'


class NotServing(Exception):
    """A service answers that it is not ready."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one dependency is. `error` is the kind of failure, never its text."""

    name: str
    status: Literal["ok", "down"]
    error: str | None


def service_check(channel: grpc.aio.Channel, service: str = "") -> Check:
    """Asks a service's own health service (grpc.health.v1)."""
    stub = cast(Any, health_pb2_grpc.HealthStub(channel))

    async def check() -> None:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=CHECK_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise NotServing

    return check


def redis_check(redis: Redis) -> Check:
    """Asks Redis for a sign of life."""

    async def check() -> None:
        await cast(Awaitable[Any], redis.ping())

    return check


async def examine(checks: Mapping[str, Check]) -> list[Dependency]:
    """How all dependencies are, asked in parallel."""
    return list(await asyncio.gather(*(_examine(name, check) for name, check in checks.items())))


async def _examine(name: str, check: Check) -> Dependency:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except grpc.aio.AioRpcError as error:
        return Dependency(name, "down", error.code().name)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is down
        return Dependency(name, "down", type(error).__name__)
    return Dependency(name, "ok", None)


class AliveEndpoint:
    """GET /health: the process answers. Asks nothing of anyone."""

    template = "/health"

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        return Answer(200, _ALIVE, JSON, _HEADERS)


class ReadyEndpoint:
    """GET /health/ready: each dependency by name; 503 when one is down."""

    template = "/health/ready"

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        dependencies = await examine(self._checks)
        ready = all(dependency.status == "ok" for dependency in dependencies)
        body = orjson.dumps({"status": "ok" if ready else "unavailable", "dependencies": dependencies})
        headers = _HEADERS if ready else (*_HEADERS, (b"retry-after", b"1"))
        return Answer(200 if ready else 503, body, JSON, headers)
