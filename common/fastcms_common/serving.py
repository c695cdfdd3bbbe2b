"""A gRPC server as every service runs it.

Each rpc of each service is wrapped once, here: who asks, from where, whether they may, whether the message is sound;
domain errors become rich statuses, anything else a bare INTERNAL with its trace in the log. Beside them the health
service (`""` while the process lives, `ready` while everything it needs answers) and reflection for admins.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import Counter, Gauge, Histogram

from fastcms.common.v1.options_pb2 import Access
from fastcms_common import context, tracing
from fastcms_common.access import Authenticator, access_of
from fastcms_common.cancelling import end
from fastcms_common.channels import OPTIONS
from fastcms_common.context import RequestContext
from fastcms_common.errors import DomainError, Unavailable
from fastcms_common.health_servicer import HealthServicer
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from fastcms_common.metrics import serve_metrics
from fastcms_common.multiplex.server import Multiplexer
from fastcms_common.redis_connection import DOWN
from fastcms_common.settings import ProcessSettings, stop
from fastcms_common.tls import tls_of
from fastcms_common.validation import validate
from fastcms_common.wire import DETAILS, status_of

READY = "ready"
# Calls on a stream keep a connection busy that is idle for gRPC: its own limit, a ping in five minutes, would end it.
SERVER_OPTIONS = [*OPTIONS, ("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 10_000)]
_READINESS_SECONDS = 0.5
_CHECK_SECONDS = 2.0

# Reflection tells how to call things, so it is for those who may look.
_REFLECTION = Access(caller=Access.CALLER_ADMIN, services=True)

log = get_logger(__name__)

_calls = Counter("fastcms_rpcs", "Calls served.", ["rpc", "code"])
_seconds = Histogram(
    "fastcms_rpc_seconds",
    "Seconds from a call's arrival to its answer.",
    ["rpc"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

_in_flight = Gauge("fastcms_rpcs_in_flight", "Calls being served.", ["rpc"])

Check = Callable[[], Awaitable[None]]
"""Returns where a dependency answers, raises where it does not."""


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the handler of an rpc of what a servicer does."""


class AddToServer(Protocol):
    """A generated `add_XServicer_to_server`."""

    def __call__(self, servicer: Any, server: Any) -> None: ...


async def serve(
    settings: ProcessSettings,
    name: str,
    services: Sequence[tuple[AddToServer, object]],
    authenticator: Authenticator,
    *,
    ready: Mapping[str, Check],
    background: Sequence[Coroutine[Any, Any, None]] = (),
) -> None:
    """Serves until SIGTERM or SIGINT, then lets calls in flight finish.

    `ready` names what has to answer for the service to be ready. `background` runs beside the server and never ends by
    itself: should one fail, the process ends, to be started again.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    registry = _Registry(authenticator)
    for add, servicer in services:
        add(servicer, registry)
    names = (*registry.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        reflection.aio.ReflectionServicer(names), registry
    )
    server.add_generic_rpc_handlers(registry.handlers())
    health_servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    multiplexer = Multiplexer()
    registry.register_with(multiplexer)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, multiplexer)  # type: ignore[arg-type]
    server.add_generic_rpc_handlers((multiplexer.handler(),))
    tls = tls_of(settings)
    try:
        if tls is None:
            port = server.add_insecure_port(settings.listen)
        else:
            port = server.add_secure_port(settings.listen, tls.server_credentials())
    except RuntimeError:
        stop(f"LISTEN: {settings.listen} cannot be listened on")
    if settings.metrics_listen:
        serve_metrics(settings.metrics_listen)
    stopping = _stop_signal()
    await server.start()
    health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", service=name, address=f"{settings.listen.rpartition(':')[0]}:{port}")
    tasks = [asyncio.create_task(work) for work in (*background, _watch_readiness(health_servicer, ready))]
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for asked in (READY, ""):
            health_servicer.set(asked, health_pb2.HealthCheckResponse.NOT_SERVING)
        for task in tasks:
            task.cancel()
        multiplexer.drain()
        # grpc.aio cancels a call that arrives while it stops: so those who call are given the time to hear of it.
        await asyncio.sleep(settings.leaving_seconds)
        await server.stop(settings.drain_seconds)
        await end(tasks)
        log.info("stopped", service=name)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a process's main coroutine on uvloop."""
    import uvloop

    uvloop.run(main)


def _stop_signal() -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        if not stopping.done():
            stopping.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopping


async def _watch_readiness(servicer: HealthServicer, ready: Mapping[str, Check]) -> NoReturn:
    missing_before: list[str] | None = None
    while True:
        missing = [name for name in await asyncio.gather(*(_missing(*one) for one in ready.items())) if name]
        if missing != missing_before:
            log.info("ready" if not missing else "not ready", missing=missing)
            missing_before = missing
        status = health_pb2.HealthCheckResponse.NOT_SERVING if missing else health_pb2.HealthCheckResponse.SERVING
        servicer.set(READY, status)
        await asyncio.sleep(_READINESS_SECONDS)


