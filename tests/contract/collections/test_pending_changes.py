"""A change that asks more of records is not made before it is known that none breaks it. Until then what is written
fits the schema as it is and as it may be, and what does not waits for the decision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest

from collections_service.catalog import Catalog
from collections_service.models import Collection
from collections_service.relations import Relations
from collections_service.store import CollectionStore
from fastcms.collections.v1 import profiles_pb2
from fastcms_common.errors import Conflict, DomainError, Invalid
from fastcms_common.ids import new_id
from fastcms_common.storage import Document
from tests.contract.collections.many import Many
from tests.contract.collections.server import CollectionsServer

STAMP = "2026-01-01T00:00:00.000000Z"
UP_TO_TEN = [{"name": "n", "type": "number", "max": 10.0}, "title"]
FREE = [{"name": "n", "type": "number"}, "title"]


class Decision:
    """A change of `things` that is pending until `decide`."""

    def __init__(self, server: CollectionsServer, change: asyncio.Task[Any], go_on: asyncio.Event) -> None:
        self.server = server
        self.change = change
        self._go_on = go_on

    async def decide(self) -> BaseException | None:
        """How it ended."""
        self._go_on.set()
        (result,) = await asyncio.gather(self.change, return_exceptions=True)
        return result if isinstance(result, BaseException) else None

    async def meanwhile(self, *calls: Awaitable[Any]) -> list[Any]:
        """What becomes of calls that have to wait for the decision."""
        tasks = [asyncio.ensure_future(call) for call in calls]
        # As long as this takes they are not answered, whatever they ask for.
        for _ in range(20):
            await self.server.list("things")
        assert not any(task.done() for task in tasks)
        await self.decide()
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def pending(server: CollectionsServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def until_heard() -> None:
        reached.set()
        await go_on.wait()

    monkeypatch.setattr(Catalog, "until_heard", staticmethod(until_heard))

    @asynccontextmanager
    async def begin(id: str, **changes: Any) -> AsyncIterator[Decision]:
        change = asyncio.ensure_future(server.change(id, **changes))
        async with asyncio.timeout(10):
            await reached.wait()
        yield Decision(server, change, go_on)
        go_on.set()
        await asyncio.gather(change, return_exceptions=True)
        reached.clear()
        go_on.clear()

    return begin


@pytest.fixture
def straggler(server: CollectionsServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], Any]:
    """Writes a record of `things`, by field names, as a process would that has heard of nothing."""
    stores: list[CollectionStore] = []
    replace = CollectionStore.replace_collection

    async def seen(self: CollectionStore, collection: Collection) -> bool:
        stores.append(self)
        return await replace(self, collection)

    monkeypatch.setattr(CollectionStore, "replace_collection", seen)

    async def write(values: Mapping[str, Any]) -> None:
        (things,) = [one for one in await stores[-1].collections() if one.name == "things"]
        data = {things.by_name[name].id: value for name, value in values.items()}
        await stores[-1].insert(things, {"id": new_id(), "created": STAMP, "updated": STAMP, "rev": "r", **data})

    return write


async def test_what_fits_both_schemas_is_written_at_once(server: CollectionsServer, pending: Any) -> None:
    made = await server.open("things", *FREE)
    old = await server.add("things", n=1, title="old")
    async with pending(made.id, schema=UP_TO_TEN) as decision:
        assert (await server.add("things", n=10))["data"]["n"] == 10
        assert (await server.patch("things", old["id"], {"n+": 9, "title": "new"}))["data"] == {"n": 10, "title": "new"}
        # The change is not made yet, and says so to nobody.
        (shown,) = [field for field in (await server.shown(made.id)).schema.fields if field.name == "n"]
        assert not shown.HasField("max")
        assert not decision.change.done()
        assert await decision.decide() is None
    with pytest.raises(Invalid):
        await server.add("things", n=11)
    assert await server.values("things", "n", sort="n") == [10, 10]


@pytest.mark.parametrize("late", [False, True])
async def test_what_does_not_fit_both_waits(
    server: CollectionsServer, pending: Any, straggler: Any, late: bool
) -> None:
    """And is judged by the schema that there is in the end."""
    made = await server.open("things", *FREE)
    many = Many(server)
    first, second = [(await server.add("things", n=n))["id"] for n in (1, 2)]
    line = b'{"data": {"n": 40}}\n'

    async def imported() -> dict[str, Any]:
        return await many.take(line * 2, "application/x-ndjson")

    async with pending(made.id, schema=UP_TO_TEN) as decision:
        if late:
            await straggler({"n": 99})
        results = await decision.meanwhile(
            server.add("things", n=11),
            server.patch("things", first, {"n": 12}),
            server.patch("things", second, {"n+": 20}),
            many.batch({"data": {"n": 3}}, {"data": {"n": 13}}),
            many.update([first, second], {"title": "t", "n": 14}),
            many.upsert({"id": new_id(), "data": {"n": 15}}, {"id": first, "data": {"title": "u"}}),
            imported(),
        )
    numbers = await server.values("things", "n", sort="n", per_page=500)
    if late:
        assert isinstance(decision.change.exception(), Conflict)
        assert not any(isinstance(result, BaseException) for result in results)
        assert [numbers.count(n) for n in (3, 11, 13, 15, 40, 99)] == [1, 1, 1, 1, 2, 1]
        return
    added, set_, stepped, batch, updated, upserted, taken = results
    assert all(isinstance(result, Invalid) for result in (added, set_, stepped, updated))
    assert (batch["created"], batch["failed"]) == (1, 1)
    assert (upserted["created"], upserted["updated"], upserted["failed"]) == (0, 1, 1)
    assert (taken["created"], taken["failed"]) == (0, 2)
    assert numbers == [1, 2, 3]


async def test_nothing_is_lost_where_the_change_is_not_made(
    server: CollectionsServer, pending: Any, straggler: Any
) -> None:
    made = await server.open("things", *FREE)
    asked = [{"name": "n", "type": "number", "min": 0.0}, "title", {"name": "more", "type": "text", "default": "d"}]
    async with pending(made.id, schema=asked) as decision:
        await straggler({"n": -1})
        kept = await server.add("things", n=5, title="kept")
        (early,) = await decision.meanwhile(server.add("things", n=5, more="a field that never comes"))
    assert isinstance(early, Invalid)
    refused = decision.change.exception()
    assert isinstance(refused, Conflict)
    assert refused.reason == "RECORDS_BREAK_IT"
    assert await server.get("things", kept["id"]) == kept
    assert (await server.add("things", n=-2))["data"] == {"n": -2, "title": None}
    assert [event.event_action for event in await server.audit("changed")] == []


async def test_new_records_wait_for_a_field_that_they_will_need(server: CollectionsServer, pending: Any) -> None:
    made = await server.open("things", "title")
    needed = ["title", {"name": "code", "type": "text", "required": True}]
    async with pending(made.id, schema=needed) as decision:
        without, given = await decision.meanwhile(
            server.add("things", title="a"), server.add("things", title="b", code="c")
        )
    assert isinstance(without, Invalid)
    assert [error.field for error in without.fields] == ["data.code"]
    assert given["data"] == {"title": "b", "code": "c"}
    assert (await server.list("things"))["total"] == 1


async def test_new_members_wait_too(server: CollectionsServer, pending: Any) -> None:
    made = await server.create("things", "company", type="auth")
    token = await server.service()

    async def register(**data: Any) -> Any:
        request = profiles_pb2.CreateProfileRequest(
            collection=made.id, id=new_id(), email=f"{new_id()}@example.com", data=orjson.dumps(data)
        )
        return await server.call(server.profiles.CreateProfile, request, token)

    async with pending(made.id, schema=[{"name": "company", "type": "text", "required": True}]) as decision:
        without, given = await decision.meanwhile(register(), register(company=""))
    assert all(isinstance(result, Invalid) for result in (without, given))
    await register(company="Acme")
    assert (await server.list("things"))["total"] == 1


@pytest.mark.parametrize("truncated", [False, True])
async def test_a_relation_that_may_be_required_is_not_emptied(
    server: CollectionsServer, pending: Any, truncated: bool
) -> None:
    await server.open("authors", "name")
    relation = {"name": "author", "type": "relation", "collection": "authors"}
    made = await server.open("things", {**relation, "on_delete": "set_null"})
    author = (await server.add("authors", name="a"))["id"]
    await server.add("things", author=author)
    async with pending(made.id, schema=[{**relation, "required": True, "on_delete": "cascade"}]) as decision:
        empty = server.truncate("authors", cascade=True) if truncated else server.remove("authors", author)
        (result,) = await decision.meanwhile(empty)
    assert not isinstance(result, BaseException)
    assert (await server.list("things"))["total"] == 0


@pytest.mark.parametrize(
    ("field", "asking", "fits", "refused"),
    [
        ({"type": "text"}, {"pattern": "a.*"}, ["a", "ab", None], ["b"]),
        ({"type": "text", "pattern": "[a-z]+"}, {"pattern": "x.*"}, ["xyz"], ["x1", "y"]),
        ({"type": "text", "min_length": 2}, {"min_length": 1, "max_length": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": "text", "default": "dd"}, {"max_length": 1, "default": "d"}, ["x"], ["xx", ...]),
        ({"type": "text", "default": "d"}, {"max_length": 1, "default": "d"}, ["x", ...], ["xx"]),
        ({"type": "text"}, {"required": True}, ["x"], ["", None, ...]),
        ({"type": "number", "max": 9.0}, {"min": 5.0, "max": 12.0}, [5, 9], [4, 10]),
        ({"type": "number", "max": 9.0}, {"min": 12.0, "max": 20.0}, [None], [9, 12]),
        ({"type": "select", "values": ["a", "b"]}, {"values": ["b", "c"]}, ["b", None], ["a", "c"]),
        ({"type": "select", "values": ["a"]}, {"values": ["b"]}, [None, ...], ["a", "b"]),
        (
            {"type": "select", "values": ["a", "b", "c"], "max_select": 3},
            {"values": ["b", "c", "d"], "max_select": 2},
            [["b", "c"], []],
            [["a"], ["d"]],
        ),
        ({"type": "json"}, {"required": True}, [{"a": 1}, 0], [None, ...]),
    ],
)
async def test_both_schemas_are_held_to(
    server: CollectionsServer, pending: Any, field: Any, asking: Any, fits: list[Any], refused: list[Any]
) -> None:
    """The dots stand for a value that is not given."""
    made = await server.open("things", {"name": "one", **field})
    changed = {"name": "one", **field, **asking}

    def bodies(values: list[Any]) -> list[dict[str, Any]]:
        return [{} if value is ... else {"one": value} for value in values]

    async with pending(made.id, schema=[changed]) as decision:
        for data in bodies(fits):
            added = await server.add("things", **data)
            for name, value in data.items():
                assert added["data"][name] == value
        waiting = [server.add("things", **data) for data in bodies(refused)]
        results = await decision.meanwhile(*waiting)
    assert decision.change.exception() is None
    # What is there fits what the schema has become, and so does what came in the end.
    kept = len(fits) + sum(not isinstance(result, DomainError) for result in results)
    assert (await server.list("things"))["total"] == kept
    await server.change(made.id, schema=[changed, "more"])


async def test_of_two_pending_changes_the_first_is_told_of_the_other(server: CollectionsServer, pending: Any) -> None:
    made = await server.open("things", *FREE)
    async with pending(made.id, schema=UP_TO_TEN) as decision:
        await server.change(made.id, view_rule="title = 'x'")
        # It was pending and is no more: nothing waits for it.
        await server.add("things", n=11)
        refused = await decision.decide()
    assert isinstance(refused, Conflict)
    assert refused.reason == "COLLECTION_CHANGED_MEANWHILE"
    shown = await server.shown(made.id)
    assert (shown.view_rule, shown.schema.fields[0].HasField("max")) == ("title = 'x'", False)


async def test_a_write_that_outlasts_a_change_is_judged_by_it(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is on its way to the database."""
    made = await server.open("things", *FREE)
    id = (await server.add("things", n=1, title="t"))["id"]
    arrived, go_on = asyncio.Event(), asyncio.Event()
    insert, update, insert_many = CollectionStore.insert, CollectionStore.update, CollectionStore.insert_many
    slow = {"insert", "update", "insert_many"}

    async def slowly(name: str, call: Awaitable[Any]) -> Any:
        if name in slow:
            slow.remove(name)
            if not slow:
                arrived.set()
            await go_on.wait()
        return await call

    async def slow_insert(self: CollectionStore, collection: Collection, doc: Any) -> None:
        await slowly("insert", insert(self, collection, doc))

    async def slow_insert_many(self: CollectionStore, collection: Collection, docs: Any) -> Any:
        return await slowly("insert_many", insert_many(self, collection, docs)) if docs else []

    async def slow_update(self: CollectionStore, collection: Collection, id: str, *change: Any) -> Document | None:
        return await slowly("update", update(self, collection, id, *change))

    monkeypatch.setattr(CollectionStore, "insert", slow_insert)
    monkeypatch.setattr(CollectionStore, "insert_many", slow_insert_many)
    monkeypatch.setattr(CollectionStore, "update", slow_update)
    writes = [
        asyncio.ensure_future(call)
        for call in (
            server.add("things", n=11),
            server.patch("things", id, {"n": 12}),
            Many(server).batch({"data": {"n": 13}}, {"data": {"n": 3}}),
        )
    ]
    await arrived.wait()
    await server.change(made.id, schema=UP_TO_TEN)
    # Another field of the same record.
    await server.patch("things", id, {"title": "later"})
    go_on.set()
    added, changed, batch = await asyncio.gather(*writes, return_exceptions=True)
    for refused in (added, changed):
        assert isinstance(refused, Invalid)
        assert [error.field for error in refused.fields] == ["data.n"]
    assert (batch["created"], [error["status"] for error in batch["errors"]]) == (1, [409])
    assert (await server.get("things", id))["data"] == {"n": 1, "title": "later"}
    assert await server.values("things", "n", sort="n") == [1, 3]


