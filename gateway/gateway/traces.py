"""Requests in traces: where a trace begins, or goes on for a client that has begun one."""

from __future__ import annotations

from collections.abc import Awaitable

from fastcms_common.tracing.spans import TRACEPARENT, TRACESTATE, SpanKind, Spans, failed
from gateway.requests import Request


class RequestTraces:
    """The spans of requests. A client's `traceparent` (W3C Trace Context) is taken up."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    async def follow(self, request: Request, answering: Awaitable[int]) -> None:
        """Answers within a span, where the request is traced. `answering` gives the status of the answer."""
        about = {"http.request.method": request.method, "fastcms.request_id": request.id}
        with self._spans.enter(request.method, SpanKind.SERVER, _carrier(request), about) as span:
            status = await answering
            if span is not None:
                # Only now it is known which route it was. The path is not told: there are ids and tokens in it.
                span.update_name(f"{request.method} {request.route}")
                span.set_attribute("http.route", request.route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    failed(span, str(status))


def _carrier(request: Request) -> dict[str, str]:
    sent = {name: request.header(name.encode()) for name in (TRACEPARENT, TRACESTATE)}
    return {name: value for name, value in sent.items() if value is not None}
