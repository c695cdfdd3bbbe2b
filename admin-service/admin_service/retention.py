"""How long the audit log is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from admin_service.audit_trail import AuditTrail
from admin_service.store import AdminStore
from fastcms_common import times
from fastcms_common.errors import Conflict

_JOB = "cleanup_audit_events"


class Retention:
    """Drops what is older than `days` says; 0 days keep everything."""

    def __init__(self, store: AdminStore, trail: AuditTrail, days: Callable[[], Awaitable[int]]) -> None:
        self._store = store
        self._trail = trail
        self._days = days

    async def run(self, fencing_token: int) -> int:
        """How many events were dropped. Raises Conflict for a job that has lost its lease."""
        if not await self._store.pass_fence(_JOB, fencing_token):
            raise Conflict("Another run of this job has taken over.", reason="LEASE_LOST")
        days = await self._days()
        if days == 0:
            return 0
        before = times.to_text(times.now() - timedelta(days=days))
        deleted = await self._trail.forget(before)
        if deleted:
            await self._trail.record(
                "system",
                "audit_events_deleted",
                severity="warning",
                description=f"Audit events older than {days} days were dropped.",
                details={"deleted": deleted, "before": before},
            )
        return deleted
