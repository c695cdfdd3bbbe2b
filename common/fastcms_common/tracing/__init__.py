"""Traces (OpenTelemetry): what one request did, from the gateway through services, databases and Redis to a job.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set; while it is off nothing of OpenTelemetry's SDK is loaded. Whether a
request is traced is decided once, where it comes in (`Spans.enter`): by the caller's `traceparent` (W3C Trace Context)
and the sampler that OTEL_TRACES_SAMPLER names. Whatever it sets off finds that out by looking at the current span, and
does nothing more where there is none.

    spans.py     beginning, continuing and ending spans
    channels.py  calls to services
    stores.py    the database, Redis
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastcms_common.settings import ProcessSettings

if TYPE_CHECKING:
    from fastcms_common.tracing.spans import Spans

_spans: Spans | None = None


def start(settings: ProcessSettings, service: str) -> None:
    """Has this process trace, where it is told to. To be called once, before anything is connected."""
    global _spans
    if settings.otel_exporter_otlp_endpoint is not None and _spans is None:
        allow_sdk()
        from fastcms_common.tracing.spans import Spans

        _spans = Spans(service)


def allow_sdk() -> None:
    """Lets OpenTelemetry's SDK be imported, which the package forbids at first."""
    if sys.modules.get("opentelemetry.sdk", sys) is None:
        del sys.modules["opentelemetry.sdk"]


def active() -> Spans | None:
    """What this process begins spans with; None where it does not trace."""
    return _spans


async def stop() -> None:
    """Sends off what has not been sent yet."""
    global _spans
    if _spans is not None:
        ending, _spans = _spans, None
        await ending.close()
