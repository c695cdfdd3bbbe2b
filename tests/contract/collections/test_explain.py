"""What an admin is told about a rule."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastcms.collections.v1 import collections_pb2, profiles_pb2
from fastcms_common.errors import Invalid, NotFound
from fastcms_common.ids import new_id
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import PLANS
from tests.storages import Storage, needs


@pytest.fixture
async def posts(server: CollectionsServer) -> CollectionsServer:
    await server.create("members", "name", type="auth")
    await server.create(
        "posts",
        "title",
        {"name": "n", "type": "number"},
        {"name": "author", "type": "relation", "collection": "members"},
        list_rule='author = @request.auth.id && (n > 1 || title = "x")',
        view_rule="",
        indexes=[collections_pb2.CollectionIndex(name="by_n", fields=["n"])],
    )
    return server


async def explain(server: CollectionsServer, **question: Any) -> dict[str, Any]:
    request = collections_pb2.ExplainRuleRequest(collection="posts", **question)
    return orjson.loads((await server.call(server.collections.ExplainRule, request)).data)


async def test_a_rule_is_taken_apart(posts: CollectionsServer) -> None:
    user = new_id()
    answer = await explain(posts, rule="list", as_user=user)
    assert (
        answer["expression"]
        == 'author = @request.auth.id && n > 1 || title = "x"'.replace("n > 1 || title", "(n > 1 || title") + ")"
    )
    assert answer["parsed"]["and"][0] == {"left": "author", "op": "=", "right": "@request.auth.id"}
    assert answer["compiled"]["and"][0] == {"left": {"field": "author"}, "op": "=", "right": {"value": user}}
    assert answer["index"] == "relation author"
    assert answer["verdict"] is None


async def test_an_index_that_serves_and_one_that_is_missing(posts: CollectionsServer, storage: Storage) -> None:
    assert (await explain(posts, expression="n > 3"))["index"] == "by_n"
    assert (await explain(posts, expression="", filter="n = 3 && title = 'x'"))["index"] == "by_n"
    missing = await explain(posts, expression="title = 'x'")
    assert (missing["index"], missing["missing_index"]) == (None, ["title"])
    assert (await explain(posts, expression="id = 'x'"))["index"] == "id"
    assert (await explain(posts, expression="n != 3"))["missing_index"] == []
    either = await explain(posts, expression="n = 3 || title = 'x'")
    assert (either["index"], either["missing_index"]) == (None, ["title"])
    assert either["index_source"] == ("inferred" if storage.lacks(PLANS) else "database")
    assert bool(either["plan"]) != storage.lacks(PLANS)


@needs(PLANS)
async def test_the_database_names_each_index_that_it_searches(posts: CollectionsServer) -> None:
    answer = await explain(posts, expression=f"n = 3 || author = '{new_id()}'")
    assert sorted(answer["index"].split(", ")) == ["by_n", "relation author"]
    assert answer["missing_index"] == []


async def test_a_verdict_names_the_clause_that_decided(posts: CollectionsServer) -> None:
    member = new_id()
    realm = await posts.call(
        posts.collections.GetCollectionByName, collections_pb2.GetCollectionByNameRequest(name="members")
    )
    profile = profiles_pb2.CreateProfileRequest(collection=realm.id, id=member, email="a@example.com")
    await posts.call(posts.profiles.CreateProfile, profile, await posts.service())
    record = (await posts.add("posts", title="y", n=2, author=member))["id"]
    seen = (await explain(posts, as_user=member, record=record))["verdict"]
    assert seen["allowed"] is True
    unseen = (await explain(posts, record=record))["verdict"]
    assert unseen["allowed"] is False
    assert unseen["decided_by"].endswith("author = @request.auth.id")
    await posts.patch("posts", record, {"n": 0})
    low = (await explain(posts, as_user=member, record=record))["verdict"]
    assert low["allowed"] is False
    assert 'n > 1 || title = "x"' in low["decided_by"]
    results = {clause["clause"]: clause["result"] for clause in low["clauses"][0]["parts"]}
    assert results["author = @request.auth.id"] is True


async def test_null_and_empty_rules_explain_themselves(posts: CollectionsServer) -> None:
    record = (await posts.add("posts", title="y"))["id"]
    closed = await explain(posts, rule="update", record=record)
    assert (closed["expression"], closed["compiled"], closed["verdict"]["allowed"]) == (None, False, False)
    opened = await explain(posts, rule="view", record=record)
    assert (opened["expression"], opened["compiled"], opened["verdict"]["allowed"]) == ("", True, True)


async def test_what_cannot_be_explained_is_refused(posts: CollectionsServer) -> None:
    for question, field in (
        ({"expression": "nope = 1"}, "expression"),
        ({"filter": "("}, "filter"),
        ({"rule": "x"}, "rule"),
    ):
        with pytest.raises(Invalid) as refused:
            await explain(posts, **question)
        assert refused.value.fields[0].field == field
    with pytest.raises(NotFound):
        await explain(posts, record=new_id())