@pytest.mark.parametrize("on_delete", ["restrict", "set_null"])
async def test_a_delete_that_outlasts_a_new_relation_heeds_it(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch, on_delete: str
) -> None:
    made = await server.open("things", "title")
    await server.open("authors", "name")
    author = (await server.add("authors", name="a"))["id"]
    arrived, go_on = asyncio.Event(), asyncio.Event()
    delete = CollectionStore.delete

    async def slow(self: CollectionStore, *arguments: Any) -> Document | None:
        arrived.set()
        await go_on.wait()
        return await delete(self, *arguments)

    monkeypatch.setattr(CollectionStore, "delete", slow)
    deleting = asyncio.ensure_future(server.remove("authors", author))
    await arrived.wait()
    relation = {"name": "author", "type": "relation", "collection": "authors", "on_delete": on_delete}
    await server.change(made.id, schema=["title", relation])
    thing = (await server.add("things", author=author))["id"]
    go_on.set()
    (result,) = await asyncio.gather(deleting, return_exceptions=True)
    kept = (await server.get("things", thing))["data"]["author"]
    assert (type(result), kept) == ((Conflict, author) if on_delete == "restrict" else (type(None), None))
    assert (await server.list("authors"))["total"] == (1 if on_delete == "restrict" else 0)


