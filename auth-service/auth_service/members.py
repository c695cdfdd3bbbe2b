"""Members of auth collections: an identity here, a profile in collections-service, and never one without the other.

A registration is a saga: identity `pending` → profile → identity `active`. A removal: identity `deleting` → profile
gone → identity gone. Each step can be repeated. What a crash leaves is `pending` past its time, or `deleting`: nobody
sees it, and the next one who wants the address, or the job, clears it away.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from auth_service import addresses, password_policy
from auth_service.accounts import email_taken
from auth_service.auth_settings import LiveSettings
from auth_service.bodies import Body
from auth_service.models import Identity
from auth_service.passwords import Passwords
from auth_service.profiles import Profiles
from auth_service.realms import Realm
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, Denied, DomainError, TimedOut, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.storage import Duplicate

# How long a registration may be under way; the calls in it take ten seconds at the most.
_UNDER_WAY = timedelta(seconds=30)


class Members:
    """Registering and removing members."""

    def __init__(
        self,
        store: AuthStore,
        sessions: Sessions,
        profiles: Profiles,
        passwords: Passwords,
        settings: LiveSettings,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._profiles = profiles
        self._passwords = passwords
        self._settings = settings
        self._audit = audit

    async def register(self, realm: Realm, body: bytes) -> Identity:
        """A new member from the body of a registration: e-mail, password and the collection's own fields, flat.

        Raises Invalid, Conflict (EMAIL_TAKEN), Denied (PASSWORD_AUTH_DISABLED).
        """
        if not realm.settings(self._settings.current).password_auth_enabled:
            raise Denied("Signing in with a password is switched off here.", reason="PASSWORD_AUTH_DISABLED")
        read = Body(body)
        email, password = read.take_text("email", 254), read.take_text("password", 4096)
        data = read.rest()
        return await self.create(realm, email, password, data)

    async def create(
        self,
        realm: Realm,
        email: str,
        password: str | None,
        data: bytes,
        *,
        verified: bool = False,
        by_admin: bool = False,
    ) -> Identity:
        """A new member; without a password they sign in by other means. Invalid, Conflict (EMAIL_TAKEN)."""
        email = addresses.parse(email)
        if password is not None:
            password_policy.check(password, email, self._settings.current)
        now = times.now()
        identity = Identity(
            id=new_id(),
            realm=realm.id,
            email=email,
            email_key=addresses.key(email),
            verified=verified,
            password_hash=None if password is None else await self._passwords.hash(password),
            state="pending",
            pending_until=times.to_text(now + _UNDER_WAY),
            created=times.to_text(now),
            updated=times.to_text(now),
        )
        await self._take_address(identity)
        await self._make_profile(identity, data, by_admin)
        active = await self._store.activate(identity.id)
        if active is None:
            await self._profiles.delete(identity)
            raise Unavailable("The registration took too long. Try again.", reason="REGISTRATION_LAPSED")
        await self._audit.record(
            "user",
            "user_created",
            user_id=active.id,
            user_email=active.email,
            resource_type="user",
            resource_id=active.id,
            description=f"Created {active.email} in {realm.name}",
            details={"realm": realm.id, "collection": realm.name, "role": active.role},
        )
        return active

    async def remove(self, identity: Identity) -> None:
        """Removes a member with profile and sessions; repeating it finishes what was begun.

        Conflict where records that must not lose the profile point to it; the member then stays.
        """
        changes = {"state": "deleting", "updated": times.now_text(), "epoch": identity.epoch + 1}
        await self._store.change_identity(identity.id, changes)
        try:
            await self._profiles.delete(identity)
        except Conflict:
            await self._store.change_identity(identity.id, {"state": "active"})
            raise
        # Before the identity: nobody would know whose sessions to end afterwards.
        await self._sessions.end_all(identity.id)
        await self._store.delete_identity(identity.id)

    async def undo(self, identity: Identity) -> bool:
        """Clears a registration away that was given up. False where it was not, or somebody else does."""
        claimed = await self._store.begin_undoing(identity)
        if claimed is None:
            return False
        await self._profiles.delete(claimed)
        await self._store.delete_identity(claimed.id)
        return True

    async def _take_address(self, identity: Identity) -> None:
        try:
            await self._store.add_identity(identity)
            return
        except Duplicate:
            holder = await self._store.identity_by_email(identity.realm, identity.email_key)
        if holder is not None and not await self.undo(holder):
            raise email_taken()
        try:
            await self._store.add_identity(identity)
        except Duplicate:
            raise email_taken() from None

    async def _make_profile(self, identity: Identity, data: bytes, by_admin: bool) -> None:
        try:
            await self._profiles.create(identity, data, by_admin=by_admin)
        except (Unavailable, TimedOut, asyncio.CancelledError):
            # It may have been made or not: whoever wants the address next finds the registration given up.
            await asyncio.shield(self._store.lapse(identity.id))
            raise
        except DomainError:
            await self._store.delete_identity(identity.id)
            raise
