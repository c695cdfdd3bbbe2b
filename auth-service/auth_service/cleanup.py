"""Dropping what has run out."""

from __future__ import annotations

from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common.errors import Conflict

_JOB = "cleanup_expired_tokens"


class Cleanup:
    """The hourly job."""

    def __init__(self, store: AuthStore, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions

    async def delete_expired(self, fencing_token: int) -> int:
        """Drops expired sessions, with their refresh tokens, and closes impersonations whose time is over; how many.

        Raises Conflict (LEASE_LOST) for a job that has lost its lease.
        """
        if not await self._store.pass_fence(_JOB, fencing_token):
            raise Conflict("Another run of this job has taken over.", reason="LEASE_LOST")
        return await self._sessions.prune_all() + await self._store.close_expired_grants()