@pytest.mark.parametrize("large", [0, 10_000])
@pytest.mark.parametrize("cascade", [False, True])
async def test_what_is_pointed_to_while_a_truncate_goes_on_stays(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch, pending: Any, large: int, cascade: bool
) -> None:
    """Whoever pointed to it was told that it is there."""
    monkeypatch.setattr("collections_service.schemas.LARGE", large)
    await server.open("authors", "name")
    relation = {"name": "author", "type": "relation", "collection": "authors", "on_delete": "cascade"}
    await server.open("things", relation, {**relation, "name": "more", "max_select": 3})
    one, two, three, four = [(await server.add("authors", name=name))["id"] for name in "abcd"]
    release_all = Relations.release_all
    things: list[str] = []

    async def late(self: Relations, *arguments: Any, **options: Any) -> None:
        await release_all(self, *arguments, **options)
        things.append((await server.add("things", author=one))["id"])
        things.append((await server.add("things", more=[two, three]))["id"])

    monkeypatch.setattr(Relations, "release_all", late)
    monkeypatch.setattr(Catalog, "until_heard", staticmethod(partial(asyncio.sleep, 0)))
    answer = await server.truncate("authors", cascade=cascade)
    assert answer.deleted_count == 1
    assert sorted(await server.values("authors", "name")) == ["a", "b", "c"]
    assert (await server.get("things", things[1]))["data"] == {"author": None, "more": [two, three]}
    with pytest.raises(Invalid):
        await server.add("things", author=four)


async def test_a_write_that_outlasts_a_truncate_comes_after_it(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collections_service.schemas.LARGE", 0)
    await server.open("things", *FREE)
    await server.add("things", n=1)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    insert = CollectionStore.insert

    async def slow(self: CollectionStore, collection: Collection, doc: Any) -> None:
        arrived.set()
        await go_on.wait()
        await insert(self, collection, doc)

    monkeypatch.setattr(CollectionStore, "insert", slow)
    write = asyncio.ensure_future(server.add("things", n=2))
    await arrived.wait()
    await server.truncate("things")
    go_on.set()
    await write
    assert await server.values("things", "n") == [2]
