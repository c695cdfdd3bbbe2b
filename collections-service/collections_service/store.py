"""Every query of this service. One table holds the collections, one more each collection's records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from collections_service.migrations import MIGRATIONS
from collections_service.models import ID, REVISION, Collection, from_document, generation_of, to_document
from fastcms_common.errors import Invalid, TimedOut
from fastcms_common.storage import (
    ALL,
    After,
    Change,
    Document,
    Duplicate,
    Index,
    Plan,
    Query,
    Sort,
    Store,
    Table,
    eq,
    le,
    lt,
)
from fastcms_common.storage.migrations import migrate

_COLLECTIONS = Table("collections", (Index("name", unique=True, required=True),), ("type", "version"))

# What `journal` notes: pages of work that has to be finished or undone as a whole.
_NOTES = Table("notes", (Index("at"), Index("note")))

# By job: the highest fencing token it has shown, and the last run of it that is done with what that deleted.
_FENCES = Table("fences")

# How long a list may count for its total.
COUNT_SECONDS = 1.0
# Records of another collection that one condition may single out: a query carries their ids.
MAX_IDS = 100_000
# Records of another collection that a comparison of two fields may be put to, one by one.
MAX_ROWS = 1_000


class CollectionStore:
    """The collections and their records."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Versions of the tables that this process's store knows, by collection id.
        self._known: dict[str, int] = {}

    async def prepare(self) -> None:
        """Makes what is missing, and the data what this release works on. Unavailable, DataTooNew."""
        await self._store.ensure(_COLLECTIONS)
        await self._store.ensure(_NOTES)
        await self._store.ensure(_FENCES)
        await migrate(self._store, MIGRATIONS)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        await self._store.close()

    # -- collections ----------------------------------------------------------------------------------------------

    async def collections(self) -> list[Collection]:
        """All of them, by name."""
        return [from_document(doc) for doc in await self._store.find(_COLLECTIONS.name, sort=[("name", 1)])]

    async def versions(self) -> dict[str, int]:
        """The version of each collection, by id."""
        found = await self._store.find(_COLLECTIONS.name, fields=("version",))
        return {doc[ID]: doc["version"] for doc in found}

    async def insert_collection(self, collection: Collection) -> None:
        """Duplicate where the name is taken."""
        await self._store.insert(_COLLECTIONS.name, to_document(collection))

    async def replace_collection(self, collection: Collection) -> bool:
        """Stores the next version; False where another change came first, or the collection is gone. Duplicate."""
        before = eq("version", collection.version - 1)
        return await self._store.replace(_COLLECTIONS.name, to_document(collection), before) is not None

    async def delete_collection(self, collection: Collection) -> bool:
        """False where it was changed or deleted meanwhile."""
        return await self._store.delete(_COLLECTIONS.name, collection.id, eq("version", collection.version)) is not None

    # -- tables ---------------------------------------------------------------------------------------------------

    async def ensure_table(self, collection: Collection) -> None:
        """Makes the table and indexes of this version. Duplicate or Conflict where stored records break it."""
        if self._known.get(collection.id) != collection.version:
            await self._store.ensure(collection.table)
            self._known[collection.id] = collection.version

    async def fit_table(self, collection: Collection) -> None:
        """Makes the table and indexes of this version, and drops the indexes that it has no use for."""
        await self._store.ensure(collection.table)
        await self._store.prune(collection.table)
        self._known[collection.id] = collection.version

    async def before(self, collection: Collection) -> list[Collection]:
        """The collection with each table that it still has from before a truncate. One of a higher generation is about
        to be put in the place of this one."""
        generations = [generation_of(name, collection.id) for name in await self._store.tables()]
        return [
            collection.with_changes(generation=generation)
            for generation in generations
            if generation is not None and generation < collection.generation
        ]

    async def drop_tables(self, id: str) -> None:
        """Drops all tables of a collection that there is no more."""
        self._known.pop(id, None)
        for name in await self._store.tables():
            if generation_of(name, id) is not None:
                await self._store.drop(name)

    async def drop_table(self, collection: Collection) -> None:
        await self._store.drop(collection.table_name)
        self._known.pop(collection.id, None)

    async def drop_generation(self, before: Collection) -> int:
        """Drops the table of a collection that has a newer one; how many records were in it."""
        count = await self._store.count(before.table_name)
        await self._store.drop(before.table_name)
        return count

    # -- records --------------------------------------------------------------------------------------------------

    async def get(self, collection: Collection, id: str) -> Document | None:
        return await self._store.get(collection.table_name, id)

    async def get_many(self, collection: Collection, ids: Sequence[str]) -> list[Document | None]:
        await self.ensure_table(collection)
        return await self._store.get_many(collection.table_name, ids) if ids else []

    async def find(
        self,
        collection: Collection,
        where: Query = ALL,
        *,
        sort: Sort = (),
        limit: int | None = None,
        offset: int = 0,
        after: After | None = None,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        return await self._store.find(
            collection.table_name, where, sort=sort, limit=limit, offset=offset, after=after, fields=fields
        )

    async def count(self, collection: Collection, where: Query = ALL, limit: int | None = None) -> int:
        await self.ensure_table(collection)
        return await self._store.count(collection.table_name, where, limit)

    async def total(self, collection: Collection, where: Query) -> int | None:
        """How many records match; None where they cannot be counted within COUNT_SECONDS."""
        try:
            return await self._store.count(collection.table_name, where, within=COUNT_SECONDS)
        except TimedOut:
            return None

    async def explain(self, collection: Collection, where: Query) -> Plan | None:
        """What the database says of how it would find the records; None where it does not say."""
        return await self._store.explain(collection.table_name, where)

    async def ids(self, collection: Collection, where: Query) -> list[str]:
        """The ids of the matching records. Invalid where they are more than a query can carry."""
        await self.ensure_table(collection)
        found = await self._store.find(collection.table_name, where, limit=MAX_IDS + 1, fields=())
        _bounded(collection, len(found), MAX_IDS)
        return [doc[ID] for doc in found]

    async def rows(self, collection: Collection, where: Query) -> list[Document]:
        """The matching records. Invalid where they are too many to be looked at one by one."""
        await self.ensure_table(collection)
        found = await self._store.find(collection.table_name, where, limit=MAX_ROWS + 1)
        _bounded(collection, len(found), MAX_ROWS)
        return found

    def scan(self, collection: Collection, where: Query = ALL) -> AsyncIterator[Document]:
        return self._store.scan(collection.table_name, where)

    async def insert(self, collection: Collection, doc: Mapping[str, Any]) -> None:
        await self._store.insert(collection.table_name, doc)

    async def insert_many(self, collection: Collection, docs: Sequence[Mapping[str, Any]]) -> list[Duplicate | None]:
        return await self._store.insert_many(collection.table_name, docs)

    async def update(self, collection: Collection, id: str, change: Change, where: Query = ALL) -> Document | None:
        return await self._store.update(collection.table_name, id, change, where)

    async def update_many(self, collection: Collection, where: Query, change: Change) -> int:
        await self.ensure_table(collection)
        return await self._store.update_many(collection.table_name, where, change)

    async def delete(self, collection: Collection, id: str, where: Query = ALL) -> Document | None:
        return await self._store.delete(collection.table_name, id, where)

    async def delete_many(self, collection: Collection, where: Query = ALL) -> int:
        await self.ensure_table(collection)
        return await self._store.delete_many(collection.table_name, where)

    async def restore(self, collection: Collection, doc: Mapping[str, Any], revision: str) -> bool:
        """Puts a record back to what it was, if it still has the revision that was given to it since."""
        return await self._store.replace(collection.table_name, doc, eq(REVISION, revision)) is not None

    # -- notes ----------------------------------------------------------------------------------------------------

    async def write_notes(self, pages: Sequence[Mapping[str, Any]]) -> None:
        await self._store.insert_many(_NOTES.name, pages)

    async def renew_notes(self, note: str, moment: str) -> None:
        await self._store.update_many(_NOTES.name, eq("note", note), Change(set={"at": moment}))

    async def erase_notes(self, note: str) -> None:
        await self._store.delete_many(_NOTES.name, eq("note", note))

    async def rewrite_page(self, id: str, content: Mapping[str, Any]) -> None:
        await self._store.update(_NOTES.name, id, Change(set=content))

    async def erase_page(self, id: str) -> None:
        await self._store.delete(_NOTES.name, id)

    async def notes_before(self, moment: str) -> list[Document]:
        """Pages that were written before then, the oldest first; not more than can be dealt with at once."""
        return await self._store.find(_NOTES.name, lt("at", moment), sort=[("at", 1)], limit=500)

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def pass_fence(self, job: str, token: int) -> bool:
        """Whether `token` is at least as high as any that `job` has shown; remembers it."""
        for _ in range(2):
            if await self._store.update(_FENCES.name, job, Change(set={"token": token}), le("token", token)):
                return True
            try:
                await self._store.insert(_FENCES.name, {ID: job, "token": token})
            except Duplicate:
                # A higher one is there, or one that was made between the two questions: ask once more.
                continue
            return True
        return False

    async def deleted_by(self, job: str, run: str) -> int | None:
        """How many records the run has deleted; None where it is not known to be done."""
        doc = await self._store.get(_FENCES.name, job)
        return doc["deleted"] if doc is not None and doc.get("run") == run else None

    async def note_deleted(self, job: str, run: str, token: int, deleted: int) -> None:
        """Remembers that the run is done, unless a worker with a higher token has come."""
        done = Change(set={"run": run, "deleted": deleted})
        await self._store.update(_FENCES.name, job, done, eq("token", token))


def _bounded(collection: Collection, found: int, most: int) -> None:
    if found > most:
        raise Invalid.field(
            "filter",
            f"A condition reaches more than {most} records of '{collection.name}' at once; narrow it down",
            reason="EXPRESSION_TOO_BROAD",
        )
