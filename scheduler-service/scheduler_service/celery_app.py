"""Celery, as both sides see it: the application, its queue on Redis, and the one message there is.

The message says that a task may have a run to be done. It carries no due time and no order: the ledger knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from kombu.connection import Connection

from fastcms_common import redis_keys, tracing

# The name of Celery's task; its one argument names ours.
RUN = "scheduler.run"
QUEUE = "runs"


def broker_url(redis_url: str) -> str:
    """`redis_url` as kombu writes it: Unix sockets have a scheme of their own there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


class PatientConnection(Connection):
    """A connection that looks for a Redis that is away every other second; kombu's own waits up to half a minute."""

    def ensure_connection(self, *args: Any, **options: Any) -> PatientConnection:
        waits = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
        super().ensure_connection(*args, **waits | options)  # type: ignore[no-untyped-call]
        return self


def make_app(redis_url: str, visibility_timeout: int = 300) -> Celery:
    """The Celery application: JSON only, no results, acknowledged late, all keys under one prefix."""
    app = Celery("fastcms", set_as_current=False)
    app.amqp.Connection = PatientConnection
    app.conf.update(
        broker_url=broker_url(redis_url),
        broker_transport_options={
            "global_keyprefix": redis_keys.CELERY_PREFIX,
            "visibility_timeout": visibility_timeout,
            "unacked_restore_interval": min(10, visibility_timeout),
            "unacked_restore_throttle": 1,
            # Longer than the blocking read of a consumer, short enough for one who waits for a publish.
            "socket_timeout": 5.0,
            "socket_connect_timeout": 2.0,
            "socket_keepalive": True,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        accept_content=["json"],
        task_serializer="json",
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        redbeat_redis_url=redis_url,
        redbeat_redis_options={"socket_timeout": 5.0, "socket_connect_timeout": 2.0},
        redbeat_key_prefix=redis_keys.REDBEAT_PREFIX,
        timezone="UTC",
        enable_utc=True,
    )
    return app


def send(app: Celery, task: str) -> None:
    """Puts the message for `task` on the queue. Blocks."""
    spans = tracing.active()
    if spans is None:
        app.send_task(RUN, kwargs={"task": task}, retry=False, ignore_result=True)
        return
    from fastcms_common.tracing.spans import SpanKind

    with spans.within(f"send {QUEUE}", {"messaging.system": "celery", "fastcms.task": task}, SpanKind.PRODUCER):
        app.send_task(RUN, kwargs={"task": task}, retry=False, ignore_result=True, headers=spans.carrier())


@contextmanager
def received(headers: Mapping[str, Any], task: str) -> Iterator[None]:
    """What the message with these headers sets off, in the trace of who has sent it. A beat's message begins one."""
    spans = tracing.active()
    if spans is None:
        yield
        return
    from fastcms_common.tracing.spans import TRACEPARENT, TRACESTATE, SpanKind

    carrier = {name: str(headers[name]) for name in (TRACEPARENT, TRACESTATE) if headers.get(name)}
    about = {"messaging.system": "celery", "fastcms.task": task}
    with spans.enter(f"run {task}", SpanKind.CONSUMER, carrier, about):
        yield
