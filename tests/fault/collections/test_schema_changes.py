"""A process that dies in the middle of a schema change: whatever was written by then, the rest is done or undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from collections_service import catalog as catalog_module
from collections_service import schemas as schemas_module
from collections_service.catalog import Catalog
from collections_service.definitions import FieldDraft
from collections_service.drafts import CollectionDraft
from collections_service.events import CollectionEvents
from collections_service.journal import Journal
from collections_service.models import Collection, IndexDefinition
from collections_service.relations import Relations
from collections_service.schemas import Schemas
from collections_service.store import CollectionStore
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common.audit import EVENT_FIELD, AuditLog
from fastcms_common.errors import Conflict
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.redis_keys import AUDIT_EVENTS
from fastcms_common.storage import ALL, Change, Or, Store, is_null, lt, open_store
from tests.fault.collections.dying import Dying, Frozen, dies
from tests.mongo_server import UNIQUE_NAMES
from tests.storages import Storage

STAMP = "2026-01-01T00:00:00.000000Z"
# More than any change writes.
MOST_WRITES = 20


@dataclass
class Place:
    """A store, and processes at work on it."""

    store: Store
    redis: Any

    def process(self, writes: int | None = None) -> tuple[Schemas, Journal, CollectionStore]:
        """One that dies before the write of this number, or not at all."""
        own = self.store if writes is None else cast(Store, Dying(self.store, writes))
        store = CollectionStore(own)
        catalog, events = Catalog(store, self.redis), CollectionEvents(self.redis)
        relations = Relations(store, events)
        journal = Journal(store, catalog, relations, events)
        return Schemas(store, catalog, relations, events, journal, AuditLog(self.redis)), journal, store

    async def tables(self, collection: Collection) -> list[str]:
        return [name for name in await self.store.tables() if name.startswith("r_" + collection.id.replace("-", ""))]


@pytest.fixture
async def place(storage: Storage, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(catalog_module, "HEARD", 0.0)
    redis = connect(redis_url)
    store = await open_store(storage.url, "collections")
    await CollectionStore(store).prepare()
    yield Place(store, redis)
    await store.close()
    await redis.aclose()


def draft(name: str, *fields: FieldDraft, indexes: tuple[IndexDefinition, ...] = ()) -> CollectionDraft:
    return CollectionDraft(name, fields, indexes=indexes)


BEFORE = (FieldDraft("code", "text"), FieldDraft("n", "number"), FieldDraft("gone", "text"))
AFTER = (
    FieldDraft("code", "text", unique=True),
    FieldDraft("more", "text", required=True, default=b'"d"'),
)
INDEXES = (IndexDefinition("by_n", ("n",)),)


async def made(place: Place) -> Collection:
    """A collection with three records."""
    schemas, _, store = place.process()
    collection = await schemas.create("base", draft("c" + new_id().replace("-", ""), *BEFORE))
    code = collection.by_name["code"].id
    for number in range(3):
        doc = {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", code: str(number)}
        await store.insert(collection, doc)
    return collection


async def tidied(place: Place, collection: Collection) -> Collection | None:
    """What the collection is, once others have found what was left of the dead; its table has what it says, no more."""
    schemas, journal, _ = place.process()
    await journal.tidy(timedelta(seconds=-1))
    assert await journal.tidy(timedelta(seconds=-1)) == 0
    stored = (await schemas.snapshot()).with_id(collection.id)
    names = await place.tables(collection)
    if stored is None:
        assert names == []
        return None
    # One that was to be the next may be there: there is nothing in it, and it is the next one's.
    assert stored.table_name in names
    assert [await place.store.count(name) for name in names if name != stored.table_name] in ([], [0])
    assert await place.store.prune(stored.table) == []
    return stored


@pytest.mark.parametrize("asking", [FieldDraft("n", "number"), FieldDraft("n", "number", max=10.0)])
async def test_a_change_that_is_cut_short_is_made_or_not_made(
    place: Place, storage: Storage, asking: FieldDraft
) -> None:
    ended = []
    for writes in range(MOST_WRITES):
        before = await made(place)
        schemas, _, _ = place.process(writes)
        change = draft(before.name, *AFTER, asking, indexes=INDEXES)
        if not await dies(lambda schemas=schemas, before=before, change=change: schemas.change(before.id, change)):
            break
        stored = await tidied(place, before)
        assert stored is not None
        is_made = stored.fields != before.fields
        ended.append(is_made)
        assert not is_made or [field.name for field in stored.fields] == ["code", "more", "n"]
        assert stored.pending == ()
        # Its records are all there, and it takes what it says it takes, and nothing else.
        _, _, store = place.process()
        code, more = stored.by_name["code"], stored.by_name.get("more")
        docs = await store.find(stored)
        assert sorted(doc[code.id] for doc in docs) == ["0", "1", "2"]
        assert more is None or all(doc[more.id] == "d" for doc in docs)
        again = {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", code.id: "0"}
        if not code.unique:
            await store.insert(stored, again)
        elif not storage.lacks(UNIQUE_NAMES):
            with pytest.raises(Conflict):
                await store.insert(stored, again)
        # And it can be changed again.
        schemas, _, _ = place.process()
        await schemas.change(before.id, draft(before.name, *BEFORE))
    assert sorted(set(ended)) == [False, True]
    assert ended == sorted(ended)
    assert len(ended) < MOST_WRITES - 1


async def test_a_collection_that_is_half_made_or_half_deleted_leaves_no_table(place: Place) -> None:
    for writes in range(MOST_WRITES):
        schemas, _, _ = place.process(writes)
        name = "c" + new_id().replace("-", "")
        before = set(await place.store.tables())
        died = await dies(lambda schemas=schemas, name=name: schemas.create("base", draft(name, *BEFORE)))
        _, journal, store = place.process()
        await journal.tidy(timedelta(seconds=-1))
        there = [collection for collection in await store.collections() if collection.name == name]
        for half_made in there:
            # As whoever opens it does.
            await store.ensure_table(half_made)
        assert sorted(set(await place.store.tables()) - before) == [one.table_name for one in there]
        collection = await made(place)
        schemas, _, _ = place.process(writes)
        died |= await dies(lambda schemas=schemas, collection=collection: schemas.delete(collection.id))
        await tidied(place, collection)
        if not died:
            return
    pytest.fail("it never came to an end")


async def test_a_collection_is_made_whole_though_others_take_its_maker_for_dead(place: Place) -> None:
    _, others, _ = place.process()
    for writes in range(MOST_WRITES):
        frozen = Frozen(place.store, writes, lambda: others.tidy(timedelta(seconds=-1)))
        collection = await made(Place(cast(Store, frozen), place.redis))
        assert await place.store.count(collection.table_name) == 3
        if frozen.left >= 0:
            return
    pytest.fail("it never came to an end")


async def test_a_truncate_that_is_cut_short_is_made_or_not_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas_module, "LARGE", 1)
    for writes in range(MOST_WRITES):
        before = await made(place)
        schemas, _, _ = place.process(writes)
        died = await dies(lambda schemas=schemas, before=before: schemas.truncate(before.name, cascade=False))
        stored = await tidied(place, before)
        assert stored is not None
        _, _, store = place.process()
        assert await store.count(stored) == (3 if stored.generation == 0 else 0)
        if not died:
            return
    pytest.fail("it never came to an end")


async def test_what_is_pointed_to_while_a_truncate_is_cut_short_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_all = Relations.release_all
    for writes in range(MOST_WRITES):
        before = await made(place)
        schemas, _, store = place.process()
        field = FieldDraft("to", "relation", collection=before.name)
        other = await schemas.create("base", draft("c" + new_id().replace("-", ""), field))
        one, *_ = await store.find(before)
        late = {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", other.by_name["to"].id: one["id"]}

        async def released(self: Relations, *arguments: Any, late: Any = late, other: Any = other, **more: Any) -> None:
            await release_all(self, *arguments, **more)
            await place.store.insert(other.table_name, late)

        monkeypatch.setattr(Relations, "release_all", released)
        schemas, _, _ = place.process(writes)
        died = await dies(lambda schemas=schemas, before=before: schemas.truncate(before.name, cascade=False))
        stored = await tidied(place, before)
        assert stored is not None
        assert one in await store.find(stored)
        assert await store.count(stored) == (3 if stored.generation == 0 else 1)
        if not died:
            return
    pytest.fail("it never came to an end")


async def test_of_two_truncates_at_once_none_takes_the_table_of_the_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas_module, "LARGE", 1)
    before = await made(place)
    (one, _, store), (other, _, _) = place.process(), place.process()
    replace = store.replace_collection

    async def late(collection: Collection) -> bool:
        # Meanwhile somebody else has truncated, and written.
        await other.truncate(before.name, cascade=False)
        (stored,) = [found for found in await store.collections() if found.id == before.id]
        doc = {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r"}
        await store.insert(stored, doc)
        return await replace(collection)

    monkeypatch.setattr(store, "replace_collection", late)
    with pytest.raises(Conflict):
        await one.truncate(before.name, cascade=False)
    stored = await tidied(place, before)
    assert stored is not None
    assert await store.count(stored) == 1


async def test_a_record_that_comes_while_a_field_becomes_required_gets_its_default(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await made(place)
    schemas, journal, store = place.process()
    replace = store.replace_collection

    async def late(collection: Collection) -> bool:
        await store.insert(before, {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r"})
        return await replace(collection)

    monkeypatch.setattr(store, "replace_collection", late)
    after = await schemas.change(before.id, draft(before.name, *AFTER))
    more = after.by_name["more"].id
    assert [doc[more] for doc in await store.find(after)] == ["d"] * 4
    # One more, by a process that has not heard of it yet.
    await store.insert(before, {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r"})
    await journal.tidy(timedelta(seconds=-1))
    assert [doc[more] for doc in await store.find(after)] == ["d"] * 5


@pytest.mark.parametrize("asking", [FieldDraft("n", "number", required=True), FieldDraft("n", "number", min=10.0)])
async def test_a_change_that_a_late_record_breaks_is_not_made(
    place: Place, monkeypatch: pytest.MonkeyPatch, asking: FieldDraft
) -> None:
    before = await made(place)
    schemas, _, store = place.process()
    number = before.by_name["n"].id
    await store.update_many(before, ALL, Change(set={number: 10}))
    fields = (FieldDraft("code", "text", unique=True), asking)
    announce = schemas._catalog.announce
    late_ones = [
        {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", number: None if asking.required else 5}
    ]

    async def late(collection_id: str) -> None:
        await announce(collection_id)
        # By a process that has not heard of it yet.
        while late_ones:
            await store.insert(before, late_ones.pop())

    monkeypatch.setattr(schemas._catalog, "announce", late)
    with pytest.raises(Conflict) as refused:
        await schemas.change(before.id, draft(before.name, *fields))
    assert refused.value.reason == "RECORDS_BREAK_IT"
    stored = await tidied(place, before)
    assert stored is not None
    assert (stored.fields, stored.table) == (before.fields, before.table)
    assert len(await store.find(stored)) == 4
    assert (stored.pending, await audit_actions(place)) == ((), ["created"])
    # Nothing late comes: it is made.
    await store.delete_many(stored, Or(is_null((number,)), lt(number, 10)))
    after = await schemas.change(before.id, draft(before.name, *fields))
    assert await store.count(after) == 3


async def test_a_change_is_ended_also_when_its_caller_has_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await made(place)
    schemas, _, store = place.process()
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def until_heard() -> None:
        waiting.set()
        await go_on.wait()

    monkeypatch.setattr(schemas._catalog, "until_heard", until_heard)
    await store.update_many(before, ALL, Change(set={before.by_name["n"].id: 1, before.by_name["gone"].id: "g"}))
    wanted = draft(before.name, FieldDraft("code", "text"), FieldDraft("n", "number", required=True))
    change = asyncio.create_task(schemas.change(before.id, wanted))
    async with asyncio.timeout(10):
        await waiting.wait()
        change.cancel()
        go_on.set()
        gone = before.by_name["gone"].id
        while any(gone in doc for doc in await store.find(before)):
            await asyncio.sleep(0.01)
    assert change.cancelled()
    stored = await tidied(place, before)
    assert stored is not None
    assert stored.by_name["n"].required
    assert "changed" in await audit_actions(place)


async def audit_actions(place: Place) -> list[str]:
    entries = await place.redis.xrange(AUDIT_EVENTS)
    return [AuditEvent.FromString(fields[EVENT_FIELD.encode()]).event_action for _, fields in entries]
