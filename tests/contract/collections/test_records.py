"""Records over gRPC: what goes in comes out, exactly, and what cannot be is refused by name."""

from __future__ import annotations

import re

import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody

from collections_service import store
from fastcms.collections.v1 import records_pb2
from fastcms_common.errors import Conflict, Invalid, Malformed, NotFound, Stale
from fastcms_common.ids import new_id
from fastcms_common.storage import sqlite_threads
from tests.contract.collections.engines import on_one_engine
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import PARTIAL_INDEX, UNIQUE_ON_UPDATE
from tests.storages import needs

EVERY_TYPE = [
    {"name": "title", "type": "text", "required": True, "max_length": 20},
    {"name": "body", "type": "editor"},
    {"name": "n", "type": "number", "min": 0, "max": 1e18},
    {"name": "ok", "type": "bool"},
    {"name": "mail", "type": "email"},
    {"name": "link", "type": "url"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "datetime"},
    {"name": "kind", "type": "select", "values": ["a", "b"], "default": "a"},
    {"name": "tags", "type": "select", "values": ["x", "y", "z"], "max_select": 2},
    {"name": "meta", "type": "json"},
    {"name": "place", "type": "geopoint"},
    {"name": "seen", "type": "autodate", "on_update": True},
    {"name": "code", "type": "text", "pattern": "[A-Z]{3}", "unique": True},
]


@pytest.fixture
async def things(server: CollectionsServer) -> str:
    await server.open("things", *EVERY_TYPE)
    return "things"


async def test_every_type_comes_back_as_it_went_in(server: CollectionsServer, things: str) -> None:
    given = {
        "title": "Ünïcode 🦉",
        "body": "<p>x</p>",
        "n": 1.5,
        "ok": False,
        "mail": "a.b+c@example.com",
        "link": "https://example.com/a?b=c",
        "day": "2026-02-28",
        "at": "2026-03-01T12:00:00.000000Z",
        "kind": "b",
        "tags": ["z", "x"],
        "meta": {"$set": {"a.b": [1, None, {"__proto__": 1}]}, "": ""},
        "place": {"lat": -90, "lon": 180.0},
        "code": "ABC",
    }
    record = await server.send(things, {"data": given})
    read = await server.get(things, record["id"])
    assert read == record
    assert {name: record["data"][name] for name in given} == given
    assert record["data"]["seen"] == record["created"] == record["updated"]
    assert record["expand"] is None


@pytest.mark.parametrize("number", ["1", "1.0", "0.1", "9007199254740993", "999999999999999999", "1e2", "0"])
async def test_numbers_are_exact(server: CollectionsServer, things: str, number: str) -> None:
    body = b'{"data": {"title": "x", "n": %s, "meta": [%s]}}' % (number.encode(), number.encode())
    record = await server.send(things, body)
    raw = bytes((await server.raw(things, record["id"])).data)
    shown = number if number != "1e2" else "100.0"
    assert b'"n":%s,' % shown.encode() in raw
    assert b'"meta":[%s]' % shown.encode() in raw


