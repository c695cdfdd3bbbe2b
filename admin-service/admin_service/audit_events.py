"""Reading the audit log."""

from __future__ import annotations

from admin_service.models import timestamp_text
from fastcms.admin.v1.audit_pb2 import ListAuditEventsRequest
from fastcms_common.storage import And, Query, eq, ge, le

LIMIT = 100
# Filters that are an equality on the field of the same name.
_FIELDS = (
    "event_type", "event_action", "user_id", "actor_id", "severity", "outcome", "ip_address", "resource_type",
    "resource_id",
)  # fmt: skip


def where(request: ListAuditEventsRequest) -> Query:
    """The rows that a request asks for. An absent filter asks for all; both ends of the time span are included."""
    parts: list[Query] = [eq(name, value) for name in _FIELDS if (value := getattr(request, name))]
    if request.HasField("from_date"):
        parts.append(ge("created", timestamp_text(request.from_date)))
    if request.HasField("to_date"):
        parts.append(le("created", timestamp_text(request.to_date)))
    return And(*parts)
