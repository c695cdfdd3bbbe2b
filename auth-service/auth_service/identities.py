"""Accounts as admins see them, whatever their realm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auth_service.lockouts import Lockouts, LockState
from auth_service.models import Identity
from auth_service.realms import Realm, Realms
from auth_service.store import AuthStore
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Invalid, NotFound
from fastcms_common.storage import And, Or, Query, Sort, eq, like

SORTABLE = (
    "id", "email", "name", "role", "superadmin", "verified", "disabled", "created", "updated", "last_login",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """An identity with what is known of it elsewhere. `collection` is its realm's name."""

    identity: Identity
    collection: str
    lock: LockState


@dataclass(frozen=True, slots=True)
class Filters:
    """Which accounts are asked for; what is empty or None asks for nothing."""

    search: str = ""
    role: str = ""
    verified: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the accounts, and how many there are."""

    accounts: list[Account]
    total: int


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

    async def page(self, realm: Realm | None, filters: Filters, sort: str, page: int, per_page: int) -> Page:
        """One page of the accounts of a realm, or of all. Their locks are not looked up. Invalid naming `sort`."""
        where: list[Query] = [eq("state", "active")]
        if realm is not None:
            where.append(eq("realm", realm.id))
        if filters.role:
            where.append(eq("role", filters.role))
        if filters.verified is not None:
            where.append(eq("verified", filters.verified))
        if filters.search:
            where.append(Or(like("email", filters.search), like("name", filters.search)))
        found, total = await self._store.identities(And(*where), _sort_of(sort), page, per_page)
        names = {one: await self._realms.name_of(one) for one in {identity.realm for identity in found}}
        return Page([Account(one, names[one.realm], LockState()) for one in found], total)

    async def _active(self, identity_id: str) -> Identity:
        identity = await self._store.identity(identity_id)
        if identity is None or identity.state != "active":
            raise NotFound("There is no such user.", reason="USER_NOT_FOUND")
        return identity

    async def _account(self, identity: Identity) -> Account:
        lock = await self._lockouts.state(identity.realm, identity.email_key)
        return Account(identity, await self._realms.name_of(identity.realm), lock)


def _sort_of(text: str) -> Sort:
    sort: list[tuple[str, Literal[1, -1]]] = []
    for name in (text or "-created").split(","):
        bare = name.strip().removeprefix("-")
        if bare not in SORTABLE:
            raise Invalid.field("sort", f"{bare[:64]!r} is not one of: {', '.join(SORTABLE)}.")
        sort.append((bare, -1 if name.strip().startswith("-") else 1))
    return sort