async def test_a_time_is_kept_in_utc(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x", at="2026-03-01T12:00:00.5+02:00")
    assert record["data"]["at"] == "2026-03-01T10:00:00.500000Z"


async def test_defaults_and_nulls(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x", n=None)
    assert record["data"]["kind"] == "a"
    assert record["data"]["n"] is None
    assert record["data"]["tags"] is None


BAD_VALUES = [
    ("title", "null"),
    ("title", "1"),
    ("title", '""'),
    ("title", '"' + "x" * 21 + '"'),
    ("title", '"a\\u0000b"'),
    ("title", '"\\ud800"'),
    ("title", "[]"),
    ("n", '"1"'),
    ("n", "true"),
    ("n", "NaN"),
    ("n", "Infinity"),
    ("n", "1e400"),
    ("n", "1" + "0" * 400),
    ("n", "9223372036854775808"),
    ("n", "-1"),
    ("n", "2e18"),
    ("ok", "0"),
    ("ok", '"true"'),
    ("mail", '"a@b"'),
    ("mail", '"a b@example.com"'),
    ("mail", '"' + "a" * 250 + '@example.com"'),
    ("link", '"javascript:alert(1)"'),
    ("link", '"http://"'),
    ("link", '"http://x:99999/"'),
    ("day", '"2026-02-30"'),
    ("day", '"20260228"'),
    ("at", '"yesterday"'),
    ("at", '"2026-03-01T12:00:00"'),
    ("at", "1"),
    ("kind", '"c"'),
    ("tags", '["x","y","z"]'),
    ("tags", '["x","x"]'),
    ("tags", '["q"]'),
    ("tags", '"x"'),
    ("meta", "[" * 40 + "]" * 40),
    ("meta.a[1]", '{"a": [1, 99999999999999999999]}'),
    ("place", '{"lat": 1}'),
    ("place", '{"lat": 1, "lon": 2, "x": 3}'),
    ("place.lat", '{"lat": 91, "lon": 2}'),
    ("place", '{"lat": "1", "lon": 2}'),
    ("seen", '"2026-03-01T12:00:00Z"'),
    ("code", '"abc"'),
    ("code", '"ABC\\n"'),
    ("company", '"x"'),
    ("id", '"x"'),
    ("$where", "1"),
    ("__proto__", "{}"),
]


@on_one_engine
@pytest.mark.parametrize(("field", "value"), BAD_VALUES)
async def test_a_bad_value_is_refused_by_name(server: CollectionsServer, things: str, field: str, value: str) -> None:
    name = re.split(r"[.\[]", field)[0]
    title = "" if name == "title" else '"title": "x", '
    body = f'{{"data": {{{title}"{name}": {value}}}}}'.encode()
    with pytest.raises(Invalid) as refused:
        await server.send(things, body)
    assert [error.field for error in refused.value.fields] == [f"data.{field}"]
    assert (await server.list(things))["total"] == 0


async def test_all_bad_fields_are_named_at_once(server: CollectionsServer, things: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.send(things, {"data": {"n": "x", "ok": 1, "zzz": 1}, "id": "no", "more": 1})
    named = {error.field for error in refused.value.fields}
    assert named == {"data.title", "data.n", "data.ok", "data.zzz", "id", "more"}


@on_one_engine
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000])
async def test_what_is_no_json_object_is_malformed(server: CollectionsServer, things: str, body: bytes) -> None:
    with pytest.raises(Malformed):
        await server.send(things, body)


@on_one_engine
@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"data": []}'])
async def test_data_has_to_be_an_object(server: CollectionsServer, things: str, body: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        await server.send(things, body)
    assert [error.field for error in refused.value.fields] == ["data"]


async def test_an_id_of_the_callers_own(server: CollectionsServer, things: str) -> None:
    own = new_id()
    record = await server.send(things, {"id": own, "data": {"title": "x"}})
    assert record["id"] == own
    with pytest.raises(Conflict) as refused:
        await server.send(things, {"id": own, "data": {"title": "y"}})
    assert refused.value.fields[0].field == "id"


@needs(PARTIAL_INDEX, UNIQUE_ON_UPDATE)
async def test_a_unique_value_is_there_once(server: CollectionsServer, things: str) -> None:
    first = await server.add(things, title="x", code="ABC")
    other = await server.add(things, title="y", code="XYZ")
    with pytest.raises(Conflict) as refused:
        await server.add(things, title="z", code="ABC")
    assert refused.value.fields[0].field == "data.code"
    with pytest.raises(Conflict):
        await server.patch(things, other["id"], {"code": "ABC"})
    await server.patch(things, first["id"], {"code": None})
    await server.patch(things, other["id"], {"code": "ABC"})


async def test_a_change_touches_what_it_names(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x", n=1, meta={"a": 1})
    changed = await server.patch(things, record["id"], {"n": None, "title": "y"})
    assert changed["data"] == record["data"] | {"n": None, "title": "y", "seen": changed["updated"]}
    assert changed["updated"] > record["updated"]
    assert changed["created"] == record["created"]


async def test_steps_of_numbers_and_lists(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x")
    id = record["id"]
    assert (await server.patch(things, id, {"n+": 5}))["data"]["n"] == 5
    assert (await server.patch(things, id, {"n-": 1.5}))["data"]["n"] == 3.5
    assert (await server.patch(things, id, {"tags+": ["x", "y"]}))["data"]["tags"] == ["x", "y"]
    assert (await server.patch(things, id, {"tags+": "x"}))["data"]["tags"] == ["x", "y"]
    assert (await server.patch(things, id, {"tags-": ["x", "z"]}))["data"]["tags"] == ["y"]


@on_one_engine
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"n-": 1}, "data.n"),
        ({"n+": 2e18}, "data.n"),
        ({"n+": "1"}, "data.n+"),
        ({"n+": True}, "data.n+"),
        ({"tags+": ["x", "y", "z"]}, "data.tags"),
        ({"tags+": ["q"]}, "data.tags+"),
        ({"title+": "x"}, "data.title+"),
        ({"zzz-": 1}, "data.zzz-"),
        ({"n": 1, "n+": 1}, "data.n+"),
        ({"title": None}, "data.title"),
        ({"created": "2026-03-01T12:00:00Z"}, "data.created"),
        ({"n++": 1}, "data.n++"),
    ],
)
async def test_a_bad_change_is_refused_by_name(
    server: CollectionsServer, things: str, data: dict[str, object], field: str
) -> None:
    record = await server.add(things, title="x")
    with pytest.raises(Invalid) as refused:
        await server.patch(things, record["id"], data)
    assert [error.field for error in refused.value.fields] == [field]
    assert await server.get(things, record["id"]) == record


