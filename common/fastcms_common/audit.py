"""Writing to the audit log: one call, from anywhere. admin-service stores what is written here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common import redis_keys
from fastcms_common.context import current
from fastcms_common.events import EventStream
from fastcms_common.ids import new_id

# The field of a stream entry that holds the serialized AuditEvent.
EVENT_FIELD = "event"

EventType = Literal["auth", "user", "admin", "collection", "record", "security", "system"]


def build_event(
    event_type: EventType,
    event_action: str,
    *,
    description: str,
    severity: Literal["info", "warning", "critical"] = "info",
    user_id: str | None = None,
    user_email: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: Literal["success", "failure", "error"] = "success",
    error_message: str | None = None,
) -> AuditEvent:
    """An event of now, with address, agent, request and actor of the current call.

    `user_id` is by default the caller. Never put a secret into `details`.
    """
    context = current()
    caller = context.caller
    if user_id is None and caller is not None:
        user_id = caller.id
    event = AuditEvent(
        id=new_id(),
        event_type=event_type,
        event_action=event_action,
        severity=severity,
        user_id=user_id,
        user_email=user_email,
        actor_id=caller.actor_id if caller is not None else None,
        ip_address=context.client_ip,
        user_agent=context.user_agent,
        resource_type=resource_type,
        resource_id=resource_id,
        description=description,
        details=orjson.dumps(details or {}),
        outcome=outcome,
        error_message=error_message,
        request_id=context.request_id if context.request_id != "-" else None,
    )
    event.created.FromDatetime(datetime.now(UTC))
    return event


class AuditLog:
    """Appends events to the stream of which admin-service is the reader."""

    def __init__(self, redis: Redis) -> None:
        self._events = EventStream(redis, redis_keys.AUDIT_EVENTS)

    async def record(self, event_type: EventType, event_action: str, **facts: Any) -> AuditEvent:
        """Writes one event; `facts` are those of `build_event`. Raises Unavailable where it cannot be written."""
        event = build_event(event_type, event_action, **facts)
        await self.publish(event)
        return event

    async def publish(self, event: AuditEvent) -> None:
        """Writes an event that `build_event` has made. Raises Unavailable where it cannot be written."""
        await self._events.publish({EVENT_FIELD: event.SerializeToString()})
