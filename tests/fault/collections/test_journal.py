"""What a process that died has left half done is finished or undone by another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

import pytest

from collections_service.catalog import Catalog
from collections_service.events import CollectionEvents
from collections_service.journal import Journal, revision_of
from collections_service.models import RULES, Collection, FieldDefinition
from collections_service.relations import Relations
from collections_service.store import CollectionStore
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.storage import Change, Document, Store, open_store
from tests.fault.collections.dying import Dying, dies
from tests.storages import Storage

AT_ONCE = timedelta(seconds=-1)
STAMP = "2026-01-01T00:00:00.000000Z"


def collection(name: str, *fields: FieldDefinition) -> Collection:
    return Collection(new_id(), name, "base", fields, {}, dict.fromkeys(RULES), (), STAMP, STAMP)


AUTHORS = collection("authors", FieldDefinition("fname", "name", "text"))
POSTS = collection(
    "posts",
    FieldDefinition("fkept", "kept", "relation", collection=AUTHORS.id, on_delete="set_null"),
    FieldDefinition("fgone", "gone", "relation", collection=AUTHORS.id, on_delete="cascade"),
)


COMMENTS = collection(
    "comments",
    FieldDefinition("fpost", "post", "relation", collection=POSTS.id, on_delete="cascade"),
    FieldDefinition("fanswers", "answers", "relation", collection="", on_delete="cascade"),
)
COMMENTS = COMMENTS.with_changes(
    fields=(COMMENTS.fields[0], replace(COMMENTS.fields[1], collection=COMMENTS.id)),
)
# More than any of this writes.
MOST_WRITES = 20


@dataclass
class Place:
    """A store with two collections, and a journal."""

    store: CollectionStore
    journal: Journal
    relations: Relations
    catalog: Catalog
    events: CollectionEvents

    async def add(self, where: Collection, **values: str) -> Document:
        doc = {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", **values}
        await self.store.insert(where, doc)
        return doc


@pytest.fixture
async def place(storage: Storage, redis_url: str) -> AsyncIterator[Place]:
    redis = connect(redis_url)
    store = CollectionStore(await open_store(storage.url, "collections"))
    await store.prepare()
    for one in (AUTHORS, POSTS, COMMENTS):
        await store.ensure_table(one)
        await store.insert_collection(one)
    catalog, events = Catalog(store, redis), CollectionEvents(redis)
    relations = Relations(store, events)
    yield Place(store, Journal(store, catalog, relations, events), relations, catalog, events)
    await store.close()
    await redis.aclose()


async def test_inserts_that_were_not_finished_are_undone(place: Place) -> None:
    kept, half = await place.add(AUTHORS), await place.add(AUTHORS)
    await place.journal.inserting(AUTHORS, [half["id"], new_id()])
    assert await place.journal.tidy(AT_ONCE) == 1
    assert await place.store.find(AUTHORS) == [kept]
    assert await place.journal.tidy(AT_ONCE) == 0


async def test_changes_that_were_not_finished_are_undone_but_for_those_of_others(place: Place) -> None:
    docs = [await place.add(AUTHORS, fname="old") for _ in range(3)]
    note = (await place.journal.changing(AUTHORS, docs)).note
    for doc in docs[:2]:
        await place.store.update(AUTHORS, doc["id"], Change(set={"fname": "new", "rev": revision_of(note, doc["id"])}))
    other = await place.store.update(AUTHORS, docs[1]["id"], Change(set={"fname": "later", "rev": "other"}))
    await place.journal.tidy(AT_ONCE)
    assert await place.store.get_many(AUTHORS, [doc["id"] for doc in docs]) == [docs[0], other, docs[2]]


async def test_deletes_that_were_not_finished_are_undone(place: Place) -> None:
    docs = [await place.add(AUTHORS) for _ in range(2)]
    await place.journal.deleting(AUTHORS, docs)
    await place.store.delete(AUTHORS, docs[0]["id"])
    await place.journal.tidy(AT_ONCE)
    assert await place.store.find(AUTHORS) == docs


async def test_relations_to_what_was_deleted_are_dealt_with(place: Place) -> None:
    author = await place.add(AUTHORS)
    kept = await place.add(POSTS, fkept=author["id"])
    await place.add(POSTS, fgone=author["id"])
    release = await place.relations.plan(await place.catalog.current(), AUTHORS, [author["id"]])
    await place.journal.releasing(AUTHORS, [author["id"]], release)
    # The process dies before the record is deleted: nothing may happen.
    assert await place.journal.tidy(AT_ONCE) == 1
    assert len(await place.store.find(POSTS)) == 2
    # It dies right after.
    await place.journal.releasing(AUTHORS, [author["id"]], release)
    await place.store.delete(AUTHORS, author["id"])
    await place.journal.tidy(AT_ONCE)
    (left,) = await place.store.find(POSTS)
    assert left["id"] == kept["id"]
    assert "fkept" not in left


async def test_a_cascade_that_is_cut_short_goes_all_the_way(place: Place) -> None:
    for writes in range(MOST_WRITES):
        author = await place.add(AUTHORS)
        for _ in range(2):
            post = await place.add(POSTS, fgone=author["id"])
            comment = await place.add(COMMENTS, fpost=post["id"])
            for _ in range(3):
                comment = await place.add(COMMENTS, fanswers=comment["id"])
        release = await place.relations.plan(await place.catalog.current(), AUTHORS, [author["id"]])
        await place.journal.releasing(AUTHORS, [author["id"]], release)
        await place.store.delete(AUTHORS, author["id"])
        dying = Relations(CollectionStore(cast(Store, Dying(place.store._store, writes))), place.events)
        died = await dies(lambda dying=dying, release=release: dying.carry_out(release))
        await place.journal.tidy(AT_ONCE)
        assert [await place.store.count(one) for one in (AUTHORS, POSTS, COMMENTS)] == [0, 0, 0]
        if not died:
            return
    pytest.fail("it never came to an end")


async def test_fresh_notes_are_somebodys_work_and_left_alone(place: Place) -> None:
    half = await place.add(AUTHORS)
    note = await place.journal.inserting(AUTHORS, [half["id"]])
    assert await place.journal.tidy() == 0
    assert await place.store.find(AUTHORS) == [half]
    await place.journal.done(note)
    assert await place.journal.tidy(AT_ONCE) == 0
