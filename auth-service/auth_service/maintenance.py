"""What an operator does to accounts and keys without signing in; see `fastcms_common.maintenance`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from auth_service import addresses, password_policy, resealing
from auth_service.accounts import Accounts
from auth_service.auth_settings import LiveSettings, first_values
from auth_service.config import Settings, read_master_keys
from auth_service.grant_store import GrantStore
from auth_service.keys import SigningKeys
from auth_service.lockouts import Lockouts
from auth_service.master_key import MasterKey
from auth_service.models import Identity
from auth_service.oauth_store import OAuthStore
from auth_service.passwords import Passwords
from auth_service.refresh_tokens import RefreshTokens
from auth_service.sessions import Sessions
from auth_service.settings_changes import SettingsChanges
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.context import BUILT_IN_REALM
from fastcms_common.errors import Conflict
from fastcms_common.maintenance import Answer, perform
from fastcms_common.redis_connection import connect
from fastcms_common.storage import Store, eq, open_store


class Maintenance:
    """The operations. Each takes the object that came in and gives the one that goes out."""

    def __init__(self, settings: Settings, storage: Store, master_key: MasterKey) -> None:
        self._redis = connect(settings.redis_url)
        self._store, self._oauth_store, self._grants = AuthStore(storage), OAuthStore(storage), GrantStore(storage)
        self._live, self._audit = LiveSettings(first_values(settings)), AuditLog(self._redis)
        self._settings = SettingsChanges(self._redis, self._store, self._live, self._audit)
        self._passwords = Passwords(threads=1)
        self._lockouts = Lockouts(self._redis, self._live)
        refresh_tokens = RefreshTokens(*master_key.derive("refresh-tokens"))
        self._sessions = Sessions(self._redis, refresh_tokens, timedelta(days=settings.session_absolute_days))
        self._master_key, self._keys = master_key, SigningKeys(self._store, master_key)

    async def prepare(self) -> None:
        """The tables, and the password policy that is in force."""
        await self._store.prepare()
        await self._oauth_store.prepare()
        await self._grants.prepare()
        await self._settings.read()

    async def close(self) -> None:
        """Lets go of everything."""
        self._passwords.close()
        await self._store.close()
        await self._redis.aclose()

    async def create_admin(self, asked: Mapping[str, Any]) -> Answer:
        """Makes a superadmin of `email`, `password`, `name`; the very first admin where there is none yet.

        Where somebody has the address: Conflict, unless `recover` is set, and then that account gets the password,
        is enabled, becomes a superadmin, and loses its second factor, its lock, all its sessions, and whatever a thief
        may have begun in its name: links sent by mail, and acting as others.
        """
        accounts = Accounts(self._store, self._passwords, self._live, self._audit, None)
        email, password = addresses.parse(asked["email"]), asked["password"]
        before = await self._store.identity_by_email(BUILT_IN_REALM, addresses.key(email))
        if before is not None:
            if not asked.get("recover"):
                raise Conflict(f"{before.email} has an account already: --recover makes it usable again.")
            return _described(await self._recover(before, password))
        first = not await self._store.any_admin()
        identity = await accounts.create(
            email, password, asked.get("name"), role="admin", founder=first, superadmin=True, verified=True
        )
        await self._store.join_superadmins(identity.id)
        return _described(identity)

    async def _recover(self, before: Identity, password: str) -> Identity:
        password_policy.check(password, before.email, self._live.current)
        changes = {
            "password_hash": await self._passwords.hash(password),
            "role": "admin",
            "superadmin": True,
            "disabled": False,
            "second_factor": None,
            "mail_tokens": {},
        }
        # Written before it is done, so that it cannot be done unseen.
        await self._audit.record(
            "security",
            "account_recovered",
            severity="critical",
            resource_type="user",
            resource_id=before.id,
            user_email=before.email,
            description=f"The operator gave {before.email} a new password and the rank of a superadmin",
        )
        after = await self._store.change_credentials(
            before.id, changes, epoch=before.epoch, where=eq("state", "active")
        )
        if after is None:
            raise Conflict(f"{before.email} was changed at the same moment: try again.")
        await self._store.join_superadmins(after.id)
        await self._lockouts.clear(after.realm, after.email_key)
        await self._sessions.end_all(after.id)
        for grant in await self._grants.active_grants(after.id):
            # What is left to write down of it the job does.
            await self._sessions.end(grant.id, grant.target_id)
        return after

    async def unlock(self, asked: Mapping[str, Any]) -> Answer:
        """Opens the lock of `email` among the built-in users and in every auth collection where it is known."""
        email_key = addresses.key(asked["email"])
        realms = {BUILT_IN_REALM} | await self._store.realms_of(email_key)
        opened = 0
        for realm in sorted(realms):
            opened += (await self._lockouts.state(realm, email_key)).remaining_seconds > 0
            await self._lockouts.clear(realm, email_key)
        await self._audit.record(
            "admin",
            "account_unlocked",
            resource_type="user",
            user_email=asked["email"],
            description=f"The operator unlocked {asked['email']}",
        )
        return {"opened": opened}

    async def rotate_signing_keys(self, _: Mapping[str, Any]) -> Answer:
        """Makes the next signing key, which replicas that run publish within a minute and use ten minutes later."""
        kid, withdrawn = await self._keys.rotate()
        return {"kid": kid, "withdrawn": withdrawn}

    async def reseal(self, _: Mapping[str, Any]) -> Answer:
        """Seals everything under the first of the master keys; `renewed` is how many secrets were not."""
        return {"renewed": await resealing.reseal(self._store, self._oauth_store, self._master_key)}


def _described(identity: Identity) -> Answer:
    return {"id": identity.id, "email": identity.email, "first": bool(identity.founder)}


def _on_maintenance(
    method: Callable[[Maintenance, Mapping[str, Any]], Awaitable[Answer]],
) -> Callable[[Settings, Mapping[str, Any]], Awaitable[Answer]]:
    async def operation(settings: Settings, asked: Mapping[str, Any]) -> Answer:
        master_key = MasterKey(*read_master_keys(settings.master_key_file))
        maintenance = Maintenance(settings, await open_store(settings.storage_url, "auth"), master_key)
        try:
            await maintenance.prepare()
            return await method(maintenance, asked)
        finally:
            await maintenance.close()

    return operation


if __name__ == "__main__":
    perform(
        Settings,
        {
            "create-admin": _on_maintenance(Maintenance.create_admin),
            "unlock": _on_maintenance(Maintenance.unlock),
            "rotate-signing-keys": _on_maintenance(Maintenance.rotate_signing_keys),
            "reseal": _on_maintenance(Maintenance.reseal),
        },
    )
