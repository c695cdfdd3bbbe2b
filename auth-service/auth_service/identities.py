"""Accounts as admins see them, whatever their realm."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.lockouts import Lockouts, LockState
from auth_service.models import Identity
from auth_service.realms import Realms
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.errors import NotFound


@dataclass(frozen=True, slots=True)
class Account:
    """An identity with what is known of it elsewhere. `collection` is its realm's name."""

    identity: Identity
    collection: str
    lock: LockState


class Identities:
    """Looking accounts up, and opening their locks."""

    def __init__(self, store: AuthStore, realms: Realms, lockouts: Lockouts, audit: AuditLog) -> None:
        self._store = store
        self._realms = realms
        self._lockouts = lockouts
        self._audit = audit

    async def get(self, identity_id: str) -> Account:
        """NotFound where there is no such account, or only half of one."""
        return await self._account(await self._active(identity_id))

    async def unlock(self, identity_id: str) -> Account:
        """Opens the lock and forgets all failures."""
        identity = await self._active(identity_id)
        await self._lockouts.clear(identity.realm, identity.email_key)
        await self._audit.record(
            "admin",
            "account_unlocked",
            resource_type="user",
            resource_id=identity.id,
            description=f"Unlocked {identity.email}",
        )
        return await self._account(identity)

    async def _active(self, identity_id: str) -> Identity:
        identity = await self._store.identity(identity_id)
        if identity is None or identity.state != "active":
            raise NotFound("There is no such user.", reason="USER_NOT_FOUND")
        return identity

    async def _account(self, identity: Identity) -> Account:
        lock = await self._lockouts.state(identity.realm, identity.email_key)
        return Account(identity, await self._realms.name_of(identity.realm), lock)
