"""Who calls, as an account rather than as a token."""

from __future__ import annotations

from auth_service.models import Identity
from auth_service.profiles import Profiles
from auth_service.realms import Realms
from auth_service.store import AuthStore
from fastcms_common.context import current
from fastcms_common.errors import Unauthenticated


class People:
    """Callers and their accounts."""

    def __init__(self, store: AuthStore, realms: Realms, profiles: Profiles) -> None:
        self._store = store
        self._realms = realms
        self._profiles = profiles

    async def caller(self, collection: str | None = None) -> Identity:
        """The caller's account. With the collection of a path (empty: built-in users), found to be of that realm.

        Unauthenticated where nobody calls or the account is gone, Denied (WRONG_REALM).
        """
        caller = current().caller
        if caller is None:
            raise Unauthenticated
        if collection is not None:
            (await self._realms.resolve(collection)).admit(caller)
        identity = await self._store.identity(caller.id)
        if identity is None or identity.state != "active":
            raise Unauthenticated("This account is gone.", reason="ACCOUNT_GONE")
        return identity

    async def show(self, identity: Identity) -> bytes:
        """The person as the API shows them, JSON."""
        return await self._profiles.user(identity)
