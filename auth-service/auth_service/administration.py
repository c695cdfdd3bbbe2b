"""What admins do to accounts, and to whose.

An admin manages those of a lower rank, a superadmin everybody. Nobody changes their own rank, disables or deletes
themselves, and the last superadmin stays one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from auth_service import addresses
from auth_service.accounts import Accounts, email_taken, may_make
from auth_service.credentials import Credentials
from auth_service.identities import Account, Identities
from auth_service.impersonations import Impersonations
from auth_service.members import Members
from auth_service.models import Identity, Role
from auth_service.realms import BUILT_IN, Realm, Realms
from auth_service.sessions import Session, Sessions, no_session
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.context import BUILT_IN_REALM, Caller, current
from fastcms_common.errors import Conflict, Denied, FieldError, Invalid, Unauthenticated
from fastcms_common.storage import Duplicate

# What an admin may change of an account that there is.
CHANGEABLE = ("email", "name", "role", "superadmin", "verified")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an admin says of an account to be made."""

    email: str
    password: str
    name: str | None
    role: Role
    superadmin: bool
    verified: bool
    collection: str
    data: bytes


class Administration:
    """Making, changing and removing accounts of all realms. The admin is the caller of the current call."""

    def __init__(
        self,
        store: AuthStore,
        realms: Realms,
        accounts: Accounts,
        members: Members,
        sessions: Sessions,
        identities: Identities,
        credentials: Credentials,
        impersonations: Impersonations,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._realms = realms
        self._accounts = accounts
        self._members = members
        self._sessions = sessions
        self._identities = identities
        self._credentials = credentials
        self._impersonations = impersonations
        self._audit = audit

    async def create(self, new: NewAccount) -> Account:
        """A new account. Invalid, Conflict (EMAIL_TAKEN), Denied (SUPERADMIN_REQUIRED)."""
        realm = await self.realm(new.collection)
        if not realm.built_in:
            wrong = {"name": new.name is not None, "role": new.role == "admin", "superadmin": new.superadmin}
            _refuse_fields(wrong, "Is for built-in users only.")
            identity = await self._members.create(
                realm, new.email, new.password, new.data or b"{}", verified=new.verified, by_admin=True
            )
            return await self._identities.get(identity.id)
        if new.data:
            _refuse_fields({"data": True}, "Is for members of auth collections only.")
        _refuse_fields({"superadmin": new.superadmin and new.role != "admin"}, "Only an admin can be a superadmin.")
        may_make(_admin(), new.role)
        identity = await self._accounts.create(
            new.email, new.password, new.name, role=new.role, superadmin=new.superadmin, verified=new.verified
        )
        if identity.superadmin:
            await self._store.join_superadmins(identity.id)
        return await self._identities.get(identity.id)

    async def update(self, identity_id: str, wanted: dict[str, Any]) -> Account:
        """Changes these fields: email, name, role, superadmin, verified. All of them or none."""
        before = (await self._identities.get(identity_id)).identity
        admin = _admin()
        _check_rank(admin, before, own=True)
        if before.id == admin.id and "email" in wanted:
            # That takes the current password, by the route that asks for it.
            raise Conflict("Change your own e-mail under /auth.", reason="OWN_ACCOUNT")
        changes = _changes(admin, before, wanted)
        ends_sessions = bool({"role", "superadmin"} & changes.keys())
        if not changes:
            return await self._identities.get(identity_id)
        loses = before.superadmin and changes.get("superadmin") is False
        if loses and not await self._store.leave_superadmins(before.id):
            raise _last_superadmin()
        after = await self._write(before, changes, new_epoch=ends_sessions)
        if after.superadmin and not before.superadmin:
            await self._store.join_superadmins(after.id)
        if ends_sessions:
            await self._end_everything(after)
        if after.profile_stale:
            await self._credentials.give_profile(after)
        changed = [name for name in CHANGEABLE if getattr(before, name) != getattr(after, name)]
        values = {
            "old": {name: getattr(before, name) for name in changed},
            "new": {name: getattr(after, name) for name in changed},
        }
        await self._note("user_updated", after, f"Changed {after.email}", values)
        return await self._identities.get(identity_id)

    async def delete(self, identity_id: str) -> None:
        """Removes an account with its sessions and its profile."""
        identity = await self._leaving(identity_id)
        if identity.built_in:
            await self._write(identity, {"state": "deleting"}, new_epoch=True)
            await self._end_everything(identity)
            await self._store.delete_identity(identity.id)
        else:
            await self._members.remove(identity)
        await self._note("user_deleted", identity, f"Deleted {identity.email}")

    async def disable(self, identity_id: str) -> Account:
        """Keeps an account from signing in, and ends its sessions."""
        identity = await self._leaving(identity_id)
        if not identity.disabled:
            # Nor does a link that was asked for before take it over when it is enabled again.
            await self._write(identity, {"disabled": True, "mail_tokens": {}}, new_epoch=True)
        await self._end_everything(identity)
        await self._note("user_disabled", identity, f"Disabled {identity.email}")
        return await self._identities.get(identity_id)

    async def enable(self, identity_id: str) -> Account:
        """Lets an account sign in again."""
        identity = (await self._identities.get(identity_id)).identity
        _check_rank(_admin(), identity, own=True)
        if identity.disabled:
            await self._write(identity, {"disabled": False}, new_epoch=True)
            if identity.superadmin:
                await self._store.join_superadmins(identity.id)
        await self._note("user_enabled", identity, f"Enabled {identity.email}")
        return await self._identities.get(identity_id)

    async def revoke_sessions(self, identity_id: str) -> int:
        """Ends all sessions of an account; how many."""
        identity = (await self._identities.get(identity_id)).identity
        _check_rank(_admin(), identity, own=True)
        ended = await self._sessions.end_all(identity.id)
        await self._impersonations.end_of_actor(identity.id, "session_ended")
        await self._note("sessions_revoked", identity, f"Ended all sessions of {identity.email}", {"revoked": ended})
        return ended

    async def sessions(self, identity_id: str) -> list[Session]:
        """The sessions of an account, the newest first. Those in which an admin acts as it have their own place."""
        identity = (await self._identities.get(identity_id)).identity
        # Addresses and devices of those above are not for everyone to see.
        _check_rank(_admin(), identity, own=True)
        return [one for one in await self._sessions.of_user(identity.id) if one.actor_id is None]

    async def revoke_session(self, identity_id: str, session_id: str) -> None:
        """Ends one session of an account. NotFound (SESSION_NOT_FOUND)."""
        identity = (await self._identities.get(identity_id)).identity
        _check_rank(_admin(), identity, own=True)
        session = await self._sessions.get(session_id)
        impersonates = session is not None and session.actor_id is not None
        if impersonates or not await self._sessions.end(session_id, identity.id):
            raise no_session()
        await self._note(
            "session_revoked", identity, f"Ended a session of {identity.email}", {"session_id": session_id}
        )

    async def realm(self, collection: str) -> Realm:
        """The realm that admins call by this name: `users`, or an auth collection."""
        if collection in ("", BUILT_IN_REALM):
            return BUILT_IN
        return await self._realms.resolve(collection)

    async def _leaving(self, identity_id: str) -> Identity:
        """An account that may be removed or disabled, counted out of the superadmins."""
        identity = (await self._identities.get(identity_id)).identity
        _check_rank(_admin(), identity, own=False)
        if identity.superadmin and not identity.disabled and not await self._store.leave_superadmins(identity.id):
            raise _last_superadmin()
        return identity

    async def _write(self, before: Identity, changes: dict[str, Any], *, new_epoch: bool) -> Identity:
        changes = changes | {"updated": times.now_text()}
        if new_epoch:
            changes["epoch"] = before.epoch + 1
        try:
            after = await self._store.change_identity(before.id, changes, epoch=before.epoch)
        except Duplicate:
            await self._restore(before)
            raise email_taken() from None
        if after is None:
            await self._restore(before)
            raise Conflict("The account was changed meanwhile. Try again.", reason="ACCOUNT_CHANGED")
        return after

    async def _restore(self, before: Identity) -> None:
        # What was to cost them their rank has not happened.
        if before.superadmin and not before.disabled:
            await self._store.register_superadmins()

    async def _end_everything(self, identity: Identity) -> None:
        await self._sessions.end_all(identity.id)
        await self._impersonations.end_of_actor(identity.id, "rank_lost")

    async def _note(
        self, action: str, identity: Identity, description: str, details: dict[str, Any] | None = None
    ) -> None:
        await self._audit.record(
            "admin",
            action,
            resource_type="user",
            resource_id=identity.id,
            description=description,
            details={"realm": identity.realm} | (details or {}),
        )


def _changes(admin: Caller, before: Identity, wanted: dict[str, Any]) -> dict[str, Any]:
    nulls = {name: value is None for name, value in wanted.items() if name != "name"}
    _refuse_fields(nulls, "Must not be null.")
    ranked = {name: name in wanted for name in ("name", "role", "superadmin")}
    if not before.built_in:
        _refuse_fields(ranked, "Is for built-in users only.")
    changes: dict[str, Any] = {}
    if "name" in wanted:
        changes["name"] = (wanted["name"] or "").strip() or None
    changes |= _rank_changes(admin, before, wanted)
    if "verified" in wanted:
        changes["verified"] = wanted["verified"]
    if "email" in wanted:
        changes["email"] = addresses.parse(wanted["email"])
        changes["email_key"] = addresses.key(changes["email"])
        if changes["email_key"] != before.email_key:
            # Whoever holds the new address has proven nothing, and links sent to the old one are void.
            changes.setdefault("verified", False)
            changes["mail_tokens"] = {}
    kept = {name: value for name, value in changes.items() if getattr(before, name) != value}
    if not before.built_in and {"email", "verified"} & kept.keys():
        kept["profile_stale"] = True
    return kept


def _rank_changes(admin: Caller, before: Identity, wanted: dict[str, Any]) -> dict[str, Any]:
    role = wanted.get("role", before.role)
    superadmin = wanted.get("superadmin", before.superadmin if role == "admin" else False)
    if (role, superadmin) == (before.role, before.superadmin):
        return {}
    if before.id == admin.id:
        raise Conflict("Nobody changes their own rank.", reason="OWN_ACCOUNT")
    if not admin.superadmin:
        raise Denied("Only superadmins make and unmake admins.", reason="SUPERADMIN_REQUIRED")
    _refuse_fields({"superadmin": superadmin and role != "admin"}, "Only an admin can be a superadmin.")
    return {"role": role, "superadmin": superadmin}


def _admin() -> Caller:
    caller = current().caller
    if caller is None:
        raise Unauthenticated
    return caller


def _check_rank(admin: Caller, target: Identity, *, own: bool) -> None:
    if target.id == admin.id:
        if not own:
            raise Conflict("This cannot be done to one's own account.", reason="OWN_ACCOUNT")
        return
    rank = 2 if admin.superadmin else 1
    if rank < 2 and target.rank >= rank:
        raise Denied("Only accounts of a lower rank can be managed.", reason="RANK_TOO_HIGH")


def _last_superadmin() -> Conflict:
    return Conflict("The last superadmin has to stay one.", reason="LAST_SUPERADMIN")


def _refuse_fields(wrong: dict[str, bool], message: str) -> None:
    fields = [FieldError(name, message) for name, is_wrong in wrong.items() if is_wrong]
    if fields:
        raise Invalid(fields)
