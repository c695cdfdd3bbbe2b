"""Changes of stored data from one version to the next, made once, by whichever replica comes first.

The service that owns the data runs its migrations at start, before it serves. Each is written so that it may be run
again from any point (a crash begins it anew, from `Progress.cursor` if it keeps one), and so that the release before it
can still work on what it makes, for both run during a roll-out. What an older release could not work on comes in two
releases: the first expands (the new shape beside the old one), the second contracts, and says so with `needs`.

The table `migrations` of each database holds a document for each version that was made, and `lock`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fastcms_common import times
from fastcms_common.errors import DomainError, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from fastcms_common.storage.query import Or, eq, is_null, lt
from fastcms_common.storage.store import Change, Duplicate, Store, Table

MIGRATIONS = Table("migrations")
_LOCK = "lock"
# Seconds after which a replica that has died no longer holds the lock; one that lives renews it three times in that.
LEASE_SECONDS = 30.0
_LOOK_SECONDS = 0.2

log = get_logger(__name__)


class DataTooNew(Exception):
    """The data was changed by a later release so that this one cannot work on it: one line for the operator."""


class Progress:
    """How far a migration has come, kept in the database: after a crash the next run goes on from there."""

    def __init__(self, store: Store, cursor: str, holder: str) -> None:
        self._store = store
        self._holder = holder
        self.cursor = cursor

    async def reached(self, cursor: str) -> None:
        """Everything up to `cursor` is done. Unavailable where another replica has taken over."""
        await _mine(self._store, self._holder, {"cursor": cursor})
        self.cursor = cursor


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `needs`: the least version that a release has to know to work on data of this version (0: any)."""

    version: int
    name: str
    run: Callable[[Store, Progress], Awaitable[None]]
    needs: int = 0


async def migrate(store: Store, migrations: Sequence[Migration], *, lease_seconds: float = LEASE_SECONDS) -> int:
    """Brings the data to the version of the last of `migrations`; how many were made here.

    Returns at once where nothing is to be done, waits where another replica does it. Data that a later release has
    brought further is left as it is: DataTooNew where that release says that this one cannot work on it.
    """
    known = [migration.version for migration in migrations]
    if known != list(range(1, len(known) + 1)):
        raise ValueError("migrations are numbered from 1, without a gap")
    await store.ensure(MIGRATIONS)
    done = 0
    while (version := await _version(store, len(known))) < len(known):
        holder = new_id()
        if not await _lock(store, holder, lease_seconds):
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        renewing = asyncio.create_task(_renew(store, holder, lease_seconds))
        try:
            # Another replica may have made it between the look and the lock.
            version = await _version(store, len(known))
            if version < len(known):
                await _make(store, migrations[version], holder)
                done += 1
        finally:
            renewing.cancel()
            await _unlock(store, holder)
    return done


async def _version(store: Store, known: int) -> int:
    """The version of the data. DataTooNew where a release that knows only `known` cannot work on it."""
    made = [one for one in await store.find(MIGRATIONS.name) if one["id"] != _LOCK]
    needs = max((one["needs"] for one in made), default=0)
    version = max((one["version"] for one in made), default=0)
    if needs > known:
        raise DataTooNew(
            f"the data is of version {version}, which takes a release that knows version {needs}; "
            f"this one knows {known}"
        )
    return version


async def _make(store: Store, migration: Migration, holder: str) -> None:
    lock = await store.get(MIGRATIONS.name, _LOCK) or {}
    # What another migration left there is not for this one.
    begun = lock.get("version") == migration.version
    await _mine(store, holder, {} if begun else {"version": migration.version, "cursor": ""})
    log.info("migrating", version=migration.version, name=migration.name, resumed=begun)
    started = time.monotonic()
    await migration.run(store, Progress(store, lock.get("cursor") or "" if begun else "", holder))
    # Whoever has lost the lock meanwhile does not say that it is made: its successor does.
    await _mine(store, holder, {})
    with suppress(Duplicate):
        await store.insert(
            MIGRATIONS.name,
            {
                "id": f"{migration.version:06}",
                "version": migration.version,
                "name": migration.name,
                "needs": migration.needs,
                "made": times.now_text(),
            },
        )
    log.info("migrated", version=migration.version, seconds=round(time.monotonic() - started, 1))


async def _lock(store: Store, holder: str, lease_seconds: float) -> bool:
    """Whether the lock is this holder's now."""
    values = {"holder": holder, "until": time.time() + lease_seconds}
    free = Or(is_null("holder"), lt("until", time.time()))
    if await store.update(MIGRATIONS.name, _LOCK, Change(set=values), free) is not None:
        return True
    try:
        await store.insert(MIGRATIONS.name, {"id": _LOCK, **values})
    except Duplicate:
        return False
    return True


async def _mine(store: Store, holder: str, values: dict[str, object]) -> None:
    """Changes the lock while it is this holder's. Unavailable where it is not any more."""
    change = Change(set={"holder": holder, **values})
    if await store.update(MIGRATIONS.name, _LOCK, change, eq("holder", holder)) is None:
        raise Unavailable("Another replica has taken the migration over.", reason="MIGRATION_LOST")


async def _renew(store: Store, holder: str, lease_seconds: float) -> None:
    while True:
        await asyncio.sleep(lease_seconds / 3)
        try:
            await _mine(store, holder, {"until": time.time() + lease_seconds})
        except DomainError as error:
            log.warning("migration lock not renewed", error=error.detail)


async def _unlock(store: Store, holder: str) -> None:
    with suppress(DomainError):
        await store.update(MIGRATIONS.name, _LOCK, Change(set={"holder": None}), eq("holder", holder))
