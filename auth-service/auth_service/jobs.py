"""What the scheduler has done here. Each job heeds its fence: one that has lost its lease does nothing."""

from __future__ import annotations

from datetime import timedelta

from auth_service.impersonations import Impersonations
from auth_service.keys import SigningKeys
from auth_service.mails import Mails
from auth_service.reconciliation import Reconciled, Reconciliation
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common.errors import Conflict


class Jobs:
    """The jobs. Each raises Conflict (LEASE_LOST) where another run has taken over."""

    def __init__(
        self,
        store: AuthStore,
        sessions: Sessions,
        impersonations: Impersonations,
        reconciliation: Reconciliation,
        mails: Mails,
        keys: SigningKeys,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._impersonations = impersonations
        self._reconciliation = reconciliation
        self._mails = mails
        self._keys = keys

    async def delete_expired(self, fence: int) -> int:
        """Drops sessions and mailed tokens that have run out; how many."""
        await self._pass("cleanup_expired_tokens", fence)
        return await self._sessions.prune_all() + await self._store.delete_expired_mail_tokens()

    async def reconcile(self, fence: int) -> Reconciled:
        """Finishes or undoes what a crash has left half done, and closes impersonations that are over."""
        await self._pass("reconcile_identities", fence)
        await self._impersonations.close()
        return await self._reconciliation.reconcile()

    async def send_mail(self, fence: int) -> tuple[int, int]:
        """Tries the mails that are due; how many were handed over and how many were not."""
        await self._pass("send_pending_mail", fence)
        return await self._mails.send_due()

    async def rotate_keys(self, fence: int, older_than: timedelta) -> tuple[str, int]:
        """Makes the next signing key where the newest is old enough; its kid, and how many keys were withdrawn."""
        await self._pass("rotate_signing_keys", fence)
        return await self._keys.rotate(older_than)

    async def _pass(self, job: str, fence: int) -> None:
        if not await self._store.pass_fence(job, fence):
            raise Conflict("Another run of this job has taken over.", reason="LEASE_LOST")