async def _missing(name: str, check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except (DomainError, TimeoutError, OSError, *DOWN):
        return name
    return None


class _Registry:
    """Takes the place of a server for the generated functions, and keeps what they register, wrapped."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._services)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Part of the old registration; what it would add comes by the next method too."""

    def add_registered_method_handlers(
        self, service: str, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._services[service] = {
            name: self._wrap(f"{service}/{name}", self._access(service, name), handler)
            for name, handler in methods.items()
        }

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        return tuple(
            grpc.method_handlers_generic_handler(service, methods) for service, methods in self._services.items()
        )

    def register_with(self, multiplexer: Multiplexer) -> None:
        """Lets the same wrapped handlers be called on streams too."""
        for service, methods in self._services.items():
            multiplexer.add_registered_method_handlers(service, methods)

    @staticmethod
    def _access(service: str, method: str) -> Access:
        if service.startswith("grpc.reflection."):
            return _REFLECTION
        descriptor = descriptor_pool.Default().FindServiceByName(service)
        return access_of(descriptor.methods_by_name[method])

    def _wrap(self, rpc: str, access: Access, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        call = _Call(rpc, access, self._authenticator)
        once: Wrap = call.answering_once
        often: Wrap = call.answering_often
        if (spans := tracing.active()) is not None:
            from fastcms_common.tracing.channels import traced_rpc

            once, often = traced_rpc(spans, rpc, once, often)
        codecs = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(once(handler.unary_unary), *codecs)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(often(handler.unary_stream), *codecs)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(once(handler.stream_unary), *codecs)
        return grpc.stream_stream_rpc_method_handler(often(handler.stream_stream), *codecs)


class _Call:
    """What is done around the behaviour of one rpc."""

    def __init__(self, rpc: str, access: Access, authenticator: Authenticator) -> None:
        self._rpc = rpc
        self._access = access
        self._authenticator = authenticator
        self._elapsed = _seconds.labels(rpc)
        self._succeeded = _calls.labels(rpc, "OK")
        self._running = 0
        _in_flight.labels(rpc).set_function(lambda: self._running)

    def answering_once(self, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, servicer_context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = time.perf_counter()
            self._running += 1
            try:
                await self._admit(request, servicer_context)
                answer = await behaviour(request, servicer_context)
            except Exception as error:  # noqa: BLE001 - the one place where any error becomes a status
                await self._fail(error, servicer_context, started)
            finally:
                self._running -= 1
            self._done("OK", started)
            return answer

        return call

    def answering_often(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        async def call(request: Any, servicer_context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            started = time.perf_counter()
            self._running += 1
            try:
                await self._admit(request, servicer_context)
                async with contextlib.aclosing(behaviour(request, servicer_context)) as answers:
                    async for answer in answers:
                        yield answer
            except Exception as error:  # noqa: BLE001 - the one place where any error becomes a status
                await self._fail(error, servicer_context, started)
            finally:
                self._running -= 1
            self._done("OK", started)

        return call

    async def _admit(self, request: Any, servicer_context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Finds out who calls, makes the context the current one (each rpc has a task of its own), checks the rest."""
        metadata: dict[str, str | bytes] = {}
        metadata.update(servicer_context.invocation_metadata() or ())
        asked = _request_context(metadata, servicer_context.time_remaining())
        context.enter(asked)
        authorization = metadata.get(context.AUTHORIZATION)
        caller, token = await self._authenticator.caller(self._access, authorization)  # type: ignore[arg-type]
        context.enter(asked.of(caller, token))
        if isinstance(request, Message):
            validate(request)

    async def _fail(
        self, error: Exception, servicer_context: grpc.aio.ServicerContext[Any, Any], started: float
    ) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, DOWN):
            error = Unavailable("Redis cannot be reached.", reason="REDIS_UNAVAILABLE")
        if not isinstance(error, DomainError):
            log.error("call failed", rpc=self._rpc, exc_info=error)
            self._done("INTERNAL", started)
            await servicer_context.abort(grpc.StatusCode.INTERNAL, "Internal error.")
        status = status_of(error)
        self._done(error.code.name, started, reason=error.reason)
        details = ((DETAILS, status.SerializeToString()),)
        await servicer_context.abort(error.code, status.message, trailing_metadata=details)

    def _done(self, code: str, started: float, reason: str | None = None) -> None:
        elapsed = time.perf_counter() - started
        self._elapsed.observe(elapsed)
        (self._succeeded if code == "OK" else _calls.labels(self._rpc, code)).inc()
        caller = context.current().caller
        log.debug(
            "call",
            rpc=self._rpc,
            code=code,
            reason=reason,
            caller=caller.id if caller else None,
            milliseconds=round(elapsed * 1000, 1),
        )


def _request_context(metadata: Mapping[str, str | bytes], remaining: float | None) -> RequestContext:
    agent = metadata.get(context.USER_AGENT)
    deadline = None if remaining is None else asyncio.get_running_loop().time() + remaining
    return RequestContext(
        request_id=_text(metadata.get(context.REQUEST_ID)) or new_id(),
        client_ip=_text(metadata.get(context.CLIENT_IP)),
        user_agent=agent.decode("utf-8", "replace") if isinstance(agent, bytes) else agent,
        deadline=deadline,
    )


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
