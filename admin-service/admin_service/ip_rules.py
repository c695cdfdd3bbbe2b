"""Which addresses may come in."""

from __future__ import annotations

from admin_service.store import AdminStore
from fastcms_common.errors import Conflict
from fastcms_common.times import now_text

_CLEANUP = "cleanup_expired_ip_rules"


class IpRules:
    """The rules as they are kept."""

    def __init__(self, store: AdminStore) -> None:
        self._store = store

    async def delete_expired(self, fencing_token: int) -> int:
        """Drops the rules whose time is over; how many. Raises Conflict for a job that has lost its lease."""
        if not await self._store.pass_fence(_CLEANUP, fencing_token):
            raise Conflict("Another run of this job has taken over.", reason="LEASE_LOST")
        return len(await self._store.delete_expired_ip_rules(now_text()))
