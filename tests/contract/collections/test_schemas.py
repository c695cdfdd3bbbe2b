"""Collections over gRPC: what a schema may be, and what a change of one may do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collections_service.store import CollectionStore
from fastcms.collections.v1 import collections_pb2
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated
from fastcms_common.storage import Table, open_store
from tests.contract.collections.engines import on_one_engine
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import COMPUTED_SORT
from tests.storages import Storage


async def test_a_collection_reads_back_as_it_was_made(server: CollectionsServer) -> None:
    made = await server.create(
        "posts",
        "title",
        {"name": "n", "type": "number", "min": 1.0, "default": 3},
        {"name": "parent", "type": "relation", "collection": "posts", "on_delete": "cascade"},
        list_rule="",
        view_rule="n > 1",
        indexes=[collections_pb2.CollectionIndex(fields=["n", "-title"])],
    )
    assert made.name == "posts"
    assert made.type == "base"
    assert [field.name for field in made.schema.fields] == ["title", "n", "parent"]
    assert made.schema.fields[1].default == b"3"
    assert made.schema.fields[2].collection == "posts"
    assert made.HasField("list_rule")
    assert made.list_rule == ""
    assert made.view_rule == "n > 1"
    assert not made.HasField("create_rule")
    assert made.indexes[0].name == "idx_n_title"
    by_id = await server.call(server.collections.GetCollection, collections_pb2.GetCollectionRequest(id=made.id))
    by_name = await server.call(
        server.collections.GetCollectionByName, collections_pb2.GetCollectionByNameRequest(name="posts")
    )
    assert by_id == by_name == made


@on_one_engine
@pytest.mark.parametrize(
    "name", ["Posts", "1posts", "", "a" * 64, "a-b", "a.b", "a$b", "name", "auth", "records", "a b", "_a", "é"]
)
async def test_a_bad_name_is_refused(server: CollectionsServer, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.create(name)
    assert [error.field for error in refused.value.fields] == ["name"]


async def test_a_name_is_given_once(server: CollectionsServer) -> None:
    await server.create("posts")
    with pytest.raises(Conflict) as refused:
        await server.create("posts")
    assert refused.value.reason == "COLLECTION_EXISTS"


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": "id", "type": "text"}, "name"),
    ({"name": "a-b", "type": "text"}, "name"),
    ({"name": "a+", "type": "number"}, "name"),
    ({"name": "__proto__", "type": "text"}, "name"),
    ({"name": "true", "type": "text"}, "name"),
    ({"name": "a", "type": "blob"}, "type"),
    ({"name": "a", "type": "text", "min": 1.0}, "min"),
    ({"name": "a", "type": "number", "min": 2.0, "max": 1.0}, "min"),
    ({"name": "a", "type": "number", "max": float("nan")}, "max"),
    ({"name": "a", "type": "text", "min_length": 3, "max_length": 2}, "min_length"),
    ({"name": "a", "type": "text", "min_length": -1}, "min_length"),
    ({"name": "a", "type": "text", "pattern": "("}, "pattern"),
    ({"name": "a", "type": "text", "pattern": "a)|(b"}, "pattern"),
    ({"name": "a", "type": "text", "pattern": "(?=a)"}, "pattern"),
    ({"name": "a", "type": "text", "pattern": r"(a)\1"}, "pattern"),
    ({"name": "a", "type": "text", "pattern": "(a{1000}){1000}"}, "pattern"),
    ({"name": "a", "type": "select"}, "values"),
    ({"name": "a", "type": "select", "values": ["x", "x"]}, "values"),
    ({"name": "a", "type": "select", "values": ["x"], "max_select": 0}, "max_select"),
    ({"name": "a", "type": "select", "values": ["x", "y"], "max_select": 2, "unique": True}, "unique"),
    ({"name": "a", "type": "relation"}, "collection"),
    ({"name": "a", "type": "relation", "collection": "nowhere"}, "collection"),
    ({"name": "a", "type": "relation", "collection": "posts", "required": True, "on_delete": "set_null"}, "on_delete"),
    ({"name": "a", "type": "json", "unique": True}, "unique"),
    ({"name": "a", "type": "autodate", "required": True}, "required"),
    ({"name": "a", "type": "number", "default": "x"}, "default"),
    ({"name": "a", "type": "number", "max": 1.0, "default": 2}, "default"),
    ({"name": "a", "type": "select", "values": ["x"], "default": "y"}, "default"),
]


@on_one_engine
@pytest.mark.parametrize(("field", "wrong"), BAD_FIELDS)
async def test_a_bad_field_is_refused_by_name(server: CollectionsServer, field: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.create("posts", "title", field)
    assert f"schema.fields[1].{wrong}" in {error.field for error in refused.value.fields}


async def test_all_mistakes_are_named_at_once(server: CollectionsServer) -> None:
    with pytest.raises(Invalid) as refused:
        await server.create("Bad", {"name": "id", "type": "text"}, {"name": "a", "type": "select"}, options=b'{"x": 1}')
    named = {error.field for error in refused.value.fields}
    assert named == {"name", "schema.fields[0].name", "schema.fields[1].values", "options.x"}


@on_one_engine
@pytest.mark.parametrize("name", ["email", "password", "verified", "role", "token", "email_visibility"])
async def test_members_have_no_field_that_looks_like_the_systems(server: CollectionsServer, name: str) -> None:
    with pytest.raises(Invalid):
        await server.create("members", name, type="auth")
    await server.create("things", name)


@on_one_engine
@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (b"[]", "options"),
        (b"{", "options"),
        (b'{"auth": 1}', "options.auth"),
        (b'{"auth": {"otp_enabled": 1}}', "options.auth.otp_enabled"),
        (b'{"auth": {"zzz": true}}', "options.auth.zzz"),
        (b'{"auth": {"identity_field": "nowhere"}}', "options.auth.identity_field"),
    ],
)
async def test_bad_options_are_refused_by_name(server: CollectionsServer, options: bytes, wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        await server.create("members", "company", type="auth", options=options)
    assert [error.field for error in refused.value.fields] == [wrong]


async def test_a_renamed_field_keeps_its_values(server: CollectionsServer) -> None:
    made = await server.open("posts", "title", "body", view_rule='body = "b"')
    record = await server.add("posts", title="t", body="b")
    title, body = made.schema.fields
    with pytest.raises(Invalid) as refused:
        await server.change(made.id, schema=[{"id": body.id, "name": "text", "type": "text"}])
    assert refused.value.fields[0].field == "view_rule"
    # The two swap their names.
    swapped = [{"id": title.id, "name": "body", "type": "text"}, {"id": body.id, "name": "title", "type": "text"}]
    await server.change(made.id, schema=swapped, view_rule="")
    assert (await server.get("posts", record["id"]))["data"] == {"body": "t", "title": "b"}


async def test_a_field_of_an_old_name_finds_none_of_the_old_values(server: CollectionsServer) -> None:
    made = await server.open("posts", "title", "secret")
    record = await server.add("posts", title="t", secret="s")
    await server.change(made.id, schema=["title"])
    await server.change(made.id, schema=["title", "secret"])
    assert (await server.get("posts", record["id"]))["data"] == {"title": "t", "secret": None}
    store = await open_store(server.settings.storage_url, "collections")
    table = Table("r_" + made.id.replace("-", ""))
    await store.ensure(table)
    assert "s" not in (await store.find(table.name))[0].values()
    await store.close()


async def test_a_field_added_is_null_and_one_with_a_default_that_is_required_is_filled(
    server: CollectionsServer,
) -> None:
    made = await server.open("posts", "title")
    record = await server.add("posts", title="t")
    await server.change(
        made.id,
        schema=["title", "more", {"name": "kind", "type": "select", "values": ["a"], "required": True, "default": "a"}],
    )
    assert (await server.get("posts", record["id"]))["data"] == {"title": "t", "more": None, "kind": "a"}


@pytest.mark.parametrize(
    ("field", "count"),
    [
        ({"name": "n", "type": "number", "required": True}, "1 record has"),
        ({"name": "n", "type": "number", "unique": True}, "2 records have"),
        ({"name": "n", "type": "number", "min": 2.0}, "2 records have"),
        ({"name": "n", "type": "number", "max": 2.0}, "1 record has"),
    ],
)
async def test_a_change_that_records_break_is_refused_with_how_many(
    server: CollectionsServer, field: dict[str, Any], count: str
) -> None:
    made = await server.open("posts", {"name": "n", "type": "number"})
    for number in (1, 1, 3, None):
        await server.add("posts", n=number)
    with pytest.raises(Conflict) as refused:
        await server.change(made.id, schema=[field])
    assert refused.value.reason == "RECORDS_BREAK_IT"
    assert count in refused.value.detail
    assert refused.value.fields[0].field == "schema.fields[0]"
    assert len(await server.values("posts", "n")) == 4
    await server.add("posts", n=1)


async def test_a_type_does_not_change(server: CollectionsServer) -> None:
    made = await server.open("posts", "title")
    with pytest.raises(Invalid) as refused:
        await server.change(made.id, schema=[{"id": made.schema.fields[0].id, "name": "title", "type": "number"}])
    assert refused.value.fields[0].field == "schema.fields[0].type"


async def test_a_change_leaves_what_it_does_not_name(server: CollectionsServer) -> None:
    made = await server.create("posts", "title", list_rule="", view_rule='title = "x"')
    changed = await server.change(made.id, list_rule=None)
    assert not changed.HasField("list_rule")
    assert changed.view_rule == made.view_rule
    assert changed.schema == made.schema
    renamed = await server.change(made.id, name="articles")
    assert renamed.name == "articles"
    with pytest.raises(NotFound):
        await server.list("posts")


async def test_a_collection_that_others_need_is_not_deleted(server: CollectionsServer) -> None:
    target = await server.open("authors", "name")
    await server.open("posts", {"name": "author", "type": "relation", "collection": "authors"})
    with pytest.raises(Conflict) as refused:
        await server.drop(target.id)
    assert "posts.author" in refused.value.detail


async def test_rules_keep_what_they_speak_of(server: CollectionsServer) -> None:
    teams = await server.open("teams", "name")
    await server.open("posts", "title", list_rule='@collection.teams.name = "x"')
    for change in ({"name": "groups"}, {"schema": ["other"]}):
        with pytest.raises(Conflict) as refused:
            await server.change(teams.id, **change)
        assert "posts.list_rule" in refused.value.detail
    with pytest.raises(Conflict):
        await server.drop(teams.id)


async def test_a_deleted_collection_is_gone_and_its_name_free(server: CollectionsServer) -> None:
    made = await server.open("posts", "title")
    await server.add("posts", title="t")
    await server.drop(made.id)
    with pytest.raises(NotFound):
        await server.list("posts")
    await server.open("posts", "title")
    assert (await server.list("posts"))["total"] == 0


@on_one_engine
async def test_fields_are_not_taken_away_by_null(server: CollectionsServer) -> None:
    made = await server.open("posts", "title")
    post = await server.add("posts", title="t")
    with pytest.raises(Invalid) as refused:
        await server.change(made.id, schema=None)
    assert [error.field for error in refused.value.fields] == ["schema"]
    assert (await server.get("posts", post["id"]))["data"] == {"title": "t"}
    await server.change(made.id, schema=[])
    assert (await server.get("posts", post["id"]))["data"] == {}


async def test_truncate_empties_and_keeps_the_rest(server: CollectionsServer) -> None:
    made = await server.open("posts", {"name": "code", "type": "text", "unique": True})
    for number in range(3):
        await server.add("posts", code=str(number))
    answer = await server.truncate("posts")
    assert (answer.deleted_count, answer.collection) == (3, "posts")
    assert (await server.truncate("posts")).deleted_count == 0
    await server.add("posts", code="1")
    with pytest.raises(Conflict):
        await server.add("posts", code="1")
    (event,) = [event for event in await server.audit("truncated") if b"3" in event.details]
    assert event.resource_id == made.id
    with pytest.raises(NotFound):
        await server.truncate("nothing")


async def test_truncate_minds_relations(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open("posts", {"name": "author", "type": "relation", "collection": "authors", "on_delete": "cascade"})
    await server.open("likes", {"name": "author", "type": "relation", "collection": "authors", "on_delete": "set_null"})
    author = await server.add("authors", name="a")
    await server.add("posts", author=author["id"])
    await server.add("likes", author=author["id"])
    with pytest.raises(Conflict) as refused:
        await server.truncate("authors")
    assert "posts.author" in refused.value.detail
    await server.truncate("authors", cascade=True)
    assert (await server.list("posts"))["total"] == 0
    assert await server.values("likes", "author") == [None]


async def test_a_truncate_does_all_that_it_takes_or_nothing(server: CollectionsServer) -> None:
    def relation(name: str, collection: str, on_delete: str) -> dict[str, str]:
        return {"name": name, "type": "relation", "collection": collection, "on_delete": on_delete}

    authors = await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", "cascade"))
    await server.open("likes", relation("author", "authors", "cascade"))
    bills = await server.open("bills", relation("like", "likes", "restrict"))
    # What goes itself stands in nobody's way.
    await server.change(authors.id, schema=["name", relation("best", "posts", "restrict")])
    author = await server.add("authors", name="a")
    post = await server.add("posts", author=author["id"])
    await server.patch("authors", author["id"], {"best": post["id"]})
    like = await server.add("likes", author=author["id"])
    await server.add("bills", like=like["id"])
    with pytest.raises(Conflict) as refused:
        await server.truncate("authors", cascade=True)
    assert "bills.like (1)" in refused.value.detail
    assert [(await server.list(name))["total"] for name in ("authors", "posts", "likes", "bills")] == [1] * 4
    # Nor does what goes for another reason.
    await server.change(
        bills.id, schema=[relation("like", "likes", "restrict"), relation("author", "authors", "cascade")]
    )
    (bill,) = (await server.list("bills"))["items"]
    await server.patch("bills", bill["id"], {"author": author["id"]})
    await server.truncate("authors", cascade=True)
    assert [(await server.list(name))["total"] for name in ("authors", "posts", "likes", "bills")] == [0] * 4


async def test_an_empty_list_points_to_nothing(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    several = {"name": "authors", "type": "relation", "collection": "authors", "max_select": 2, "on_delete": "cascade"}
    await server.open("posts", several)
    await server.open("likes", {**several, "on_delete": "set_null"})
    post = await server.add("posts", authors=[])
    await server.add("authors", name="a")
    await server.truncate("authors")
    author = await server.add("authors", name="b")
    await server.add("likes", authors=[author["id"]])
    await server.truncate("authors", cascade=True)
    assert (await server.get("posts", post["id"]))["data"] == {"authors": []}
    assert await server.values("likes", "authors") == [[]]


async def test_only_admins_touch_collections(server: CollectionsServer) -> None:
    made = await server.open("posts", "title")
    user = await server.user()
    for bearer, error in ((user, Denied), ("", Unauthenticated)):
        for method, request in (
            (server.collections.ListCollections, collections_pb2.ListCollectionsRequest()),
            (server.collections.CreateCollection, collections_pb2.CreateCollectionRequest(name="x")),
            (server.collections.DeleteCollection, collections_pb2.DeleteCollectionRequest(id=made.id)),
            (server.collections.TruncateCollection, collections_pb2.TruncateCollectionRequest(name="posts")),
            (server.collections.ExplainRule, collections_pb2.ExplainRuleRequest(collection="posts")),
        ):
            with pytest.raises(error):
                await server.call(method, request, bearer)


async def test_changes_are_audited(server: CollectionsServer) -> None:
    made = await server.create("posts", "title")
    await server.change(made.id, list_rule="", schema=["title", "more"])
    await server.drop(made.id)
    for action in ("created", "changed", "rules_changed", "deleted"):
        (event,) = await server.audit(action)
        assert (event.event_type, event.resource_id, event.ip_address) == ("collection", made.id, "10.0.0.9")
    (rules,) = await server.audit("rules_changed")
    assert b'"list_rule":{"old":null,"new":""}' in rules.details


async def test_a_large_collection_is_emptied_and_changed_in_constant_time(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    monkeypatch.setattr("collections_service.schemas.LARGE", 5)
    made = await server.open("posts", {"name": "n", "type": "number", "unique": True}, "title")
    for number in range(7):
        await server.add("posts", n=number, title="t")
    changed = await server.change(made.id, schema=[{"name": "n", "type": "number", "unique": True}, "title", "more"])
    await server.add("posts", n=7, more="m")
    assert await server.values("posts", "n", "more = 'm'") == [7]
    if not storage.lacks(COMPUTED_SORT):
        assert await server.values("posts", "n", sort="-more,n", per_page=2) == [7, 0]
    answer = await server.truncate("posts")
    assert (answer.deleted_count, answer.collection) == (8, "posts")
    assert (await server.list("posts"))["total"] == 0
    await server.add("posts", n=1)
    with pytest.raises(Conflict):
        await server.add("posts", n=1)
    reads = await server.call(server.collections.GetCollection, collections_pb2.GetCollectionRequest(id=made.id))
    assert reads == changed
    await server.drop(made.id)


async def test_writes_beside_an_exchange_of_tables_are_before_or_after_it(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collections_service.schemas.LARGE", 5)
    await server.open("posts", {"name": "n", "type": "number"})
    for number in range(7):
        await server.add("posts", n=number)

    async def write() -> int:
        written = 0
        while not truncating.done():
            await server.add("posts", n=100)
            written += 1
        return written

    truncating = asyncio.create_task(server.truncate("posts"))
    written = sum(await asyncio.gather(write(), write()))
    left = (await server.list("posts"))["total"]
    assert truncating.result().deleted_count + left == 7 + written
    assert await server.values("posts", "n", "n < 100") == []


@pytest.mark.parametrize("large", [5, 10_000])
async def test_values_of_a_removed_field_never_come_back(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr("collections_service.schemas.LARGE", large)
    code = {"name": "code", "type": "text", "unique": True}
    made = await server.open("posts", "title", code, {"name": "next", "type": "relation", "collection": "posts"})
    ids = [(await server.add("posts", title="t", code=str(number)))["id"] for number in range(7)]
    await server.patch("posts", ids[0], {"next": ids[1]})
    await server.change(made.id, schema=["title"])
    # What pointed there does so no more.
    await server.remove("posts", ids[1])
    for again in ({"name": "code", "type": "number"}, {"name": "code", "type": "json"}, code):
        await server.change(made.id, schema=["title", again])
        assert await server.values("posts", "code", "code = null") == [None] * 6, again
        assert await server.values("posts", "code", "code != null") == [], again
        record = await server.patch("posts", ids[0], {"title": "u"})
        assert record["data"] == {"title": "u", "code": None}
        await server.change(made.id, schema=["title"])


async def test_a_collection_whose_table_cannot_be_made_is_not_there(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(CollectionStore, "ensure_table", refusing)
        with pytest.raises(Conflict):
            await server.open("posts", "title")
    await server.open("posts", "title")
    await server.add("posts", title="t")
    assert await server.values("posts", "title") == ["t"]


async def refusing(*_: object) -> None:
    raise Conflict("The database does not make this table.")
