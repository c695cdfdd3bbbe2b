"""Many records in one request: each by itself, or all or none; streams out and in."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from collections_service import transfers
from collections_service.store import CollectionStore
from fastcms.collections.v1.collections_pb2 import ListCollectionsRequest
from fastcms_common.errors import Conflict, Denied, Invalid, Malformed, NotFound
from fastcms_common.ids import new_id
from tests.contract.collections.engines import on_one_engine
from tests.contract.collections.many import Many
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import PARTIAL_INDEX
from tests.storages import needs

SCHEMA = (
    {"name": "code", "type": "text", "unique": True},
    {"name": "n", "type": "number", "max": 10.0},
    {"name": "tags", "type": "select", "values": ["a", "b"], "max_select": 2},
    {"name": "meta", "type": "json"},
    {"name": "ok", "type": "bool", "default": True},
    {"name": "seen", "type": "autodate"},
)
NOBODY = ""


@pytest.fixture
async def many(server: CollectionsServer) -> Many:
    await server.open("things", *SCHEMA)
    return Many(server)


async def test_a_batch_tells_of_each_item(many: Many) -> None:
    own = new_id()
    answer = await many.batch(
        {"data": {"n": 1}},
        {"data": {"n": 99}},
        {"id": own, "data": {"n": 2}},
        {"data": {"zzz": 1}},
        {"n": 1},
        3,
        {"id": own, "data": {}},
    )
    assert (answer["created"], answer["failed"]) == (2, 5)
    assert [record["data"]["n"] for record in answer["records"]] == [1, 2]
    told = [(error["index"], error["status"], [one["field"] for one in error["errors"]]) for error in answer["errors"]]
    assert told == [
        (1, 422, ["data.n"]),
        (3, 422, ["data.zzz"]),
        (4, 422, ["n", "data"]),
        (5, 400, []),
        (6, 409, ["id"]),
    ]
    assert await many.numbers() == [1, 2]


@needs(PARTIAL_INDEX)
async def test_an_atomic_batch_is_all_or_nothing(many: Many) -> None:
    await many.batch({"data": {"code": "taken"}})
    with pytest.raises(Invalid) as invalid:
        await many.batch({"data": {"n": 1}}, {"data": {"n": 99}}, {"data": {"n": "x"}}, atomic=True)
    assert [error.field for error in invalid.value.fields] == ["records[1].data.n", "records[2].data.n"]
    with pytest.raises(Conflict) as conflict:
        await many.batch({"data": {"n": 1}}, {"data": {"code": "taken"}}, {"data": {"n": 2}}, atomic=True)
    assert conflict.value.fields[0].field == "records[1].data.code"
    assert (await many.server.list("things"))["total"] == 1
    assert (await many.batch({"data": {"n": 1}}, {"data": {"n": 2}}, atomic=True))["created"] == 2


async def test_a_batch_has_an_end(many: Many) -> None:
    assert (await many.batch(*[{"data": {"n": 1}}] * 1000))["created"] == 1000
    with pytest.raises(Invalid):
        await many.batch(*[{"data": {"n": 1}}] * 1001)
    assert (await many.batch())["created"] == 0


@on_one_engine
async def test_unknown_names_are_told_of_up_to_a_point(many: Many) -> None:
    data = {f"k{number}": 1 for number in range(3000)}
    id = (await many.server.add("things", n=1))["id"]
    for answer in (
        await many.batch({"data": data}, {"data": {}, **data}),
        await many.upsert({"id": id, "data": data}, {"data": data}),
    ):
        assert [len(error["errors"]) for error in answer["errors"]] == [100, 100]


@on_one_engine
@pytest.mark.parametrize("name", ["BatchCreateRecords", "UpsertRecords", "BulkUpdateRecords", "BulkDeleteRecords"])
@pytest.mark.parametrize(
    "body", [{}, {"records": None}, {"records": {}}, {"record_ids": [1]}, {"record_ids": "x"}, {"more": 1}]
)
async def test_a_bad_bulk_body_is_refused_by_name(many: Many, name: str, body: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await many.call(name, body)
    assert refused.value.fields
    with pytest.raises(Malformed):
        await many.call(name, [])


async def test_bulk_update_and_delete_tell_of_each_record(many: Many) -> None:
    ids = [record["id"] for record in (await many.batch(*({"data": {"n": n}} for n in (1, 2, 9))))["records"]]
    answer = await many.update([*ids, new_id()], {"n+": 2})
    assert (answer["success"], answer["failed"]) == (2, 2)
    assert [(error["index"], error["status"]) for error in answer["errors"]] == [(2, 422), (3, 404)]
    assert await many.numbers() == [3, 4, 9]
    answer = await many.delete([ids[0], "nothing"])
    assert (answer["success"], answer["errors"][0]["status"]) == (1, 404)
    assert await many.numbers() == [4, 9]


async def test_atomic_changes_are_taken_back(many: Many) -> None:
    made = (await many.batch(*({"data": {"n": n}} for n in (1, 2, 9))))["records"]
    ids = [record["id"] for record in made]
    with pytest.raises(Invalid):
        await many.update(ids, {"n+": 2}, atomic=True)
    assert [await many.server.get("things", id) for id in ids] == made
    with pytest.raises(NotFound):
        await many.delete([*ids, new_id()], atomic=True)
    assert await many.numbers() == [1, 2, 9]
    assert (await many.update(ids[:2], {"n+": 2}, atomic=True))["success"] == 2
    assert (await many.delete(ids, atomic=True))["success"] == 3
    assert await many.numbers() == []


async def test_upsert_changes_what_is_there_and_creates_the_rest(many: Many) -> None:
    old = (await many.server.add("things", n=1, ok=True))["id"]
    new = new_id()
    answer = await many.upsert({"id": old, "data": {"n+": 1}}, {"id": new, "data": {"n": 7}}, {"data": {"n": 99}})
    assert (answer["created"], answer["updated"], answer["failed"]) == (1, 1, 1)
    assert answer["errors"][0]["index"] == 2
    assert [record["id"] for record in answer["records"]] == [old, new]
    assert (await many.server.get("things", old))["data"]["ok"] is True
    assert await many.numbers() == [2, 7]


@on_one_engine
@pytest.mark.parametrize("id", [None, 1, "x", "\0", [], {"a": 1}, "a" * 10_000])
async def test_an_upsert_of_what_is_no_id_is_refused_by_name(many: Many, id: Any) -> None:
    answer = await many.upsert({"id": id, "data": {"n": 1}}, {"data": {"n": 2}})
    errors = [error["field"] for one in answer["errors"] for error in one["errors"]]
    assert errors == ([] if id is None else ["id"])
    assert await many.numbers() == ([1, 2] if id is None else [2])


async def test_an_atomic_upsert_is_all_or_nothing(many: Many) -> None:
    old = (await many.server.add("things", n=1))["id"]
    before = await many.server.get("things", old)
    with pytest.raises(Invalid) as refused:
        await many.upsert({"id": "x"}, {"id": old, "data": {"n": "x"}}, {"data": {"n": 99}}, atomic=True)
    assert [error.field for error in refused.value.fields] == [
        *("records[0].data", "records[1].data.n", "records[2].data.n")
    ]
    with pytest.raises(Conflict) as taken:
        await many.upsert({"id": old, "data": {"n": 2}}, *[{"id": new_id(), "data": {"n": 3}}] * 2, atomic=True)
    assert [error.field for error in taken.value.fields] == ["records[2].id"]
    with pytest.raises(Invalid) as refused:
        await many.upsert(*[{"id": old, "data": {"n+": 1}}] * 3, atomic=True)
    assert [error.field for error in refused.value.fields] == ["records[1].id", "records[2].id"]
    assert await many.server.get("things", old) == before
    assert await many.numbers() == [1]


async def test_bulk_routes_obey_the_rules(server: CollectionsServer) -> None:
    rule = "n < 5"
    await server.open("things", *SCHEMA, create_rule=rule, update_rule=rule, delete_rule=rule)
    many = Many(server)
    answer = await many.batch({"data": {"n": 1}}, {"data": {"n": 7}}, bearer=NOBODY)
    assert (answer["created"], answer["errors"][0]["status"]) == (1, 401)
    high = (await server.add("things", n=8))["id"]
    user = await server.user()
    for answer in (await many.update([high], {"n": 1}, user), await many.delete([high], user)):
        assert (answer["success"], answer["errors"][0]["status"]) == (0, 403)
    with pytest.raises(Denied):
        await many.delete([high], user, atomic=True)
    assert await many.numbers() == [1, 8]


async def test_an_export_reads_back_as_it_was(many: Many) -> None:
    await many.batch(
        {"data": {"code": 'a,"b"\n', "n": 1.0, "tags": ["a", "b"], "meta": {"x": [1, None]}, "ok": False}},
        {"data": {"code": "", "n": 9007199254740993 % 7}},
        {"data": {"meta": "text"}},
        {"data": {"code": " x ", "meta": "1"}},
        {"data": {"ok": None}},
    )
    before = (await many.server.list("things"))["items"]
    for form, content_type in (("ndjson", "application/x-ndjson"), ("csv", "text/csv; charset=utf-8")):
        text = await many.export(format=form)
        await many.server.truncate("things")
        answer = await many.take(text, content_type)
        assert (answer["created"], answer["failed"], answer["errors"]) == (5, 0, [])
        after = (await many.server.list("things"))["items"]
        kept = [{name: value for name, value in item["data"].items() if name != "seen"} for item in after]
        assert kept == [{name: value for name, value in item["data"].items() if name != "seen"} for item in before]
        assert [item["id"] for item in after] == [item["id"] for item in before]
        # Nothing is changed by what is there already.
        assert (await many.take(text, content_type))["failed"] == 5


async def test_an_export_obeys_rule_and_filter(server: CollectionsServer) -> None:
    hidden = {"name": "secret", "type": "text", "hidden": True}
    await server.open("things", {"name": "n", "type": "number"}, hidden, list_rule="n > 1")
    many = Many(server)
    await many.batch(*({"data": {"n": n, "secret": "s"}} for n in range(5)))
    lines = (await many.export(NOBODY, filter="n < 4")).splitlines()
    assert [orjson.loads(line)["data"] for line in lines] == [{"n": 2}, {"n": 3}]
    header, *rows = (await many.export(NOBODY, format="csv")).decode().splitlines()
    assert header == "id,n,created,updated"
    assert len(rows) == 3
    first, _ = await server.audit("exported")
    assert orjson.loads(first.details) == {"format": "ndjson", "filter": "n < 4"}


async def test_a_bad_line_is_told_by_its_number_and_the_rest_goes_on(many: Many) -> None:
    lines = [
        b'\xef\xbb\xbf{"data": {"n": 1}}',
        b"{",
        b"",
        b'{"data": {"n": 99}}',
        b"\xff",
        b"[]",
        b'{"data": {"n": 2}, "zzz": 1}',
        b'{"data": {"n": 3}}',
    ]
    answer = await many.take(b"\n".join(lines), "application/x-ndjson")
    assert (answer["created"], answer["failed"]) == (2, 5)
    assert [(error["line"], error["status"]) for error in answer["errors"]] == [
        (2, 400),
        (4, 422),
        (5, 400),
        (6, 400),
        (7, 422),
    ]
    rows = b'n,tags\r\n1,"[""a""]"\r\nx,\r\n2,"[""q""]"\r\n3\r\n4,"a"b\r\n5,\r\n'
    answer = await many.take(rows, "text/csv")
    assert (answer["created"], answer["failed"]) == (2, 4)
    assert [error["line"] for error in answer["errors"]] == [3, 4, 5, 6]
    assert await many.numbers() == [1, 1, 3, 5]


async def test_an_import_tells_how_far_it_is(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PROGRESS_SECONDS", 0.0)
    pieces = [b"".join(b'{"data": {"n": %d}}\n' % n for n in (0, 1, 99)) for _ in range(100)]
    *told, last = [line async for line in many.taking(pieces, "application/x-ndjson", progress=True)]
    assert [line["line"] for line in told] == [*range(3, 303, 3)]
    assert (last["created"], last["failed"], len(last["errors"])) == (200, 100, 100)
    counts = [(line["created"], line["failed"]) for line in told]
    assert counts == sorted(counts)
    # In parts as they are written, and nothing is told before it is so.
    assert (0, 0) in counts
    assert any(0 < created < 200 for created, _ in counts)


async def test_an_import_goes_by_the_schema_that_there_is(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may outlast schemas and, where the table is exchanged, the records' table."""
    monkeypatch.setattr("collections_service.schemas.LARGE", 5)
    made = (await many.server.call(many.server.collections.ListCollections, ListCollectionsRequest())).items[0]
    part = b"".join(b'{"data": {"n": %d}}\n' % (n % 10) for n in range(200))

    async def tightened() -> bytes:
        while (await many.server.list("things"))["total"] < 200:
            await asyncio.sleep(0.01)
        await many.server.truncate("things")
        await many.server.change(made.id, schema=[{"name": "n", "type": "number", "max": 4.0}])
        return part

    (answer,) = [answer async for answer in many.taking([part, tightened], "application/x-ndjson")]
    assert (answer["created"], answer["failed"]) == (300, 100)
    left = await many.server.list("things", per_page=500)
    assert {record["data"]["n"] for record in left["items"]} == {0, 1, 2, 3, 4}
    assert left["total"] == 100


