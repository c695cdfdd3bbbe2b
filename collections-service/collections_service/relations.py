"""Relations: what they point to is there, and what becomes of them when it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collections_service.catalog import Snapshot
from collections_service.events import CollectionEvents
from collections_service.models import ID, REVISION, UPDATED, Collection, FieldDefinition, new_revision
from collections_service.store import CollectionStore
from collections_service.validation import LACKS
from fastcms_common import times
from fastcms_common.errors import Conflict, FieldError, Invalid
from fastcms_common.storage import And, Change, Field, In, Not, Query, gt, is_null

# Ids in one query.
CHUNK = 500
# Records that may go with one.
MAX_CASCADE = 100_000
_REASON = "RECORD_REFERENCED"


@dataclass
class Release:
    """What has to be done before or after some records are deleted."""

    # Records that are deleted with them, by collection id.
    doomed: dict[str, tuple[Collection, set[str]]] = field(default_factory=dict)
    # Which these are and what dooms them, each step before those that it entails.
    steps: list[tuple[Collection, Query, set[str]]] = field(default_factory=list)
    # Relations that lose the deleted ids.
    emptied: list[tuple[Collection, FieldDefinition, list[str]]] = field(default_factory=list)

    def doom(self, other: Collection, where: Query, ids: set[str]) -> set[str]:
        """Takes note that these are deleted for as long as `where` holds of them; which of them are new."""
        known = self.doomed.setdefault(other.id, (other, set()))[1]
        new = ids - known
        known |= ids
        if ids:
            self.steps.append((other, where, ids))
        return new


class Relations:
    """The work of `on_delete`, and the check that a relation points to something."""

    def __init__(self, store: CollectionStore, events: CollectionEvents) -> None:
        self._store = store
        self._events = events

    async def missing(
        self,
        snapshot: Snapshot,
        collection: Collection,
        values: Mapping[str, Any],
        prefix: str = "data.",
        *,
        sees_hidden: bool = True,
    ) -> list[FieldError]:
        """The relations among the values (by storage key) that point to nothing. A hidden one, whose default is gone,
        is not named to those who do not see it."""
        (errors,) = await self.missing_of(snapshot, collection, [values], [prefix], sees_hidden=sees_hidden)
        return errors

    async def missing_of(
        self,
        snapshot: Snapshot,
        collection: Collection,
        records: Sequence[Mapping[str, Any]],
        prefixes: Sequence[str],
        *,
        sees_hidden: bool = True,
    ) -> list[list[FieldError]]:
        """The same for each of many records, with a question for each relation instead of one for each record."""
        errors: list[list[FieldError]] = [[] for _ in records]
        for relation in collection.relations:
            pointed = [_ids_in(values.get(relation.id)) for values in records]
            target = snapshot.with_id(relation.collection or "")
            if target is None or not any(pointed):
                continue
            there = await self._there(target, {id for ids in pointed for id in ids})
            for ids, prefix, found in zip(pointed, prefixes, errors, strict=True):
                for index, id in enumerate(ids):
                    if id in there:
                        continue
                    if relation.hidden and not sees_hidden:
                        found.append(FieldError(prefix.rstrip(".") or "body", LACKS))
                    else:
                        place = f"[{index}]" if relation.many else ""
                        told = f"there is no such record in '{target.name}'"
                        found.append(FieldError(f"{prefix}{relation.name}{place}", told))
        return errors

    async def _there(self, target: Collection, ids: set[str]) -> set[str]:
        there: set[str] = set()
        for chunk in _chunks(sorted(ids)):
            there.update(doc[ID] for doc in await self._store.get_many(target, chunk) if doc is not None)
        return there

    async def plan(
        self, snapshot: Snapshot, collection: Collection, ids: Iterable[str], *, named: bool = True
    ) -> Release:
        """What deleting these records entails. Conflict, where `named` naming the relations that restrict it: others
        than admins need not know what there is that they may not see."""
        roots = set(ids)
        return await self._plan(snapshot, Release(), [(collection, roots)], (collection, roots), named=named)

    async def _plan(
        self,
        snapshot: Snapshot,
        release: Release,
        wave: list[tuple[Collection, set[str]]],
        roots: tuple[Collection, set[str] | None],
        *,
        named: bool = True,
    ) -> Release:
        """Adds to the release what the records of the wave take with them. `roots` are about to be deleted themselves,
        None for all records of a collection."""
        root, those = roots
        restricting: list[tuple[Collection, FieldDefinition, list[str]]] = []
        while wave:
            target, gone = wave.pop()
            for other, relation in snapshot.referrers.get(target.id, []):
                if other.id == root.id and those is None:
                    continue
                for chunk in _chunks(sorted(gone)):
                    if relation.on_delete == "cascade":
                        new = await self._doom(release, other, relation, chunk, _of(roots, other))
                        if new:
                            wave.append((other, new))
                    elif relation.on_delete == "restrict":
                        restricting.append((other, relation, chunk))
                    else:
                        release.emptied.append((other, relation, chunk))
        await self._check_restricting(release, roots, restricting, named=named)
        return release

    async def _doom(
        self, release: Release, other: Collection, relation: FieldDefinition, chunk: Sequence[str], roots: set[str]
    ) -> set[str]:
        where = In((relation.id,), chunk)
        found = await self._ids(other, where) - roots
        new = release.doom(other, where, found)
        if sum(len(ids) for _, ids in release.doomed.values()) > MAX_CASCADE:
            raise _too_many()
        return new

    async def _check_restricting(
        self,
        release: Release,
        roots: tuple[Collection, set[str] | None],
        restricting: Sequence[tuple[Collection, FieldDefinition, list[str]]],
        *,
        named: bool,
    ) -> None:
        counts: dict[str, int] = {}
        for other, relation, chunk in restricting:
            doomed = release.doomed[other.id][1] if other.id in release.doomed else set()
            gone = doomed | _of(roots, other)
            where = In((relation.id,), chunk)
            left = len(await self._ids(other, where) - gone) if gone else await self._store.count(other, where)
            if left:
                name = f"{other.name}.{relation.name}"
                counts[name] = counts.get(name, 0) + left
        if counts:
            pointing = ", ".join(f"{name} ({count})" for name, count in counts.items())
            told = f": {pointing}" if named else ""
            raise Conflict(f"Records point to this one{told}.", reason=_REASON)

    async def _ids(self, other: Collection, where: Query) -> set[str]:
        """Conflict where they are too many."""
        try:
            return set(await self._store.ids(other, where))
        except Invalid:
            raise _too_many() from None

    async def carry_out(self, release: Release) -> None:
        """Empties and deletes what the plan says. Repeating it does no harm."""
        for other, relation, ids in release.emptied:
            await self._empty(other, relation, In((relation.id,), ids), ids)
        # The last ones first: repeated after a crash this finds what leads to the rest.
        for other, where, doomed in reversed(release.steps):
            for chunk in _chunks(sorted(doomed)):
                # Told first: repeated after a crash this finds the records still there, and not the other way round.
                await self._tell(other, chunk)
                # But for those that somebody has pointed elsewhere since.
                await self._store.delete_many(other, And(In((ID,), chunk), where))
                # And again: who was quick to look found them still there, and took them for kept.
                await self._tell(other, chunk)

    async def _tell(self, other: Collection, ids: Sequence[str]) -> None:
        for id in ids:
            await self._events.record_deleted(other, id)

    async def _empty(
        self, other: Collection, relation: FieldDefinition, where: Query, ids: Sequence[str] | None
    ) -> None:
        """Takes these ids, or with None all of them, out of the relation."""
        stamp: dict[str, Any] = {UPDATED: times.now_text(), REVISION: new_revision()}
        if not relation.many:
            change = Change(set=stamp, unset=[(relation.id,)])
        elif ids is None:
            change = Change(set={**stamp, relation.id: []})
        else:
            change = Change(set=stamp, remove={relation.id: ids})
        await self._store.update_many(other, where, change)

    async def release_all(self, snapshot: Snapshot, collection: Collection, *, cascade: bool) -> None:
        """Deals with the relations that point into a collection whose records are all about to go.

        Conflict naming those that hold something, unless `cascade`: then set_null empties, the others delete.
        """
        holding = []
        for other, relation in snapshot.referrers.get(collection.id, []):
            held = _points(relation)
            if other.id != collection.id and await self._store.count(other, held, limit=1):
                holding.append((other, relation, held))
        if holding and not cascade:
            names = ", ".join(f"{other.name}.{relation.name}" for other, relation, _ in holding)
            raise Conflict(f"Relations point to records of '{collection.name}': {names}.", reason=_REASON)
        # All of it is known to be possible before any of it is done.
        release = Release()
        wave: list[tuple[Collection, set[str]]] = []
        for other, relation, held in holding:
            if relation.on_delete != "set_null":
                wave.append((other, release.doom(other, held, await self._ids(other, held))))
        await self._plan(snapshot, release, wave, (collection, None))
        for other, relation, held in holding:
            if relation.on_delete == "set_null":
                await self._empty(other, relation, held, None)
        await self.carry_out(release)

    async def carry_over(self, snapshot: Snapshot, before: Collection, after: Collection) -> int:
        """Gives the new table of a collection those records of its old one that others point to; how many."""
        left = await self._left_pointing(snapshot, after)
        kept = [doc for doc in await self._store.get_many(before, sorted(left)) if doc is not None]
        await self._store.insert_many(after, kept)
        return len(kept)

    async def _left_pointing(self, snapshot: Snapshot, collection: Collection) -> set[str]:
        """The ids that records of other collections point to and that this one has no records of."""
        left: set[str] = set()
        for other, relation in snapshot.referrers.get(collection.id, []):
            held: set[str] = set()
            if other.id != collection.id:
                async for doc in self._store.scan(other, _points(relation)):
                    held.update(doc[relation.id] if relation.many else [doc[relation.id]])
            left |= held - await self._there(collection, held)
        return left


def _of(roots: tuple[Collection, set[str] | None], other: Collection) -> set[str]:
    """Those of the roots that are records of this collection."""
    root, those = roots
    return those or set() if other.id == root.id else set()


def _too_many() -> Conflict:
    return Conflict(f"More than {MAX_CASCADE} records would go with it.", reason=_REASON)


def _points(relation: FieldDefinition) -> Query:
    """The records whose relation points to anything: an empty list does not."""
    return gt(Field((relation.id,), length=True), 0) if relation.many else Not(is_null((relation.id,)))


def _ids_in(value: Any) -> list[str]:
    """The ids of what a relation points to."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _chunks(ids: Sequence[str]) -> Iterable[list[str]]:
    return (list(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK))