async def test_a_number_does_not_leave_64_bits(server: CollectionsServer) -> None:
    await server.open("counters", {"name": "n", "type": "number"})
    record = await server.add("counters", n=2**63 - 1)
    with pytest.raises(Invalid) as refused:
        await server.patch("counters", record["id"], {"n+": 1})
    assert refused.value.fields[0].field == "data.n"


async def test_if_match_keeps_from_overwriting(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x")
    etag = await server.etag(things, record["id"])
    await server.patch(things, record["id"], {"title": "y"}, if_match=f'"other", {etag}')
    for stale in (etag, '"x"', f"W/{etag}", "rubbish"):
        with pytest.raises(Stale):
            await server.patch(things, record["id"], {"title": "z"}, if_match=stale)
        with pytest.raises(Stale):
            await server.remove(things, record["id"], if_match=stale)
    await server.patch(things, record["id"], {"title": "z"}, if_match="*")
    fresh = await server.etag(things, record["id"])
    assert fresh != etag
    await server.remove(things, record["id"], if_match=fresh)


async def test_a_deleted_record_is_gone(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x")
    await server.remove(things, record["id"])
    with pytest.raises(NotFound):
        await server.get(things, record["id"])
    with pytest.raises(NotFound):
        await server.remove(things, record["id"])


@on_one_engine
@pytest.mark.parametrize("id", ["x", "../x", "$ne", '{"$gt": ""}', "' OR 1=1 --", "a" * 5000, "\u00e9", "%", "\x7f"])
async def test_an_id_that_is_none_is_not_found(server: CollectionsServer, things: str, id: str) -> None:
    with pytest.raises(NotFound):
        await server.get(things, id)
    with pytest.raises(NotFound):
        await server.patch(things, id, {"n": 1})
    with pytest.raises(NotFound):
        await server.remove(things, id)


async def test_fields_narrow_the_answer(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x", n=1)
    assert await server.get(things, record["id"], fields="title, data.n") == {
        "id": record["id"],
        "data": {"title": "x", "n": 1},
        "expand": None,
    }
    with pytest.raises(Invalid):
        await server.get(things, record["id"], fields="title,zzz")


async def test_lists_are_paged_and_sorted(server: CollectionsServer, things: str) -> None:
    for number in range(7):
        await server.add(things, title=f"t{number}", n=number % 3)
    page = await server.list(things, sort="-n,title", page=2, per_page=3)
    assert [item["data"]["title"] for item in page["items"]] == ["t4", "t0", "t3"]
    assert (page["total"], page["total_pages"], page["page"], page["per_page"]) == (7, 3, 2, 3)
    assert (await server.list(things, skip_total=True))["total"] is None
    assert (await server.list(things, page=99))["items"] == []
    assert (await server.list(things, page=99))["total"] == 7


@on_one_engine
async def test_a_total_that_takes_too_long_is_not_told(
    server: CollectionsServer, things: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"data": {"title": f"t{number}"}} for number in range(500)]
    body = HttpBody(data=orjson.dumps({"records": records}))
    request = records_pb2.BatchCreateRecordsRequest(collection=things, body=body)
    await server.call(server.records.BatchCreateRecords, request)
    slow = " || ".join(f"title ~ '%t%{number}%'" for number in range(60))
    assert (await server.list(things, slow, per_page=5))["total"] == 500
    monkeypatch.setattr(store, "COUNT_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_threads, "STEPS_BETWEEN_CHECKS", 1_000)
    page = await server.list(things, slow, per_page=5)
    assert (page["total"], page["total_pages"], len(page["items"])) == (None, None, 5)
    # The last page tells by itself.
    assert (await server.list(things, slow, per_page=500))["total"] == 500


async def test_a_cursor_walks_everything_once_under_inserts(server: CollectionsServer, things: str) -> None:
    before = [(await server.add(things, title=f"t{number}", n=number % 3))["id"] for number in range(20)]
    seen: list[str] = []
    page = await server.list(things, sort="-n", per_page=3)
    while True:
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        await server.add(things, title="new", n=len(seen) % 3)
        page = await server.list(things, sort="-n", per_page=3, cursor=page["next_cursor"])
    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)


@on_one_engine
@pytest.mark.parametrize("cursor", ["x", "====", "bnVsbA", "W10", "é", "A" * 8000])
async def test_a_cursor_that_is_none_is_refused(server: CollectionsServer, things: str, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.list(things, cursor=cursor)
    assert refused.value.fields[0].field == "cursor"


async def test_a_cursor_goes_with_its_own_order(server: CollectionsServer, things: str) -> None:
    for number in range(3):
        await server.add(things, title="x", n=number)
    cursor = (await server.list(things, sort="n", per_page=1))["next_cursor"]
    for other in ("-n", "n,title", ""):
        with pytest.raises(Invalid):
            await server.list(things, sort=other, cursor=cursor)


@on_one_engine
@pytest.mark.parametrize(
    "sort", ["zzz", "title;drop", "title,title", "meta", "tags", "$natural", "data.n", "n desc", ",", "--n", "title'"]
)
async def test_a_sort_that_is_none_is_refused(server: CollectionsServer, things: str, sort: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.list(things, sort=sort)
    assert {error.field for error in refused.value.fields} == {"sort"}


async def test_an_unknown_collection_is_not_found(server: CollectionsServer) -> None:
    for name in ("nothing", "sqlite_master", "$cmd", "../x", ""):
        with pytest.raises(NotFound):
            await server.list(name)


async def test_answers_are_json_written_once(server: CollectionsServer, things: str) -> None:
    record = await server.add(things, title="x")
    body = await server.raw(things, record["id"])
    assert body.content_type == "application/json"
    assert orjson.dumps(orjson.loads(body.data)) == body.data
