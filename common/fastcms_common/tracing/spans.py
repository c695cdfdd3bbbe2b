"""Spans: who begins them, and how a trace goes on in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
# Milliseconds that the last spans have to be sent in when a process ends.
_FLUSH: Final = 3000

Attributes = Mapping[str, AttributeValue]

__all__ = ["TRACEPARENT", "TRACESTATE", "Attributes", "Span", "SpanKind", "Spans", "failed"]


class Spans:
    """Begins the spans of this process. They are sent from a thread, in batches, to the endpoint that the environment
    names, as every OTEL_* variable of the OpenTelemetry SDK says; or given to `exporter`."""

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.name": service, "service.namespace": "fastcms"})
        # Asked once for each request, where it comes in. What a traced request sets off is traced without asking.
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("fastcms")
        self._ids = RandomIdGenerator()
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def enter(
        self, name: str, kind: SpanKind, carrier: Mapping[str, str], attributes: Attributes
    ) -> Iterator[Span | None]:
        """A span in which the suite is entered, if the sampler wants it; it goes on with the trace in `carrier`."""
        parent = self._propagator.extract(carrier) if TRACEPARENT in carrier else None
        decision = self._sampler.should_sample(parent, self._ids.generate_trace_id(), name, kind)
        if decision.decision is not Decision.RECORD_AND_SAMPLE:
            yield None
            return
        with self._current(self._tracer.start_span(name, parent or contexts.Context(), kind, attributes)) as span:
            yield span

    @contextmanager
    def resume(self, name: str, carrier: Mapping[str, str], attributes: Attributes) -> Iterator[Span | None]:
        """A span of work for another process of the suite, if that one traces what it is for."""
        if TRACEPARENT not in carrier:
            yield None
            return
        parent = self._propagator.extract(carrier)
        if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
            yield None
            return
        with self._current(self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)) as span:
            yield span

    @contextmanager
    def within(self, name: str, attributes: Attributes, kind: SpanKind = SpanKind.CLIENT) -> Iterator[Span | None]:
        """A span of asking somebody else, if what is being done is traced."""
        if not trace.get_current_span().is_recording():
            yield None
            return
        with self._current(self._tracer.start_span(name, None, kind, attributes)) as span:
            try:
                yield span
            except Exception as error:
                failed(span, type(error).__name__)
                raise

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Span | None:
        """As `within`, for who ends it elsewhere: the span is not made the current one."""
        if not trace.get_current_span().is_recording():
            return None
        return self._tracer.start_span(name, None, kind, attributes)

    def carrier(self, span: Span | None = None) -> dict[str, str]:
        """What tells another process of `span`, or else of the current one. Empty where nothing is traced."""
        carrier: dict[str, str] = {}
        if (span or trace.get_current_span()).is_recording():
            self._propagator.inject(carrier, trace.set_span_in_context(span) if span is not None else None)
        return carrier

    def trace_id(self) -> str | None:
        """Of the current span, in hexadecimal; None where nothing is traced."""
        span = trace.get_current_span()
        return trace.format_trace_id(span.get_span_context().trace_id) if span.is_recording() else None

    async def close(self) -> None:
        """Sends off what has not been sent yet, within seconds."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._provider.force_flush(_FLUSH)
        self._provider.shutdown()

    @contextmanager
    def _current(self, span: Span) -> Iterator[Span]:
        """`span` as the current one, ended with the block."""
        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield span
        finally:
            contexts.detach(token)
            span.end()


def failed(span: Span, kind: str) -> None:
    """Marks a span as that of something that did not work. The text of an error is not told: it may hold anything."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
