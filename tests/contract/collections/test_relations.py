"""Relations: what they point to is there, `on_delete`, expand."""

from __future__ import annotations

from typing import Any

import pytest

from collections_service import store
from collections_service.models import Collection
from fastcms_common.errors import Conflict, Invalid, NotFound
from fastcms_common.ids import new_id
from fastcms_common.storage import ALL, Query
from tests.contract.collections.many import Many
from tests.contract.collections.server import CollectionsServer

NOBODY = ""


def relation(name: str, collection: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "relation", "collection": collection, **more}


async def test_a_relation_points_to_a_record(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors"), relation("more", "authors", max_select=3))
    author = (await server.add("authors", name="a"))["id"]
    nobody = new_id()
    for data, field in (
        ({"author": nobody}, "data.author"),
        ({"author": "x"}, "data.author"),
        ({"author": [author]}, "data.author"),
        ({"more": [author, nobody]}, "data.more[1]"),
        ({"more": [author, author]}, "data.more"),
        ({"more": author}, "data.more"),
    ):
        with pytest.raises(Invalid) as refused:
            await server.add("posts", **data)
        assert [error.field for error in refused.value.fields] == [field]
    post = await server.add("posts", author=author, more=[author])
    with pytest.raises(Invalid) as refused:
        await server.patch("posts", post["id"], {"more+": [nobody]})
    assert refused.value.fields[0].field.startswith("data.more")


async def test_restrict_names_what_points_there(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", on_delete="restrict"))
    author = (await server.add("authors", name="a"))["id"]
    posts = [(await server.add("posts", author=author))["id"] for _ in range(2)]
    with pytest.raises(Conflict) as refused:
        await server.remove("authors", author)
    assert "posts.author (2)" in refused.value.detail
    for post in posts:
        await server.remove("posts", post)
    await server.remove("authors", author)


async def test_set_null_empties_single_relations_and_shortens_lists(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open(
        "posts",
        relation("author", "authors", on_delete="set_null"),
        relation("more", "authors", max_select=3, on_delete="set_null"),
    )
    first, second = [(await server.add("authors", name=name))["id"] for name in "ab"]
    post = await server.add("posts", author=first, more=[first, second])
    etag = await server.etag("posts", post["id"])
    await server.remove("authors", first)
    after = await server.get("posts", post["id"])
    assert after["data"] == {"author": None, "more": [second]}
    assert after["updated"] > post["updated"]
    assert await server.etag("posts", post["id"]) != etag


async def test_a_cascade_spares_what_somebody_has_pointed_elsewhere(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was planned, and before it came to this record."""
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", on_delete="cascade"))
    first, second = [(await server.add("authors", name=name))["id"] for name in "ab"]
    moved, left = [(await server.add("posts", author=first))["id"] for _ in range(2)]
    delete_many = store.CollectionStore.delete_many

    async def late(self: store.CollectionStore, collection: Collection, where: Query = ALL) -> int:
        if collection.name == "posts":
            await server.patch("posts", moved, {"author": second})
        return await delete_many(self, collection, where)

    monkeypatch.setattr(store.CollectionStore, "delete_many", late)
    await server.remove("authors", first)
    assert (await server.get("posts", moved))["data"] == {"author": second}
    with pytest.raises(NotFound):
        await server.get("posts", left)


async def test_cascade_goes_all_the_way(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", on_delete="cascade"))
    await server.open("comments", relation("post", "posts", on_delete="cascade"), relation("answers", "comments"))
    await server.open("likes", relation("comment", "comments", on_delete="set_null"))
    author, other = [(await server.add("authors", name=name))["id"] for name in "ab"]
    post = (await server.add("posts", author=author))["id"]
    kept = (await server.add("posts", author=other))["id"]
    comment = (await server.add("comments", post=post))["id"]
    answer = (await server.add("comments", post=kept, answers=comment))["id"]
    like = (await server.add("likes", comment=comment))["id"]
    await server.remove("authors", author)
    for collection, id in (("posts", post), ("comments", comment)):
        with pytest.raises(NotFound):
            await server.get(collection, id)
    assert (await server.get("comments", answer))["data"] == {"post": kept, "answers": None}
    assert (await server.get("likes", like))["data"] == {"comment": None}


async def test_a_cascade_that_a_restriction_stops_deletes_nothing(server: CollectionsServer) -> None:
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", on_delete="cascade"))
    await server.open("bills", relation("post", "posts", on_delete="restrict"))
    author = (await server.add("authors", name="a"))["id"]
    post = (await server.add("posts", author=author))["id"]
    bill = (await server.add("bills", post=post))["id"]
    with pytest.raises(Conflict) as refused:
        await server.remove("authors", author)
    assert "bills.post" in refused.value.detail
    await server.get("posts", post)
    await server.remove("bills", bill)
    await server.remove("authors", author)
    assert (await server.list("posts"))["total"] == 0


async def test_a_ring_of_relations_goes_as_a_whole(server: CollectionsServer) -> None:
    await server.open("nodes", relation("next", "nodes", on_delete="cascade"))
    first = (await server.add("nodes"))["id"]
    second = (await server.add("nodes", next=first))["id"]
    await server.patch("nodes", first, {"next": second})
    await server.remove("nodes", second)
    assert (await server.list("nodes"))["total"] == 0


async def test_a_record_may_restrict_itself_away(server: CollectionsServer) -> None:
    await server.open("nodes", relation("same", "nodes", on_delete="restrict"))
    node = (await server.add("nodes"))["id"]
    await server.patch("nodes", node, {"same": node})
    await server.remove("nodes", node)


async def test_expand_follows_relations(server: CollectionsServer) -> None:
    await server.open("teams", "name")
    await server.open("authors", "name", relation("team", "teams"))
    await server.open("posts", "title", relation("author", "authors"), relation("more", "authors", max_select=3))
    team = (await server.add("teams", name="red"))["id"]
    ada, bob = [(await server.add("authors", name=name, team=team))["id"] for name in ("ada", "bob")]
    await server.add("posts", title="t", author=ada, more=[bob, ada])
    await server.add("posts", title="u")
    page = await server.list("posts", expand="author.team, more", sort="title")
    full, empty = page["items"]
    assert full["expand"]["author"]["data"]["name"] == "ada"
    assert full["expand"]["author"]["expand"]["team"]["data"] == {"name": "red"}
    assert [record["data"]["name"] for record in full["expand"]["more"]] == ["bob", "ada"]
    assert full["expand"]["more"][0]["expand"] is None
    assert empty["expand"] == {}
    for bad in ("title", "nope", "author.name", "author.team.name", "author..team", ",", "author.team.x.y", "$where"):
        with pytest.raises(Invalid) as refused:
            await server.list("posts", expand=bad)
        assert {error.field for error in refused.value.fields} == {"expand"}


async def test_sorting_along_a_relation(server: CollectionsServer) -> None:
    await server.open("teams", "name", view_rule="name != 'b'")
    await server.open("authors", "name", relation("team", "teams"))
    await server.open("posts", "title", relation("author", "authors"))
    for number, name in enumerate(("c", "a", "b")):
        team = (await server.add("teams", name=name))["id"]
        author = (await server.add("authors", name=name.upper(), team=team))["id"]
        await server.add("posts", title=str(number), author=author)
    await server.add("posts", title="3")
    assert await server.values("posts", "title", sort="author.team.name") == ["3", "1", "2", "0"]
    assert await server.values("posts", "title", sort="-author.name,title") == ["0", "2", "1", "3"]
    assert await server.values("posts", "title", "title > '0'", sort="author.name", per_page=1, page=2) == ["1"]
    seen, cursor = [], ""
    while cursor is not None:
        page = await server.list("posts", sort="-author.team.name", per_page=1, cursor=cursor)
        seen += [item["data"]["title"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["0", "2", "1", "3"]
    # What may not be viewed has no name to sort by.
    user = await server.user()
    assert await server.values("posts", "title", bearer=user, sort="-author.team.name,title") == ["0", "1", "2", "3"]
    for bad in ("author.nope", "author.a.b.c.d", "title.x", "author."):
        with pytest.raises(Invalid):
            await server.list("posts", sort=bad)


async def test_the_default_of_a_relation_is_a_record(server: CollectionsServer) -> None:
    await server.open("teams", "name")
    red = (await server.add("teams", name="red"))["id"]
    for target, default in (("teams", new_id()), ("posts", red)):
        with pytest.raises(Invalid) as refused:
            await server.open("posts", relation("team", target, default=default))
        assert [error.field for error in refused.value.fields] == ["schema.fields[0].default"]
    hidden = relation("team", "teams", default=red, hidden=True, on_delete="restrict")
    made = await server.open("posts", "title", hidden)
    post = await server.add("posts", "", title="t")
    assert (await server.get("posts", post["id"]))["data"]["team"] == red
    with pytest.raises(Invalid) as refused:
        await server.change(made.id, schema=["title", {**hidden, "default": new_id()}])
    assert [error.field for error in refused.value.fields] == ["schema.fields[1].default"]
    # It may go, as long as nothing points to it; then only those who see the field are told which it is.
    await server.remove("posts", post["id"])
    await server.remove("teams", red)
    for bearer, field in ((None, "data.team"), ("", "data")):
        with pytest.raises(Invalid) as refused:
            await server.add("posts", bearer, title="u")
        assert [error.field for error in refused.value.fields] == [field]


async def test_more_relations_than_can_be_looked_at_still_restrict(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_IDS", 2)
    await server.open("authors", "name")
    await server.open("posts", relation("author", "authors", on_delete="restrict"))
    await server.open("likes", relation("author", "authors", on_delete="cascade"))
    kept, liked = [(await server.add("authors", name=name))["id"] for name in "ab"]
    for _ in range(3):
        await server.add("posts", author=kept)
        await server.add("likes", author=liked)
    with pytest.raises(Conflict) as refused:
        await server.remove("authors", kept)
    assert "posts.author (3)" in refused.value.detail
    with pytest.raises(Conflict):
        await server.remove("authors", liked)
    with pytest.raises(Conflict):
        await server.truncate("authors", cascade=True)
    assert [(await server.list(name))["total"] for name in ("authors", "posts", "likes")] == [2, 3, 3]


async def test_a_write_that_is_done_is_no_error_where_its_answer_cannot_be_made(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_ROWS", 2)
    number = {"name": "n", "type": "number"}
    await server.open("posts", number)
    too_far = {"view_rule": "@collection.posts.n >= n", "create_rule": "", "update_rule": ""}
    await server.create("things", number, relation("next", "things"), **too_far)
    for _ in range(3):
        await server.add("posts", n=9)
    first = (await server.add("things", n=1))["id"]
    with pytest.raises(Invalid) as refused:
        await server.get("things", first, NOBODY)
    assert refused.value.reason == "EXPRESSION_TOO_BROAD"
    told = [
        await server.patch("things", first, {"n+": 1}, NOBODY),
        *(await Many(server).upsert({"id": first, "data": {"n+": 1}}, bearer=NOBODY))["records"],
        await server.send("things", {"data": {"n": 7, "next": first}}, NOBODY, expand="next"),
    ]
    assert [answer["data"] for answer in told] == [{}] * 3
    assert [answer["id"] for answer in told[:2]] == [first] * 2
    assert sorted(await server.values("things", "n")) == [3, 7]
