"""Bringing identities and profiles together again: after a crash, and after records have gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from auth_service.members import Members
from auth_service.models import Identity
from auth_service.profiles import Profiles
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common import redis_keys, times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, NotFound
from fastcms_common.events import EventStream

# A removal that has not moved for this long is not under way any more: the calls in it take ten seconds at the most.
_STUCK = timedelta(seconds=30)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many registrations were undone, removals finished, profiles brought up to date."""

    undone: int
    removed: int
    updated: int


class Reconciliation:
    """The job, and the reader of what collections-service tells."""

    def __init__(
        self,
        redis: Redis,
        store: AuthStore,
        members: Members,
        profiles: Profiles,
        sessions: Sessions,
        audit: AuditLog,
    ) -> None:
        self._stream = EventStream(redis, redis_keys.COLLECTION_EVENTS)
        self._store = store
        self._members = members
        self._profiles = profiles
        self._sessions = sessions
        self._audit = audit

    async def reconcile(self) -> Reconciled:
        """Finishes or undoes what has been left half done."""
        undone = removed = updated = 0
        for identity in await self._store.halfway(times.to_text(times.now() - _STUCK)):
            if identity.state == "pending":
                undone += await self._members.undo(identity)
            else:
                removed += await self._finish_removal(identity)
        async for identity in self._store.stale_profiles():
            updated += await self._update(identity)
        await self._store.register_superadmins()
        return Reconciled(undone, removed, updated)

    async def serve_forever(self) -> None:
        """Drops the identities of records that have gone, until cancelled."""
        await self._stream.consume(self._handle)

    async def _handle(self, events: list[tuple[str, dict[bytes, bytes]]]) -> None:
        for _, fields in events:
            realm = fields[b"collection_id"].decode()
            if fields[b"event"] == b"record_deleted":
                await self._drop_gone(realm, [fields[b"record_id"].decode()])
                continue
            # The collection was emptied or deleted. Who has registered since has a record: they are asked for by name.
            members = [one.id async for one in self._store.members(realm)]
            for start in range(0, len(members), _BATCH):
                await self._drop_gone(realm, members[start : start + _BATCH])

    async def _drop_gone(self, realm: str, ids: list[str]) -> None:
        for identity_id in await self._profiles.missing(realm, ids):
            identity = await self._store.identity(identity_id)
            # One that is pending has no record yet.
            if identity is not None and identity.realm == realm and identity.state == "active":
                await self._drop(identity)

    async def _drop(self, identity: Identity) -> None:
        await self._store.change_credentials(identity.id, {"state": "deleting"}, epoch=identity.epoch)
        await self._sessions.end_all(identity.id)
        await self._store.delete_identity(identity.id)
        await self._audit.record(
            "user",
            "user_deleted",
            user_id=identity.id,
            user_email=identity.email,
            resource_type="user",
            resource_id=identity.id,
            description=f"Deleted {identity.email} with its record",
            details={"realm": identity.realm},
        )

    async def _finish_removal(self, identity: Identity) -> bool:
        await self._sessions.end_all(identity.id)
        if identity.built_in:
            await self._store.delete_identity(identity.id)
            return True
        try:
            await self._members.remove(identity)
        except Conflict:
            # Something points to the record by now: the member stays.
            return False
        return True

    async def _update(self, identity: Identity) -> bool:
        try:
            await self._profiles.update(identity)
        except NotFound:
            return False
        await self._store.profile_given(identity)
        return True