async def test_an_import_of_an_unknown_kind_is_refused(many: Many) -> None:
    import grpc.aio

    for text, content_type in ((b"x", "image/png"), (b"n,zzz\n1,2\n", "text/csv"), (b"n,n\n1,2\n", "text/csv")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await many.take(text, content_type, step=None)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (await many.server.list("things"))["total"] == 0


async def test_what_relations_of_many_records_point_to_is_asked_for_together(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.open("authors", "name")
    author = (await server.add("authors", name="a"))["id"]
    relation = {"name": "author", "type": "relation", "collection": "authors"}
    await server.open("things", relation, {**relation, "name": "more", "max_select": 3})
    many, nobody = Many(server), new_id()
    asked = 0
    get_many = CollectionStore.get_many

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await get_many(*arguments)

    monkeypatch.setattr(CollectionStore, "get_many", counted)
    sound = {"data": {"author": author, "more": [author]}}
    assert (await many.batch(*[sound] * 50))["created"] == 50
    # Once for each relation before and once after.
    assert asked == 4
    stray = {"data": {"author": nobody, "more": [author, nobody]}}
    answer = await many.batch(sound, stray, {"data": {"author": 1}}, sound)
    assert (answer["created"], [error["index"] for error in answer["errors"]]) == (2, [1, 2])
    assert [error["field"] for error in answer["errors"][0]["errors"]] == ["data.author", "data.more[1]"]
    with pytest.raises(Invalid) as refused:
        await many.batch(sound, stray, atomic=True)
    assert [error.field for error in refused.value.fields] == ["records[1].data.author", "records[1].data.more[1]"]
    assert (await server.list("things"))["total"] == 52
