"""Structured logs. Every line carries the request id of the call it belongs to; none carries a secret."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

from fastcms_common import tracing
from fastcms_common.context import current
from fastcms_common.settings import ProcessSettings
from fastcms_common.without_rich import without_rich

with without_rich():
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

# Keys that never reach a log, whatever the code that logs them believes.
_SECRET = frozenset({"password", "new_password", "current_password", "token", "access_token", "refresh_token", "code",
                     "mfa_code", "secret", "authorization", "hash", "password_hash", "setup_token"})  # fmt: skip


def configure(settings: ProcessSettings, service: str) -> None:
    """Sends this process's logs, and those of the libraries in it, to stderr in the form the settings ask for."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Any] = [
        structlog.stdlib.add_logger_name if settings.log_format == "json" else _keep,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if settings.log_format == "json" else "%H:%M:%S", utc=True),
        _with_request_id,
        _without_secrets,
    ]
    if settings.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        last: Any = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("asyncio", "grpc", "pymongo", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    if settings.log_format == "json":
        structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module: `log.info("what happened", key=value)`."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def _keep(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return event


def _with_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    request_id = current().request_id
    if request_id != "-":
        event.setdefault("request_id", request_id)
    spans = tracing.active()
    if spans is not None and (trace_id := spans.trace_id()) is not None:
        event.setdefault("trace_id", trace_id)
    return event


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key in _SECRET.intersection(event):
        event[key] = "***"
    return event
