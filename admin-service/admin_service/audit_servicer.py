"""Messages in, messages out: the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from google.api.httpbody_pb2 import HttpBody

from admin_service import audit_events, models
from admin_service.audit_chain import CheckpointKey
from admin_service.audit_events import AuditEvents
from admin_service.audit_trail import AuditTrail
from admin_service.retention import Retention
from fastcms.admin.v1 import audit_pb2, audit_pb2_grpc
from fastcms_common.storage import And

Context = Any


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Reading, exporting and proving the log."""

    def __init__(self, events: AuditEvents, trail: AuditTrail, key: CheckpointKey, retention: Retention) -> None:
        self._events = events
        self._trail = trail
        self._key = key
        self._retention = retention

    async def ListAuditEvents(
        self, request: audit_pb2.ListAuditEventsRequest, _: Context
    ) -> audit_pb2.ListAuditEventsResponse:
        limit = request.limit if request.HasField("limit") else audit_events.LIMIT
        rows, total = await self._events.page(audit_events.where(request), limit, request.offset)
        return audit_pb2.ListAuditEventsResponse(
            items=map(models.event_of, rows), total=total, limit=limit, offset=request.offset
        )

    async def ListFailedLogins(
        self, request: audit_pb2.ListFailedLoginsRequest, _: Context
    ) -> audit_pb2.ListFailedLoginsResponse:
        limit = request.limit if request.HasField("limit") else audit_events.LIMIT
        rows = await self._events.newest(audit_events.failed_logins(request), limit)
        return audit_pb2.ListFailedLoginsResponse(items=map(models.event_of, rows))

    async def GetAuditStatistics(
        self, request: audit_pb2.GetAuditStatisticsRequest, _: Context
    ) -> audit_pb2.AuditStatistics:
        first = request.from_date if request.HasField("from_date") else None
        last = request.to_date if request.HasField("to_date") else None
        counts = await self._events.statistics(And(*audit_events.span(first, last)))
        return audit_pb2.AuditStatistics(
            total=counts.total,
            by_type=counts.types,
            by_action=counts.actions,
            by_severity=counts.severities,
            by_outcome=counts.outcomes,
            failed_logins=counts.actions.get(audit_events.LOGIN_FAILED, 0),
            from_date=first,
            to_date=last,
        )

    async def ExportAuditEvents(
        self, request: audit_pb2.ExportAuditEventsRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        # Before the first line: an export that was cut short was an export.
        await self._trail.record(
            "admin",
            "audit_exported",
            severity="warning",
            description="The audit log was exported.",
            details={field.name: str(value) for field, value in request.ListFields()},
        )
        yield HttpBody(content_type="application/x-ndjson")
        async for lines in self._events.export(audit_events.where(request)):
            yield HttpBody(content_type="application/x-ndjson", data=lines)

    async def VerifyAuditLog(self, _: audit_pb2.VerifyAuditLogRequest, __: Context) -> AsyncIterator[HttpBody]:
        found = await self._trail.verify()
        answer = {"ok": found.ok, "checked": found.checked, "first_bad": found.first_bad, "reason": found.flaw}
        yield HttpBody(content_type="application/json", data=orjson.dumps(answer))

    async def GetCheckpointKeys(self, _: audit_pb2.GetCheckpointKeysRequest, __: Context) -> HttpBody:
        return HttpBody(content_type="application/jwk-set+json", data=orjson.dumps({"keys": [self._key.jwk()]}))

    async def DeleteOldAuditEvents(
        self, request: audit_pb2.DeleteOldAuditEventsRequest, _: Context
    ) -> audit_pb2.DeleteOldAuditEventsResponse:
        return audit_pb2.DeleteOldAuditEventsResponse(deleted=await self._retention.run(request.fencing_token))
