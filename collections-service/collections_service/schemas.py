"""Collections: made, changed, deleted, emptied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

from collections_service.catalog import Catalog, Snapshot
from collections_service.drafts import CollectionDraft, apply, check_rules
from collections_service.events import CollectionEvents
from collections_service.journal import Journal
from collections_service.models import RULES, Collection
from collections_service.relations import Relations
from collections_service.schema_changes import (
    asked,
    check_records,
    clear_removed,
    fill_defaults,
    filled,
)
from collections_service.store import CollectionStore
from fastcms_common import times
from fastcms_common.audit import AuditLog
from fastcms_common.errors import Conflict, DomainError, FieldError, Invalid, NotFound
from fastcms_common.ids import new_id
from fastcms_common.storage import Duplicate

# Records from which on a table is exchanged rather than emptied, and not copied for the sake of a new field.
LARGE = 10_000
CHANGED_MEANWHILE = "COLLECTION_CHANGED_MEANWHILE"


class Schemas:
    """What may be done to collections. Every change is announced to all processes before its maker gets an answer."""

    def __init__(
        self,
        store: CollectionStore,
        catalog: Catalog,
        relations: Relations,
        events: CollectionEvents,
        journal: Journal,
        audit: AuditLog,
    ) -> None:
        self._journal = journal
        self._store = store
        self._catalog = catalog
        self._relations = relations
        self._events = events
        self._audit = audit
        # Changes of this process, one at a time; those of others are kept out by the collection's version.
        self._turn = asyncio.Lock()

    async def snapshot(self) -> Snapshot:
        """All collections, as this process knows them."""
        return await self._catalog.current()

    async def create(self, type: Literal["base", "auth"], draft: CollectionDraft) -> Collection:
        """A new collection. Conflict where the name is taken, Invalid naming every mistake."""
        await self._catalog.check_announcing()
        moment = times.now_text()
        empty = Collection(
            new_id(), draft.name or "", type, (), {}, dict.fromkeys(RULES), (), moment, moment, version=0
        )
        async with self._turn:
            snapshot = await self._catalog.fresh()
            collection = apply(draft, empty, snapshot, moment)
            if snapshot.named(collection.name) is not None:
                raise _taken(collection.name)
            await self._check_defaults(snapshot, empty, collection)
            try:
                await self._store.insert_collection(collection)
            except Duplicate:
                raise _taken(collection.name) from None
            try:
                # Should this process die before it is made, whoever opens the collection makes it.
                await self._store.ensure_table(collection)
            except DomainError:
                # Unless somebody has found and changed it already.
                if await self._store.delete_collection(collection):
                    await self._store.drop_table(collection)
                raise
            await self._catalog.announce(collection.id)
        await self._record("created", collection, {"type": type, "fields": [field.name for field in collection.fields]})
        return collection

    async def change(self, id: str, draft: CollectionDraft) -> Collection:
        """The collection after the change. Conflict where stored records or other collections' rules break it."""
        await self._catalog.check_announcing()
        # To its end also where the one who asked for it does not wait that long.
        return await asyncio.shield(self._change(id, draft))

    async def _change(self, id: str, draft: CollectionDraft) -> Collection:
        async with self._turn:
            before, after = await self._planned(id, draft)
            pending = asked(before, after)
            if not pending:
                return await self._make(before, after)
        held = before.with_changes(version=before.version + 1, pending=pending)
        async with self._holding(held), self._turn:
            return await self._make(*await self._planned(id, draft, held))

    @asynccontextmanager
    async def _holding(self, held: Collection) -> AsyncIterator[None]:
        """A time in which no process writes records that do not fit the pending fields. They are pending no more where
        that is left with an error."""
        async with self._journal.reshaping(held):
            await self._store_version(held)
            try:
                await self._catalog.announce(held.id)
                await self._catalog.until_heard()
                yield
            except BaseException:
                await self._journal.let_go(held)
                raise

    async def _planned(
        self, id: str, draft: CollectionDraft, held: Collection | None = None
    ) -> tuple[Collection, Collection]:
        """The collection as it is and as the draft would have it, which nothing stands against. Conflict also where it
        is no longer the one that is held for this change."""
        snapshot = await self._catalog.fresh()
        before = snapshot.find(id)
        if held is not None and before.version != held.version:
            raise _raced()
        # Where somebody else's change is pending, this one comes before it.
        before = before.with_changes(pending=())
        after = apply(draft, before, snapshot, times.now_text())
        taken = snapshot.named(after.name)
        if taken is not None and taken.id != after.id:
            raise _taken(after.name)
        self._check_other_rules(snapshot, after)
        await self._check_defaults(snapshot, before, after)
        await self._store.ensure_table(before)
        await check_records(self._store, before, after)
        return before, after

    async def _make(self, before: Collection, after: Collection) -> Collection:
        large = await self._store.count(before, limit=LARGE + 1) > LARGE
        if large:
            after = _unpromised(before, after)
        fields = filled(before, after)
        async with self._journal.reshaping(after, again=bool(fields)):
            await fill_defaults(self._store, before, fields)
            await self._store_change(before, after)
            await self._catalog.announce(after.id)
            await self._store.fit_table(after)
            # Those that were written meanwhile.
            await fill_defaults(self._store, after, fields)
        await self._record_change(before, after)
        if not large:
            await clear_removed(self._store, before, after)
        return after

    async def _store_version(self, collection: Collection) -> None:
        if not await self._store.replace_collection(collection):
            raise _raced()

    async def _store_change(self, before: Collection, after: Collection) -> None:
        try:
            await self._store.ensure_table(after)
            await self._store_version(after)
        except BaseException as error:
            # Back to what is stored, which may be what someone else has made of it.
            stored = (await self._catalog.fresh()).with_id(before.id)
            if stored is not None:
                await self._store.fit_table(stored)
            if isinstance(error, Duplicate) and error.index == "name":
                raise _taken(after.name) from None
            raise

    async def _check_defaults(self, snapshot: Snapshot, before: Collection, after: Collection) -> None:
        """Invalid where the default of a relation is no record of the collection that it points to."""
        errors: list[FieldError] = []
        for index, field in enumerate(after.fields):
            if field.type != "relation" or field.default is None or field in before.fields:
                continue
            if snapshot.with_id(field.collection or "") is None:
                missing = [FieldError("", "there are no records in it yet")]
            else:
                missing = await self._relations.missing(snapshot, after, {field.id: field.default})
            errors += [FieldError(f"schema.fields[{index}].default", error.message) for error in missing]
        if errors:
            raise Invalid(errors)

    @staticmethod
    def _check_other_rules(snapshot: Snapshot, after: Collection) -> None:
        """Rules of other collections may speak of this one's name and fields."""
        then = snapshot.with_collection(after)
        broken = [
            f"{other.name}.{error.field}"
            for other in snapshot.all()
            if other.id != after.id
            for error in check_rules(other, then)
        ]
        if broken:
            raise Conflict(
                f"The change breaks rules of other collections: {', '.join(broken)}.",
                reason="RULES_DEPEND_ON_IT",
                fields=[FieldError("schema", f"{name} depends on what would go") for name in broken],
            )

    async def delete(self, id: str) -> None:
        """Deletes a collection with its records. Conflict naming the collections whose relations or rules need it."""
        await self._catalog.check_announcing()
        async with self._turn:
            snapshot = await self._catalog.fresh()
            collection = snapshot.find(id)
            pointing = [
                f"{other.name}.{field.name}"
                for other, field in snapshot.referrers.get(collection.id, [])
                if other.id != collection.id
            ]
            if pointing:
                raise Conflict(
                    f"Relations point to '{collection.name}': {', '.join(pointing)}.", reason="COLLECTION_REFERENCED"
                )
            without = Snapshot([other for other in snapshot.all() if other.id != collection.id], {})
            needing = [
                f"{other.name}.{error.field}" for other in without.all() for error in check_rules(other, without)
            ]
            if needing:
                raise Conflict(
                    f"Rules speak of '{collection.name}': {', '.join(needing)}.", reason="RULES_DEPEND_ON_IT"
                )
            async with self._journal.reshaping(collection, again=True):
                if not await self._store.delete_collection(collection):
                    raise _raced()
                await self._catalog.announce(collection.id)
                await self._events.collection_deleted(collection)
                await self._store.drop_table(collection)
        await self._record("deleted", collection, {"type": collection.type}, severity="warning")

    async def truncate(
        self, name: str, *, cascade: bool, last_check: Callable[[], Awaitable[None]] | None = None
    ) -> tuple[Collection, int]:
        """Deletes all records; the collection and how many there were. Conflict where records elsewhere point to some
        of them, unless `cascade`: then those are dealt with as their relations say. What somebody begins to point to
        while that goes on stays.

        What `last_check` raises keeps them all, and so does (Conflict, CHANGED_MEANWHILE) whatever is done to the
        collection behind it.
        """
        await self._catalog.check_announcing()
        # Which relations may be emptied depends on it.
        if (await self._catalog.decided()).pending:
            raise Conflict("A collection is being changed; try again in a moment.", reason="SCHEMA_CHANGING")
        snapshot = await self._catalog.fresh()
        collection = snapshot.named(name)
        if collection is None:
            raise NotFound("There is no such collection.", reason="COLLECTION_NOT_FOUND")
        # An exchange is one step, which comes too late where the collection has changed since it was read. And it has
        # the records at hand until nobody can begin to point to them any more.
        exchanged = (
            last_check is not None
            or any(other.id != collection.id for other, _ in snapshot.referrers.get(collection.id, []))
            or await self._store.count(collection, limit=LARGE + 1) > LARGE
        )
        if last_check is not None:
            await last_check()
        await self._relations.release_all(snapshot, collection, cascade=cascade)
        if exchanged:
            deleted = await self._exchange_table(collection)
        else:
            deleted = await self._store.delete_many(collection)
        await self._events.truncated(collection)
        await self._record("truncated", collection, {"deleted_count": deleted}, severity="warning")
        return collection, deleted

    async def _exchange_table(self, before: Collection) -> int:
        """Puts an empty table in the place of the records', in a time that does not grow with them.

        Until it has heard of it, another process goes on writing into the old table. The old one is dropped, and the
        call answered, when nobody can be in that state any more: whatever was written there came before the answer.
        """
        # Again when no write can be on its way any more: MongoDB makes the table of one that comes too late.
        async with self._journal.reshaping(before, again=True):
            async with self._turn:
                after = before.with_changes(version=before.version + 1, generation=before.generation + 1)
                await self._store.ensure_table(after)
                if not await self._store.replace_collection(after):
                    # The table may be the one that somebody else has just put there: it stays.
                    raise _raced()
                await self._catalog.announce(after.id)
            await self._catalog.until_heard()
            kept = await self._relations.carry_over(await self._catalog.current(), before, after)
            return await self._store.drop_generation(before) - kept

    async def _record_change(self, before: Collection, after: Collection) -> None:
        await self._record("changed", after, _differences(before, after))
        changed = {
            f"{rule}_rule": {"old": before.rules[rule], "new": after.rules[rule]}
            for rule in RULES
            if before.rules[rule] != after.rules[rule]
        }
        if changed:
            await self._record("rules_changed", after, changed, severity="warning")

    async def _record(
        self, action: str, collection: Collection, details: Mapping[str, Any], severity: str = "info"
    ) -> None:
        await self._audit.record(
            "collection",
            action,
            severity=severity,
            resource_type="collection",
            resource_id=collection.id,
            description=f"Collection '{collection.name}': {action.replace('_', ' ')}.",
            details={"name": collection.name, **details},
        )


def _unpromised(before: Collection, after: Collection) -> Collection:
    """The collection with fields that make storage no promise where they are new."""
    known = {field.id for field in before.fields}
    fields = tuple(field if field.id in known else replace(field, promised=False) for field in after.fields)
    return after.with_changes(fields=fields)


def _raced() -> Conflict:
    return Conflict(
        "The collection was changed by someone else at the same moment; try again.", reason=CHANGED_MEANWHILE
    )


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a collection '{name}' already.", reason="COLLECTION_EXISTS", fields=[FieldError("name", "is taken")]
    )


def _differences(before: Collection, after: Collection) -> Mapping[str, Any]:
    """What a change did, for the audit log."""
    old, new = ({field.id: field for field in one.fields} for one in (before, after))
    return {
        "renamed_from": before.name if before.name != after.name else None,
        "added": [field.name for id, field in new.items() if id not in old],
        "removed": [field.name for id, field in old.items() if id not in new],
        "renamed": {old[id].name: field.name for id, field in new.items() if id in old and old[id].name != field.name},
        "changed": [field.name for id, field in new.items() if id in old and old[id] != field],
    }
