"""Inserting, changing, replacing, deleting: what is done, what is refused, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms_common.errors import Conflict, Invalid
from fastcms_common.storage import Change, Duplicate, Index, Store, Table, eq, ge, matches
from fastcms_common.storage.values import INT_MAX
from tests.contract.storage.conftest import USERS, user
from tests.mongo_server import ALL_OF_AN_ARRAY, PARTIAL_INDEX_OF_SEVERAL, UNIQUE_ON_UPDATE
from tests.storages import Storage, needs


async def test_a_unique_value_is_taken_once(store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    with pytest.raises(Duplicate) as refused:
        await store.insert("users", user("2", email="a@x"))
    assert isinstance(refused.value, Conflict)
    assert (refused.value.index, refused.value.paths) == ("email", ("email",))
    assert refused.value.fields[0].field == "email"
    assert await store.get("users", "2") is None


async def test_an_id_is_taken_once(store: Store) -> None:
    await store.insert("users", user("1", n=1))
    with pytest.raises(Duplicate) as refused:
        await store.insert("users", user("1", login="other", n=2))
    assert (refused.value.index, refused.value.paths) == ("id", ("id",))
    assert await store.get("users", "1") == user("1", n=1)


async def test_the_index_that_an_insert_breaks_is_named(store: Store) -> None:
    await store.insert_many("users", [user("1", email="a@x"), user("2", email="b@x")])
    for email, index in ((None, "tenant_login"), ("a@x", "email")):
        for insert in (store.insert, store.upsert):
            with pytest.raises(Duplicate) as refused:
                await insert("users", user("3", login="x" if email else "1", email=email))
            assert refused.value.index == index


@needs(UNIQUE_ON_UPDATE)
async def test_the_index_that_a_change_breaks_is_named(store: Store) -> None:
    await store.insert_many("users", [user("1", email="a@x"), user("2", email="b@x")])
    for write in (
        store.update("users", "2", Change(set={"login": "1"})),
        store.update_many("users", eq("id", "2"), Change(set={"login": "1"})),
        store.replace("users", user("2", login="1")),
        store.upsert("users", user("2", login="1")),
    ):
        with pytest.raises(Duplicate) as refused:
            await write
        assert (refused.value.index, refused.value.paths) == ("tenant_login", ("tenant", "login"))
    assert await store.get("users", "2") == user("2", email="b@x")


async def test_null_collides_with_nothing(store: Store) -> None:
    outcomes = await store.insert_many("users", [user("1", email=None), user("2", email=None), user("3"), user("4")])
    assert outcomes == [None] * 4
    await store.insert("users", user("5", email="a@x"))
    assert await store.update("users", "5", Change(set={"email": None})) == user("5")
    assert await store.count("users", eq("email", None)) == 5


@needs(PARTIAL_INDEX_OF_SEVERAL)
async def test_null_collides_with_nothing_in_an_index_over_two_paths(store: Store) -> None:
    await store.ensure(Table("pairs", (Index(["a", "b"], unique=True),)))
    docs: list[dict[str, Any]] = [{"a": 1}, {"a": 1}, {"b": 1}, {"b": 1, "a": None}, {}, {}, {"a": 1, "b": 1}]
    assert await store.insert_many("pairs", [{"id": str(n), **doc} for n, doc in enumerate(docs)]) == [None] * 7
    with pytest.raises(Duplicate):
        await store.insert("pairs", {"id": "x", "a": 1.0, "b": 1})
    with pytest.raises(Duplicate):
        await store.update("pairs", "0", Change(set={"b": 1}))


async def test_insert_many_tells_of_each(store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    docs = [
        user("2"),
        user("1", login="x"),
        user("3", email="a@x"),
        user("4"),
        user("2", login="y"),
        user("5", login="4"),
    ]
    outcomes = await store.insert_many("users", docs)
    assert [outcome and outcome.index for outcome in outcomes] == [None, "id", "email", None, "id", "tenant_login"]
    assert [doc["id"] for doc in await store.find("users")] == ["1", "2", "4"]
    assert await store.insert_many("users", []) == []


async def test_insert_many_of_thousands(store: Store) -> None:
    assert await store.insert_many("users", [user(f"{number:05}") for number in range(1200)]) == [None] * 1200
    assert await store.count("users") == 1200


async def test_an_update_is_made_only_where_its_condition_holds(store: Store) -> None:
    await store.insert("users", user("1", state="open", n=1))
    change = Change(set={"state": "closed"}, inc={"n": 1})
    assert await store.update("users", "1", change, eq("state", "shut")) is None
    assert await store.update("users", "2", change) is None
    assert await store.update("users", "1", change, eq("state", "open")) == user("1", state="closed", n=2)
    assert await store.update("users", "1", change, eq("state", "open")) is None
    assert await store.update("users", "1", change, returning="before") == user("1", state="closed", n=2)
    assert await store.get("users", "1") == user("1", state="closed", n=3)


async def test_every_kind_of_change(store: Store) -> None:
    await store.insert("users", user("1", gone=1, n=1, list=[1, "a", 1.0, True, None], data={"x": 1}))
    after = await store.update(
        "users",
        "1",
        Change(
            set={"data.y.z": [1]},
            unset=["gone", "nothing.here"],
            inc={"n": 0.5, "m": -2},
            push={"pushed": [{"a": 1}, 2]},
            add_to_set={"added": ["a", "b", "a"]},
            remove={"list": [1, None], "nowhere": ["x"]},
        ),
    )
    assert after == user(
        "1", n=1.5, list=["a", True], data={"x": 1, "y": {"z": [1]}}, m=-2, pushed=[{"a": 1}, 2], added=["a", "b"]
    )


async def test_null_counts_as_nothing_to_add_to(store: Store) -> None:
    await store.insert("users", user("1", n=None, p=None, s=None, r=None, d={"n": None}, old=7))
    change = Change(
        {"old": 8}, inc={"n": 2, "d.n": 1}, push={"p": [1]}, add_to_set={"s": ["a", "a"]}, remove={"r": ["a"]}
    )
    after = await store.update("users", "1", change, eq("old", 7))
    assert after == user("1", n=2, p=[1], s=["a"], r=None, d={"n": 1}, old=8)
    assert await store.update("users", "1", change, eq("old", 7)) is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (Change(set={"text.x": 1}), "text.x"),
        (Change(set={"null.x": 1}), "null.x"),
        (Change(set={"list.x": 1}), "list.x"),
        (Change(set={"list.0": 1}), "list.0"),
        (Change(inc={"text": 1}), "text"),
        (Change(inc={"truth": 1}), "truth"),
        (Change(inc={"most": 1}), "most"),
        (Change(push={"text": [1]}), "text"),
        (Change(add_to_set={"text": [1]}), "text"),
        (Change(remove={"text": ["a"]}), "text"),
        (Change(inc={"good": 1, "text": 1}), "text"),
    ],
)
async def test_a_change_that_does_not_fit_is_refused_as_a_whole(store: Store, change: Change, place: str) -> None:
    doc = user("1", text="a", null=None, list=[1], truth=True, most=INT_MAX, good=1)
    await store.insert("users", doc)
    with pytest.raises(Invalid) as refused:
        await store.update("users", "1", change)
    assert refused.value.fields[0].field == place
    assert await store.get("users", "1") == doc


async def test_a_change_of_nothing_is_allowed(store: Store) -> None:
    await store.insert("users", user("1"))
    assert await store.update("users", "1", Change()) == user("1")
    assert await store.update("users", "1", Change(), eq("login", "x")) is None


async def test_update_many_changes_all_that_match(store: Store) -> None:
    await store.insert_many("users", [user(f"{number:04}", n=number) for number in range(510)])
    assert await store.update_many("users", ge("n", 5), Change(inc={"n": -1000})) == 505
    assert await store.count("users", ge("n", 0)) == 5
    assert await store.update_many("users", eq("n", "x"), Change(set={"n": 1})) == 0


async def test_replace_puts_a_document_in_anothers_place(store: Store) -> None:
    assert await store.replace("users", user("1", n=1)) is None
    assert await store.get("users", "1") is None
    await store.insert("users", user("1", n=1))
    assert await store.replace("users", user("1", m=2), eq("n", 2)) is None
    assert await store.replace("users", user("1", m=2), eq("n", 1)) == user("1", n=1)
    assert await store.get("users", "1") == user("1", m=2)


async def test_upsert_inserts_or_replaces(store: Store) -> None:
    assert await store.upsert("users", user("1", n=1)) is True
    assert await store.upsert("users", user("1", m=2)) is False
    assert await store.find("users") == [user("1", m=2)]


async def test_delete_tells_what_was_there(store: Store) -> None:
    await store.insert("users", user("1", n=1))
    assert await store.delete("users", "1", eq("n", 2)) is None
    assert await store.delete("users", "1", eq("n", 1)) == user("1", n=1)
    assert await store.delete("users", "1") is None


async def test_delete_many_removes_all_that_match(store: Store) -> None:
    await store.insert_many("users", [user(f"{number:04}", n=number) for number in range(1100)])
    assert await store.delete_many("users", ge("n", 50)) == 1050
    assert await store.count("users") == 50
    assert await store.delete_many("users", ge("n", 50)) == 0


async def test_what_was_written_is_there_for_the_next_process(storage: Storage, store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    await store.close()
    again = await storage.open(USERS)
    assert await again.get("users", "1") == user("1", email="a@x")
    with pytest.raises(Duplicate):
        await again.insert("users", user("2", email="a@x"))
    await again.close()


@needs(ALL_OF_AN_ARRAY)
async def test_the_stored_document_meets_the_condition_that_was_asked(store: Store) -> None:
    await store.insert("users", user("1", tags=["a"], n=1))
    condition = eq("tags", "a")
    after = await store.update("users", "1", Change(push={"tags": ["b"]}), condition, returning="before")
    assert after is not None
    assert matches(condition, after)
