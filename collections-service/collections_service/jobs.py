"""What jobs do to collections: once for a run, and never on the word of a worker that has been replaced."""

from __future__ import annotations

from dataclasses import dataclass

from collections_service.schemas import Schemas
from collections_service.store import CollectionStore
from fastcms_common.errors import Stale


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
        done = await self._store.deleted_by(lease.job, lease.run)
        if done is not None:
            return done

        async def still_ours() -> None:
            if not await self._store.pass_fence(lease.job, lease.token):
                raise Stale("Another worker has taken over this run.", reason="LEASE_LOST")

        # Asked first, so that whoever was here before is kept out, and again as late as can be.
        await still_ours()
        _, deleted = await self._schemas.truncate(collection, cascade=False, last_check=still_ours)
        await self._store.note_deleted(lease.job, lease.run, lease.token, deleted)
        return deleted
