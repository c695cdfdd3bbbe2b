"""Many at once on one record: nothing is lost, nothing is there twice, nothing points to what is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastcms_common.errors import Conflict, DomainError, Invalid, NotFound, Stale
from fastcms_common.ids import new_id
from tests.contract.collections.many import Many
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import ONE_WINNER, PARTIAL_INDEX
from tests.storages import needs


async def all_of(*calls: Any) -> list[Any]:
    """The results and the domain errors of calls made at once."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, DomainError):
            raise result
    return results


def errors_in(results: list[Any]) -> list[DomainError]:
    return [result for result in results if isinstance(result, DomainError)]


@needs(ONE_WINNER)
async def test_steps_lose_no_update(server: CollectionsServer) -> None:
    tags = {"name": "tags", "type": "select", "values": [str(n) for n in range(40)], "max_select": 40}
    await server.open("things", {"name": "n", "type": "number"}, tags)
    id = (await server.add("things"))["id"]
    await asyncio.gather(*(server.patch("things", id, {"n+": 2, "tags+": [str(n)]}) for n in range(40)))
    await asyncio.gather(*(server.patch("things", id, {"n-": 1, "tags-": [str(n)]}) for n in range(20)))
    data = (await server.get("things", id))["data"]
    assert data["n"] == 60
    assert sorted(data["tags"]) == sorted(str(n) for n in range(20, 40))


@needs(ONE_WINNER)
async def test_steps_keep_their_limits(server: CollectionsServer) -> None:
    tags = {"name": "tags", "type": "select", "values": [str(n) for n in range(30)], "max_select": 5}
    await server.open("things", {"name": "n", "type": "number", "max": 7.0}, tags)
    id = (await server.add("things"))["id"]
    counted = await all_of(*(server.patch("things", id, {"n+": 1}) for _ in range(30)))
    tagged = await all_of(*(server.patch("things", id, {"tags+": [str(n)]}) for n in range(30)))
    data = (await server.get("things", id))["data"]
    assert data["n"] == 7
    assert len(data["tags"]) == 5
    assert len(errors_in(counted)) == 23
    assert all(isinstance(error, Invalid | Conflict) for error in errors_in([*counted, *tagged]))


@needs(ONE_WINNER)
async def test_of_many_with_one_etag_one_wins(server: CollectionsServer) -> None:
    await server.open("things", "title")
    id = (await server.add("things", title="0"))["id"]
    etag = await server.etag("things", id)
    results = await all_of(*(server.patch("things", id, {"title": str(n)}, if_match=etag) for n in range(20)))
    (winner,) = [result for result in results if isinstance(result, dict)]
    assert all(isinstance(error, Stale) for error in errors_in(results))
    assert await server.get("things", id) == winner


@needs(PARTIAL_INDEX)
async def test_of_many_with_one_unique_value_one_is_there(server: CollectionsServer) -> None:
    await server.open("things", {"name": "code", "type": "text", "unique": True})
    results = await all_of(*(server.add("things", code="x") for _ in range(20)))
    assert len(errors_in(results)) == 19
    assert all(isinstance(error, Conflict) for error in errors_in(results))
    assert (await server.list("things"))["total"] == 1


async def test_of_many_with_one_id_one_is_there(server: CollectionsServer) -> None:
    await server.open("things", {"name": "n", "type": "number"})
    own = new_id()
    results = await all_of(*(server.send("things", {"id": own, "data": {"n": n}}) for n in range(20)))
    (winner,) = [result for result in results if isinstance(result, dict)]
    assert await server.get("things", own) == winner


@needs(ONE_WINNER)
async def test_of_many_deletes_one_succeeds(server: CollectionsServer) -> None:
    await server.open("things", "title")
    id = (await server.add("things", title="t"))["id"]
    results = await all_of(*(server.remove("things", id) for _ in range(10)))
    assert len(errors_in(results)) == 9
    assert all(isinstance(error, NotFound) for error in errors_in(results))


