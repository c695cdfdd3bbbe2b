"""Work on several records that must be finished or undone as a whole, though storage is atomic for one record only.

A note is stored before the first write and erased after the last. A note that has grown old was left by a process that
died: whoever finds it undoes or finishes the work. All of it may be repeated without harm.

- `insert`: the ids of records about to be inserted. Undone by deleting them.
- `change`: records as they were. Undone by putting those back that still have the revision the change gave them.
- `delete`: records as they were. Undone by inserting those that are missing.
- `release`: ids of records about to be deleted to which relations point, or that are members. Finished, where the
  records are gone, by doing what `on_delete` asks for and telling auth-service.
- `tables`: a collection whose tables or indexes are about to change. Finished by making them what the collection is
  stored as, with the records that others point to, and by giving records that lack a required value the default; a
  change that is pending is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from collections_service.catalog import Catalog, Snapshot
from collections_service.events import CollectionEvents
from collections_service.models import ID, REVISION, Collection
from collections_service.patches import taken_out
from collections_service.relations import Relations, Release
from collections_service.schema_changes import fill_defaults, with_defaults
from collections_service.store import CollectionStore
from collections_service.validation import Patch
from fastcms_common import times
from fastcms_common.errors import Conflict, DomainError, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from fastcms_common.storage import Document, In

# Far above the longest deadline of a call: what is older is nobody's any more.
OLD = timedelta(seconds=60)
_LOOK_EVERY = 20.0
_ATTEMPTS = 100

log = get_logger(__name__)


def revision_of(note: str, record_id: str) -> str:
    """The revision that a change under this note gives a record: tells its work from that of others."""
    return f"{note}-{record_id}"


@dataclass(frozen=True, slots=True)
class Undo:
    """Records that are changed under a note, by id, as they were right before; and what was done to them so far."""

    note: str
    docs: dict[str, Document]
    made: dict[str, Patch] = field(default_factory=dict)


class Journal:
    """The notes, and what to do about them."""

    def __init__(
        self, store: CollectionStore, catalog: Catalog, relations: Relations, events: CollectionEvents
    ) -> None:
        self._store = store
        self._events = events
        self._catalog = catalog
        self._relations = relations

    async def inserting(self, collection: Collection, ids: Sequence[str]) -> str:
        """A note that these records are about to be inserted."""
        return await self._note("insert", collection, [{"ids": list(ids)}])

    async def changing(self, collection: Collection, before: Sequence[Document]) -> Undo:
        """A note that these records are about to be changed, to revisions made by `revision_of`."""
        note = await self._note("change", collection, [{"doc": doc} for doc in before])
        return Undo(note, {doc[ID]: doc for doc in before})

    async def changed_meanwhile(self, undo: Undo, doc: Document) -> None:
        """Others came first: this is what the record is put back to."""
        await self._store.rewrite_page(f"{undo.note}:{list(undo.docs).index(doc[ID])}", {"doc": doc})
        undo.docs[doc[ID]] = doc

    async def deleting(self, collection: Collection, before: Sequence[Document]) -> str:
        """A note that these records are about to be deleted, all or none."""
        return await self._note("delete", collection, [{"doc": doc} for doc in before])

    async def releasing(self, collection: Collection, ids: Sequence[str], release: Release) -> str | None:
        """A note that records are about to be deleted to which others point, or of which other services have to hear;
        None where neither is so."""
        if not release.doomed and not release.emptied and collection.type != "auth":
            return None
        return await self._note("release", collection, [{"ids": list(ids)}])

    @asynccontextmanager
    async def reshaping(self, collection: Collection, *, again: bool = False) -> AsyncIterator[None]:
        """A note that tables of the collection are about to change. It stays where that comes to no good end, and with
        `again` in any case: writes by the schema of before may still be on their way."""
        note = await self._note("tables", collection, [{"version": collection.version}])
        renewing = asyncio.create_task(self._renew(note))
        try:
            yield
        finally:
            renewing.cancel()
        if not again:
            await self.done(note)

    async def _renew(self, note: str) -> NoReturn:
        """Keeps a note from growing old: to look through many records, or to index them, may take long."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with suppress(DomainError):
                await self._store.renew_notes(note, times.now_text())

    async def let_go(self, held: Collection) -> None:
        """Stores a collection without the change that is pending, if that is still the last word on it."""
        if await self._store.replace_collection(held.with_changes(version=held.version + 1, pending=())):
            # Who does not hear of it holds records to more for as long, and asks again before refusing one.
            with suppress(Unavailable):
                await self._catalog.announce(held.id)

    async def _note(self, kind: str, collection: Collection, pages: Sequence[Mapping[str, Any]]) -> str:
        note, at = new_id(), times.now_text()
        head = {"note": note, "kind": kind, "collection": collection.id, "at": at}
        await self._store.write_notes([{ID: f"{note}:{number}", **head, **page} for number, page in enumerate(pages)])
        return note

    async def done(self, note: str | None) -> None:
        """Erases a note: the work is finished or undone."""
        if note is not None:
            await self._store.erase_notes(note)

    # -- undoing and finishing --------------------------------------------------------------------------------------

    async def take_back_inserts(self, collection: Collection, ids: Sequence[str], note: str) -> None:
        await self._store.delete_many(collection, In((ID,), ids))
        await self.done(note)

    async def take_back_changes(self, collection: Collection, undo: Undo) -> None:
        """Takes the changes out of the records, whatever others have done to them since."""
        for id, doc in undo.docs.items():
            # Of a change that had no answer nobody knows whether it was made: that is seen by its revision.
            if not await self._store.restore(collection, doc, revision_of(undo.note, id)) and id in undo.made:
                await self.take_out(collection, undo.made[id], doc)
        await self.done(undo.note)

    async def take_out(self, collection: Collection, patch: Patch, before: Document) -> None:
        """Takes the patch, which was made of `before`, out of what the record is now."""
        for _ in range(_ATTEMPTS):
            now = await self._store.get(collection, before[ID])
            if now is None or await self._store.restore(
                collection, taken_out(collection, patch, before, now), now[REVISION]
            ):
                return
        raise Conflict("Others keep changing this record at the same moment.", reason="TOO_MUCH_CONTENTION")

    async def take_back_deletes(self, collection: Collection, before: Sequence[Document], note: str) -> None:
        await self._store.insert_many(collection, before)
        await self.done(note)

    async def keep_tidy(self) -> NoReturn:
        """Deals with notes that were left behind, until it is cancelled."""
        while True:
            try:
                await self.tidy()
            except DomainError as error:
                log.warning("notes wait", error=error.detail)
            await asyncio.sleep(_LOOK_EVERY)

    async def tidy(self, older_than: timedelta = OLD) -> int:
        """Undoes or finishes what old notes are about; how many pages there were."""
        pages = await self._store.notes_before(times.to_text(times.now() - older_than))
        if not pages:
            return 0
        snapshot = await self._catalog.fresh()
        for page in pages:
            collection = snapshot.with_id(page["collection"])
            if page["kind"] == "tables":
                await self._settle_tables(page, snapshot)
            elif collection is not None:
                await self._store.ensure_table(collection)
                log.warning("finishing what was left behind", kind=page["kind"], collection=collection.name)
                await self._settle(collection, page)
            await self._store.erase_page(page[ID])
        return len(pages)

    async def _settle(self, collection: Collection, page: Document) -> None:
        match page["kind"]:
            case "insert":
                await self._store.delete_many(collection, In((ID,), page["ids"]))
            case "change":
                doc = page["doc"]
                await self._store.restore(collection, doc, revision_of(page["note"], doc[ID]))
            case "delete":
                await self._store.insert_many(collection, [page["doc"]])
            case _:
                found = await self._store.get_many(collection, page["ids"])
                gone = [id for id, doc in zip(page["ids"], found, strict=True) if doc is None]
                await self._finish_release(collection, gone)

    async def _settle_tables(self, page: Document, snapshot: Snapshot) -> None:
        collection = snapshot.with_id(page["collection"])
        if collection is None:
            await self._store.drop_tables(page["collection"])
            return
        for before in await self._store.before(collection):
            await self._relations.carry_over(snapshot, before, collection)
            await self._store.drop_generation(before)
        await self._store.fit_table(collection)
        if collection.pending and collection.version == page.get("version"):
            await self.let_go(collection)
        await fill_defaults(self._store, collection, with_defaults(collection))

    async def _finish_release(self, collection: Collection, gone: Sequence[str]) -> None:
        try:
            release = await self._relations.plan(await self._catalog.current(), collection, gone)
        except Conflict as error:
            # Somebody has pointed to them since, under `restrict`; that they are gone cannot be undone any more.
            log.error("relations left without their records", collection=collection.name, error=error.detail)
        else:
            await self._relations.carry_out(release)
        for id in gone:
            await self._events.record_deleted(collection, id)
