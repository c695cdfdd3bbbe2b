"""Calls between services in traces: a span for each on either side, and the trace in the metadata."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from time import time_ns
from typing import Any

import grpc
import grpc.aio

from fastcms_common.tracing.spans import TRACEPARENT, TRACESTATE, Span, SpanKind, Spans, failed

# What a service is to blame for; all else is an answer to its caller.
_OF_SERVERS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_CODE = "rpc.grpc.status_code"


def attributes_of(rpc: str) -> dict[str, str]:
    """Of an rpc, as `package.Service/Method`, by OpenTelemetry's conventions for gRPC."""
    service, _, method = rpc.partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


class TracedChannel:
    """A raw channel whose calls are in the trace of what makes them. All else is the channel's."""

    def __init__(self, channel: grpc.aio.Channel, spans: Spans) -> None:
        self._channel = channel
        self._spans = spans
        self._ending: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, method: str, *codecs: Any, **more: Any) -> Any:
        return self._traced(method, self._channel.unary_unary(method, *codecs, **more))

    def unary_stream(self, method: str, *codecs: Any, **more: Any) -> Any:
        return self._traced(method, self._channel.unary_stream(method, *codecs, **more))

    def stream_unary(self, method: str, *codecs: Any, **more: Any) -> Any:
        return self._traced(method, self._channel.stream_unary(method, *codecs, **more))

    def stream_stream(self, method: str, *codecs: Any, **more: Any) -> Any:
        return self._traced(method, self._channel.stream_stream(method, *codecs, **more))

    def _traced(self, method: str, rpc: Callable[..., Any]) -> Callable[..., Any]:
        name = method.removeprefix("/")
        attributes = attributes_of(name)

        def call(*request: Any, metadata: Any = None, **options: Any) -> Any:
            span = self._spans.begin(name, SpanKind.CLIENT, attributes)
            if span is None:
                return rpc(*request, metadata=metadata, **options)
            metadata = (*(metadata or ()), *self._spans.carrier(span).items())
            made = rpc(*request, metadata=metadata, **options)
            made.add_done_callback(lambda _: self._ended(span, made))
            return made

        return call

    def _ended(self, span: Span, call: Any) -> None:
        task = asyncio.ensure_future(_end(span, call, time_ns()))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _end(span: Span, call: Any, at: int) -> None:
    code = await call.code()
    span.set_attribute(_CODE, code.value[0])
    if code is not grpc.StatusCode.OK:
        failed(span, code.name)
    span.end(at)


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the handler of an rpc of what a servicer does."""


def traced_rpc(spans: Spans, rpc: str, once: Wrap, often: Wrap) -> tuple[Wrap, Wrap]:
    """The same two for handlers that answer once and often, in the trace of who calls."""
    attributes = attributes_of(rpc)

    def answering_once(behaviour: Callable[..., Any]) -> Callable[..., Any]:
        handler = once(behaviour)

        async def call(request: Any, servicer_context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with spans.resume(rpc, _carrier(servicer_context), attributes) as span:
                try:
                    answer = await handler(request, servicer_context)
                except grpc.aio.AbortError:
                    _tell(span, servicer_context)
                    raise
                if span is not None:
                    span.set_attribute(_CODE, 0)
                return answer

        return call

    def answering_often(behaviour: Callable[..., Any]) -> Callable[..., Any]:
        handler = often(behaviour)

        async def call(request: Any, servicer_context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            with spans.resume(rpc, _carrier(servicer_context), attributes) as span:
                try:
                    async with contextlib.aclosing(handler(request, servicer_context)) as answers:
                        async for answer in answers:
                            yield answer
                except grpc.aio.AbortError:
                    _tell(span, servicer_context)
                    raise

        return call

    return answering_once, answering_often


def _carrier(servicer_context: grpc.aio.ServicerContext[Any, Any]) -> Mapping[str, str]:
    metadata: Any = servicer_context.invocation_metadata() or ()
    return {key: value for key, value in metadata if key in (TRACEPARENT, TRACESTATE)}


def _tell(span: Span | None, servicer_context: Any) -> None:
    """How a call was aborted. An answer that the caller is to blame for is no failure of the service."""
    if span is not None:
        given = servicer_context.code()
        # Plain gRPC keeps the number.
        code = given if isinstance(given, grpc.StatusCode) else _CODES[given]
        span.set_attribute(_CODE, code.value[0])
        if code.name in _OF_SERVERS:
            failed(span, code.name)