@needs(ONE_WINNER)
@pytest.mark.parametrize("on_delete", ["restrict", "cascade", "set_null"])
async def test_nothing_points_to_what_is_deleted_meanwhile(server: CollectionsServer, on_delete: str) -> None:
    await server.open("authors", "name")
    relation = {"name": "author", "type": "relation", "collection": "authors", "on_delete": on_delete}
    await server.open("posts", relation)
    loose = (await server.add("posts"))["id"]
    for _ in range(6):
        author = (await server.add("authors", name="a"))["id"]
        await all_of(
            *(server.add("posts", author=author) for _ in range(3)),
            server.patch("posts", loose, {"author": author}),
            server.remove("authors", author),
            *(server.add("posts", author=author) for _ in range(3)),
        )
    there = {item["id"] for item in (await server.list("authors", per_page=500))["items"]}
    pointed_to = set(await server.values("posts", "author", "author != null", per_page=500))
    assert pointed_to <= there


@needs(ONE_WINNER)
async def test_a_rule_holds_of_the_record_that_is_changed(server: CollectionsServer) -> None:
    """No gap between the look at the rule and the change: a record that is closed is not changed afterwards."""
    await server.open("posts", "status", "title", update_rule="status = 'open'")
    user = await server.user()
    for _ in range(10):
        id = (await server.add("posts", status="open"))["id"]
        results = await all_of(
            *(server.patch("posts", id, {"title": str(n)}, user) for n in range(4)),
            server.patch("posts", id, {"status": "closed"}),
            *(server.patch("posts", id, {"title": str(n)}, user) for n in range(4)),
        )
        closed = next(result for result in results if isinstance(result, dict) and result["data"]["status"] == "closed")
        after = await server.get("posts", id)
        assert after["updated"] == closed["updated"]
        assert after["data"]["title"] == closed["data"]["title"]


async def test_one_name_is_given_to_one_collection(server: CollectionsServer) -> None:
    results = await all_of(*(server.create("posts", "title") for _ in range(5)))
    assert len(errors_in(results)) == 4
    await server.add("posts", title="t")


async def test_a_truncate_under_writes_leaves_what_came_after(server: CollectionsServer) -> None:
    await server.open("posts", {"name": "n", "type": "number"})
    before = [server.add("posts", n=0) for _ in range(20)]
    await asyncio.gather(*before)
    _, *written = await asyncio.gather(server.truncate("posts"), *(server.add("posts", n=1) for _ in range(20)))
    assert await server.values("posts", "n", "n = 0", per_page=500) == []
    left = await server.list("posts", per_page=500)
    assert left["total"] <= len(written)
    after = await server.add("posts", n=2)
    await server.get("posts", after["id"])


@needs(ONE_WINNER)
async def test_an_atomic_change_that_is_taken_back_takes_nothing_of_others(server: CollectionsServer) -> None:
    await server.open("things", {"name": "n", "type": "number"}, {"name": "code", "type": "number", "max": 9.0})
    ids = [(await server.add("things", n=0, code=code))["id"] for code in (0, 0, 0, 9)]
    many = Many(server)
    counted = asyncio.Event()

    async def count(id: str) -> int:
        times = 0
        while not counted.is_set():
            await server.patch("things", id, {"n+": 1})
            times += 1
        return times

    counting = [asyncio.create_task(count(id)) for id in ids]
    # The last one is at its limit, so that all of it is taken back each time.
    refused = [await all_of(many.update(ids, {"code+": 1}, atomic=True)) for _ in range(20)]
    counted.set()
    counts = await asyncio.gather(*counting)
    assert all(isinstance(error, Invalid | Conflict) for (error,) in refused)
    records = [(await server.get("things", id))["data"] for id in ids]
    assert records == [{"n": n, "code": code} for n, code in zip(counts, (0, 0, 0, 9), strict=True)]
    assert all(counts)
