"""What those who do not see a field can neither set nor learn by writing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody

from fastcms.collections.v1 import profiles_pb2, records_pb2
from fastcms_common.errors import Conflict, Invalid
from fastcms_common.ids import new_id
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import PARTIAL_INDEX
from tests.storages import needs

NOBODY = ""
FIELDS: tuple[Any, ...] = (
    "title",
    {"name": "code", "type": "text", "unique": True, "hidden": True},
    {"name": "score", "type": "number", "min": 0.0, "max": 10.0, "hidden": True, "default": 5},
)


@pytest.fixture
async def posts(server: CollectionsServer) -> dict[str, Any]:
    """A record of an open collection with hidden fields, as admins see it."""
    await server.open("posts", *FIELDS)
    return await server.add("posts", title="t", code="taken", score=9)


def told(error: pytest.ExceptionInfo[Any]) -> list[tuple[str, str]]:
    return [(field.field, field.message) for field in error.value.fields]


async def test_a_hidden_field_is_no_field_to_whoever_writes(server: CollectionsServer, posts: dict[str, Any]) -> None:
    for bearer in (await server.user(), NOBODY):
        for name, value in (("code", "taken"), ("code", "free"), ("score", 11), ("score", 1)):
            with pytest.raises(Invalid) as hidden:
                await server.add("posts", bearer, title="x", **{name: value})
            with pytest.raises(Invalid) as unknown:
                await server.add("posts", bearer, title="x", **{"z" * len(name): value})
            assert [(field.replace("z" * len(name), name), text) for field, text in told(unknown)] == told(hidden)
        for change in ({"code": "free"}, {"score": 1}, {"score+": 1}, {"score+": 2}, {"score-": 1}):
            with pytest.raises(Invalid):
                await server.patch("posts", posts["id"], change, bearer)
    assert (await server.get("posts", posts["id"]))["data"] == posts["data"]


async def test_a_hidden_field_has_its_default_and_admins_set_it(server: CollectionsServer) -> None:
    await server.open("posts", *FIELDS)
    made = await server.add("posts", NOBODY, title="x")
    assert "score" not in made["data"]
    assert (await server.get("posts", made["id"]))["data"]["score"] == 5
    assert (await server.patch("posts", made["id"], {"score+": 1}))["data"]["score"] == 6


async def test_what_needs_a_hidden_value_is_for_admins_to_make(server: CollectionsServer) -> None:
    await server.open("posts", "title", {"name": "code", "type": "text", "required": True, "hidden": True})
    with pytest.raises(Invalid) as refused:
        await server.add("posts", NOBODY, title="x")
    assert told(refused) == [("data", "lacks what only admins can give")]
    made = await server.add("posts", title="x", code="c")
    assert (await server.patch("posts", made["id"], {"title": "y"}, NOBODY))["data"] == {"title": "y"}


@needs(PARTIAL_INDEX)
async def test_a_conflict_does_not_name_what_is_hidden(server: CollectionsServer) -> None:
    """Of an index over both kinds of fields the caller hears of those that they see."""
    index = {"name": "both", "fields": ["title", "score"], "unique": True}
    await server.open("posts", *FIELDS, indexes=[index])
    await server.add("posts", title="t")
    with pytest.raises(Conflict) as refused:
        await server.add("posts", NOBODY, title="t")
    assert told(refused) == [("data.title", "is already taken")]
    assert "score" not in str(refused.value)
    with pytest.raises(Conflict) as open_refusal:
        await server.add("posts", title="t")
    assert [field for field, _ in told(open_refusal)] == ["data.title", "data.score"]


async def test_bulk_routes_know_no_hidden_fields_either(server: CollectionsServer, posts: dict[str, Any]) -> None:
    async def send(name: str, body: Any) -> Any:
        request = getattr(records_pb2, f"{name}Request")(collection="posts", body=HttpBody(data=orjson.dumps(body)))
        return orjson.loads((await server.call(getattr(server.records, name), request, NOBODY)).data)

    item = {"id": posts["id"], "data": {"code": "free"}}
    for name in ("BatchCreateRecords", "UpsertRecords"):
        answer = await send(name, {"records": [item | {"id": new_id()}, {"data": {"score": 1}}]})
        assert (answer["created"], answer["failed"]) == (0, 2), name
    assert (await send("UpsertRecords", {"records": [item]}))["failed"] == 1
    with pytest.raises(Invalid):
        await send("BulkUpdateRecords", {"record_ids": [posts["id"]], "data": {"code": "free"}})
    assert (await server.get("posts", posts["id"]))["data"] == posts["data"]


async def test_a_member_registers_without_what_is_hidden(server: CollectionsServer) -> None:
    realm = (await server.create("members", *FIELDS, type="auth")).id
    service = await server.service()

    async def register(**data: Any) -> Any:
        id = new_id()
        request = profiles_pb2.CreateProfileRequest(
            collection=realm, id=id, email=f"{id}@example.com", data=orjson.dumps(data)
        )
        return await server.call(server.profiles.CreateProfile, request, service)

    with pytest.raises(Invalid) as refused:
        await register(title="t", score=10)
    assert [field for field, _ in told(refused)] == ["score"]
    made = await register(title="t")
    assert (await server.get("members", made.id))["data"]["score"] == 5


async def test_who_changes_a_record_without_viewing_it_sees_nothing_of_it(server: CollectionsServer) -> None:
    await server.open("posts", "title", "body", view_rule="title = 'open'")
    closed, shown = [await server.add("posts", title=title, body="b") for title in ("closed", "open")]
    answer = await server.patch("posts", closed["id"], {"body": "c"}, NOBODY)
    assert (answer["id"], answer["data"]) == (closed["id"], {})
    assert (await server.get("posts", closed["id"]))["data"]["body"] == "c"
    assert (await server.patch("posts", shown["id"], {"body": "c"}, NOBODY))["data"] == {"title": "open", "body": "c"}


async def test_a_refused_deletion_names_relations_to_admins_only(server: CollectionsServer) -> None:
    await server.open("teams", "name")
    relation = {"name": "team", "type": "relation", "collection": "teams", "on_delete": "restrict"}
    await server.create("secrets", relation)
    team = await server.add("teams", name="x")
    await server.add("secrets", team=team["id"])
    with pytest.raises(Conflict) as refused:
        await server.remove("teams", team["id"], NOBODY)
    assert "secrets" not in str(refused.value)
    with pytest.raises(Conflict, match=r"secrets\.team \(1\)"):
        await server.remove("teams", team["id"])
