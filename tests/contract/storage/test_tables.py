"""Tables and indexes: made, changed, dropped, renamed, and honest about documents that are in the way."""

from __future__ import annotations

import pytest

from fastcms_common.errors import Conflict, Invalid, NotFound
from fastcms_common.storage import Duplicate, Index, Store, Table, eq
from tests.contract.storage.conftest import USERS, user
from tests.mongo_server import UNIQUE_NAMES, UNIQUE_ON_UPDATE
from tests.storages import Storage, needs


async def test_ensure_can_be_repeated(store: Store) -> None:
    await store.insert("users", user("1"))
    await store.ensure(USERS)
    await store.ensure(USERS)
    assert await store.count("users") == 1
    assert await store.tables() == ["users"]


async def test_ensure_adds_indexes_and_scalar_paths_to_a_table_in_use(store: Store) -> None:
    await store.insert_many("users", [user("2", code="b"), user("1", code="a"), user("3")])
    await store.ensure(Table("users", (*USERS.indexes, Index("code", unique=True)), scalars=("rank",)))
    assert [doc["id"] for doc in await store.find("users", sort=(("code", -1),))] == ["2", "1", "3"]
    assert [doc["id"] for doc in await store.find("users", eq("code", "a"))] == ["1"]
    with pytest.raises(Duplicate) as refused:
        await store.insert("users", user("4", code="a"))
    assert refused.value.index == "code"
    with pytest.raises(Duplicate):
        await store.insert("users", user("5", login="1"))
    with pytest.raises(Invalid):
        await store.insert("users", user("6", rank=[1]))


@needs(UNIQUE_ON_UPDATE)
async def test_a_unique_index_that_documents_break_is_refused(store: Store) -> None:
    await store.insert_many("users", [user("1", code="a"), user("2", code="a")])
    with pytest.raises(Duplicate) as refused:
        await store.ensure(Table("users", (*USERS.indexes, Index("code", unique=True))))
    assert refused.value.index == "code"
    await store.insert("users", user("3", code="a"))
    assert await store.count("users", eq("code", "a")) == 3


@pytest.mark.parametrize("doc", [{"x": {"y": [1]}}, {"x": {"y": {}}}, {"x": [{"y": 1}]}, {"x": []}])
async def test_a_scalar_path_that_documents_break_is_refused(store: Store, doc: dict[str, object]) -> None:
    await store.insert("users", user("1", **doc))
    with pytest.raises(Conflict) as refused:
        await store.ensure(Table("users", USERS.indexes, scalars=("x.y",)))
    assert refused.value.metadata == {"path": "x.y"}
    assert await store.get("users", "1") == user("1", **doc)


async def test_a_required_path_that_documents_lack_is_refused(store: Store) -> None:
    await store.insert("users", user("1"))
    with pytest.raises(Conflict):
        await store.ensure(Table("users", (*USERS.indexes, Index("code", unique=True, required=True))))


async def test_a_promise_given_up_and_made_again_is_checked_again(store: Store) -> None:
    promising = Table("users", USERS.indexes, scalars=("code",))
    await store.ensure(promising)
    await store.ensure(USERS)
    await store.insert("users", user("1", code=["a"]))
    with pytest.raises(Conflict):
        await store.ensure(promising)
    await store.delete("users", "1")
    await store.ensure(promising)


@needs(UNIQUE_NAMES)
async def test_ensure_leaves_indexes_alone_that_it_does_not_name(store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    await store.ensure(Table("users", scalars=("rank", "more")))
    with pytest.raises(Duplicate) as refused:
        await store.insert("users", user("2", email="a@x"))
    assert await store.count("users") == 1
    assert refused.value.index == "email"


async def test_nulls_that_are_there_already_do_not_break_a_new_unique_index(store: Store) -> None:
    await store.insert_many("users", [user("1", code=None), user("2", code=None), user("3")])
    await store.ensure(Table("users", (*USERS.indexes, Index("code", unique=True))))
    await store.insert("users", user("4", code=None))
    assert await store.count("users", eq("code", None)) == 4


async def test_an_index_that_changed_is_built_anew(store: Store) -> None:
    await store.insert("users", user("1", code="a"))
    await store.ensure(Table("users", (*USERS.indexes, Index("code"))))
    await store.insert("users", user("2", code="a"))
    await store.delete("users", "2")
    await store.ensure(Table("users", (*USERS.indexes, Index("code", unique=True))))
    with pytest.raises(Duplicate):
        await store.insert("users", user("2", code="a"))


async def test_prune_drops_what_is_no_longer_wanted(store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    fewer = Table("users", tuple(index for index in USERS.indexes if index.name != "email"))
    await store.ensure(fewer)
    with pytest.raises(Duplicate):
        await store.insert("users", user("2", email="a@x"))
    assert await store.prune(fewer) == ["email"]
    assert await store.prune(fewer) == []
    await store.insert("users", user("2", email="a@x"))
    with pytest.raises(Duplicate):
        await store.insert("users", user("3", login="2"))


async def test_drop_removes_everything(store: Store) -> None:
    await store.insert("users", user("1", data=[1], profile={"city": "x"}))
    await store.drop("users")
    await store.drop("users")
    assert await store.tables() == []
    with pytest.raises(ValueError, match="users"):
        await store.get("users", "1")
    await store.ensure(Table("users", scalars=("code",)))
    assert await store.count("users") == 0


async def test_rename_keeps_documents_and_indexes(store: Store) -> None:
    await store.insert("users", user("1", email="a@x"))
    await store.rename("users", "people")
    assert await store.tables() == ["people"]
    assert await store.get("people", "1") == user("1", email="a@x")
    with pytest.raises(Duplicate) as refused:
        await store.insert("people", user("2", email="a@x"))
    assert refused.value.index == "email"
    await store.ensure(USERS)
    assert await store.count("users") == 0
    with pytest.raises(Conflict):
        await store.rename("users", "people")
    with pytest.raises(NotFound):
        await store.rename("nothing", "more")


@pytest.mark.parametrize("name", ["", "Users", "1a", "a b", "a;drop", "sqlite_x'", "_x", "a" * 101, "system.users"])
async def test_a_table_name_is_a_plain_word(store: Store, name: str) -> None:
    with pytest.raises(Invalid):
        await store.ensure(Table(name))


async def test_a_table_nobody_ensured_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="strangers"):
        await store.find("strangers")


async def test_stores_of_other_names_are_other_databases(storage: Storage, store: Store) -> None:
    from fastcms_common.storage import open_store

    other = await open_store(storage.url, "other")
    await other.ensure(USERS)
    await store.insert("users", user("1"))
    assert await other.count("users") == 0
    await other.close()


async def test_ping_answers_and_close_can_be_repeated(store: Store) -> None:
    await store.ping()
    await store.close()
    await store.close()
