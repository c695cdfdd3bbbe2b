"""What jobs do to collections: once for a run, and never on the word of a worker that has been replaced."""

from __future__ import annotations

from dataclasses import dataclass

from collections_service.schemas import CHANGED_MEANWHILE, Schemas
from collections_service.store import CollectionStore
from fastcms_common.errors import Conflict, Stale

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to do a run of a job, for as long as nobody has shown a higher token."""

    job: str
    run: str
    token: int


class Jobs:
    """The work of jobs. Raises Stale (LEASE_LOST) where another worker has taken over."""

    def __init__(self, store: CollectionStore, schemas: Schemas) -> None:
        self._store = store
        self._schemas = schemas

    async def truncate(self, collection: str, lease: Lease) -> int:
        """Deletes all records; how many, also where this run was done before: then nothing more is deleted."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._truncate(collection, lease)
            except Conflict as error:
                # Maybe by another worker that does the same run.
                if error.reason != CHANGED_MEANWHILE:
                    raise
        return await self._truncate(collection, lease)

    async def _truncate(self, collection: str, lease: Lease) -> int:
        done = await self._store.deleted_by(lease.job, lease.run)
        if done is not None:
            return done

        async def still_ours() -> None:
            if not await self._store.pass_fence(lease.job, lease.token):
                raise Stale("Another worker has taken over this run.", reason="LEASE_LOST")

        # Asked first, so that whoever was here before is kept out, and again when all is ready to be done in one step.
        await still_ours()
        _, deleted = await self._schemas.truncate(collection, cascade=False, last_check=still_ours)
        await self._store.note_deleted(lease.job, lease.run, lease.token, deleted)
        return deleted
