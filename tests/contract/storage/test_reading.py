"""Getting, finding, paging, counting, walking."""

from __future__ import annotations

import asyncio

import pytest

from fastcms_common.errors import Invalid, TimedOut
from fastcms_common.storage import ALL, NONE, After, And, Change, Or, Store, Table, eq, ge, has, like, position
from fastcms_common.storage.query import Compare, Field, In, Not, Value
from tests.contract.storage.conftest import USERS, user
from tests.mongo_server import COMPUTED_SORT, PLANS
from tests.storages import Storage, needs

INJECTIONS = [
    "' OR '1'='1",
    '"; DROP TABLE users; --',
    "{$ne: null}",
    "$where",
    "\\",
    "%",
    "a' UNION SELECT doc FROM users --",
]


async def test_get_answers_each_caller_of_a_turn_by_itself(store: Store) -> None:
    await store.insert_many("users", [user(str(number), n=number) for number in range(250)])
    found = await asyncio.gather(*(store.get("users", str(number)) for number in range(500)))
    assert [doc and doc["n"] for doc in found] == [*range(250), *[None] * 250]


async def test_callers_of_a_turn_share_nothing_that_they_could_change(store: Store) -> None:
    await store.insert("users", user("1", data={"list": [1]}))
    mine, yours = await asyncio.gather(store.get("users", "1"), store.get("users", "1"))
    assert mine is not None
    mine["data"]["list"].append(2)
    assert yours == user("1", data={"list": [1]}) == await store.get("users", "1")


async def test_a_caller_who_gives_up_takes_nothing_from_the_others(store: Store) -> None:
    await store.insert("users", user("1"))
    hasty = asyncio.ensure_future(store.get("users", "1"))
    patient = asyncio.ensure_future(store.get("users", "1"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == user("1")
    assert hasty.cancelled() or (await asyncio.wait([hasty]), hasty.cancelled())[1]


async def test_get_many_keeps_the_order_asked_for(store: Store) -> None:
    await store.insert_many("users", [user("a"), user("b")])
    assert await store.get_many("users", ["b", "x", "a", "b"]) == [user("b"), None, user("a"), user("b")]
    assert await store.get_many("users", []) == []


async def test_find_without_a_sort_goes_by_id(store: Store) -> None:
    await store.insert_many("users", [user(id) for id in "cab"])
    assert [doc["id"] for doc in await store.find("users")] == ["a", "b", "c"]
    assert await store.find("users", NONE) == []
    assert [doc["id"] for doc in await store.find("users", limit=2)] == ["a", "b"]
    assert [doc["id"] for doc in await store.find("users", limit=2, offset=2)] == ["c"]
    assert await store.find("users", limit=0) == []


async def test_find_returns_only_the_fields_asked_for(store: Store) -> None:
    await store.insert("users", user("1", n=1, **{"a.b": 2}))
    assert await store.find("users", fields=["n"]) == [{"id": "1", "n": 1}]
    assert await store.find("users", fields=["a.b", "nothing"]) == [{"id": "1", "a.b": 2}]
    assert await store.find("users", fields=[]) == [{"id": "1"}]


async def test_a_position_never_skips_or_repeats_under_inserts(store: Store) -> None:
    await store.insert_many("users", [user(f"{number:03}", created=f"{number // 7}") for number in range(40)])
    sort = (("created", -1),)
    seen: list[str] = []
    after: After | None = None
    while page := await store.find("users", sort=sort, limit=6, after=after):
        seen += [doc["id"] for doc in page]
        after = position(page[-1], sort)
        await store.insert("users", user(f"new-{len(seen)}", created="9"))
    assert [id for id in seen if not id.startswith("new")] == sorted(
        (f"{number:03}" for number in range(40)), key=lambda id: (int(id) // 7, id), reverse=True
    )


async def test_a_position_belongs_to_its_sort(store: Store) -> None:
    with pytest.raises(Invalid):
        await store.find("users", sort=(("created", -1),), after=After((), "x"))
    with pytest.raises(Invalid):
        await store.find("users", offset=1, after=After((), "x"))


@needs(COMPUTED_SORT)
async def test_sorting_by_any_path(store: Store) -> None:
    values: list[object] = [True, False, "b", "a", "B", 2, 1.5, -1, None, ["z"], {"x": 1}]
    await store.insert_many("users", [user(f"{number:02}", any=value) for number, value in enumerate(values)])
    found = [doc["any"] for doc in await store.find("users", sort=(("any", 1),))]
    assert repr(found) == repr([None, ["z"], {"x": 1}, -1, 1.5, 2, "B", "a", "b", False, True])


async def test_count_stops_at_its_limit(store: Store) -> None:
    await store.insert_many("users", [user(str(number), n=number) for number in range(30)])
    assert await store.count("users") == 30
    assert await store.count("users", ge("n", 20)) == 10
    assert await store.count("users", ALL, limit=7) == 7
    assert await store.count("users", ge("n", 20), limit=100) == 10
    assert await store.count("users", limit=0) == 0


async def test_scan_walks_everything_in_batches(store: Store) -> None:
    await store.insert_many("users", [user(f"{number:03}", n=number % 2) for number in range(25)])
    assert [doc["id"] async for doc in store.scan("users", batch=10)] == [f"{number:03}" for number in range(25)]
    assert len([doc async for doc in store.scan("users", eq("n", 1), batch=4)]) == 12


async def test_lists_are_found_by_their_elements(store: Store) -> None:
    await store.insert_many("users", [user("1", tags=["a", "b"]), user("2", tags=[]), user("3")])
    assert [doc["id"] for doc in await store.find("users", has("tags", "a"))] == ["1"]
    assert [doc["id"] for doc in await store.find("users", In("tags", ["b", "c"]))] == ["1"]
    assert [doc["id"] for doc in await store.find("users", Compare(Field("tags", length=True), ">", Value(1)))] == ["1"]
    assert [doc["id"] for doc in await store.find("users", Compare(Field("tags", length=True), "=", Value(0)))] == [
        "2",
        "3",
    ]


async def test_lists_are_found_after_they_have_changed(store: Store) -> None:
    await store.insert_many("users", [user("1", tags=["a", "a"]), user("2", tags="a"), user("3", tags={"a": "a"})])

    async def found(tag: object) -> list[str]:
        return [doc["id"] for doc in await store.find("users", has("tags", tag))]

    assert await found("a") == ["1", "2"]
    await store.update("users", "1", Change(push={"tags": ["b"]}))
    await store.update("users", "2", Change({"tags": ["b", True]}))
    assert (await found("a"), await found("b"), await found(True), await found(1)) == (["1"], ["1", "2"], ["2"], [])
    await store.update("users", "1", Change(remove={"tags": ["a"]}, inc={"n": 1}))
    await store.replace("users", user("2", tags=["c"]))
    await store.upsert("users", user("4", tags=["c", "b"]))
    assert (await found("a"), await found("b"), await found("c")) == ([], ["1", "4"], ["2", "4"])
    await store.delete("users", "4")
    await store.ensure(Table("users", USERS.indexes, scalars=("profile.city", "code")))
    await store.insert("users", user("5", tags=["b"]))
    assert (await found("b"), await found("c")) == (["1", "5"], ["2"])
    await store.rename("users", "people")
    assert [doc["id"] for doc in await store.find("people", has("tags", "b"))] == ["1", "5"]
    await store.prune(Table("people"))
    assert [doc["id"] for doc in await store.find("people", has("tags", "b"))] == ["1", "5"]


async def test_text_is_found_whatever_its_case(store: Store) -> None:
    await store.insert_many("users", [user("1", name="ÄRGER in Σίσυφος"), user("2", name="100%")])
    for pattern in ("ärger", "ΣΊΣΥΦΟΣ", "%σίσυφος", "ärg%", "%IN%"):
        assert [doc["id"] for doc in await store.find("users", like("name", pattern))] == ["1"], pattern
    for pattern in ("arger", "ärger_in", "ärger%in", "%ärge"):
        assert await store.find("users", like("name", pattern)) == [], pattern


@pytest.mark.parametrize("text", INJECTIONS)
async def test_text_from_outside_is_only_text(store: Store, text: str) -> None:
    await store.insert_many("users", [user("1", name="x", email=text), user("2", name=text)])
    assert [doc["id"] for doc in await store.find("users", eq("email", text))] == ["1"]
    assert [doc["id"] for doc in await store.find("users", eq("name", text))] == ["2"]
    assert await store.count("users", Not(eq("name", text))) == 1
    assert (await store.get("users", text)) is None
    assert await store.count("users") == 2


@needs(COMPUTED_SORT)
@pytest.mark.parametrize(
    "path", [(injection,) for injection in INJECTIONS if injection not in ("\\", '"; DROP TABLE users; --', "%")]
)
async def test_paths_from_outside_are_only_paths(store: Store, path: tuple[str, ...]) -> None:
    await store.insert_many("users", [user("1", **{path[0]: 2}), user("2", **{path[0]: 1})])
    assert [doc["id"] for doc in await store.find("users", eq(path, 1), sort=((path, 1),))] == ["2"]
    assert [doc["id"] for doc in await store.find("users", sort=((path, 1),))] == ["2", "1"]


async def test_a_count_that_takes_too_long_is_given_up_and_hurts_nothing_else(store: Store) -> None:
    for start in range(0, 4000, 1000):
        await store.insert_many("users", [user(f"{start + number:05}", n="xyz" * 30) for number in range(1000)])
    slow = Or(*(like("n", f"%{number}%y") for number in range(40)))
    with pytest.raises(TimedOut):
        await store.count("users", slow, within=0.001)
    assert await store.count("users", within=10) == 4000
    assert await store.count("users", eq("id", "00001"), within=10) == 1


@needs(PLANS)
async def test_the_database_says_itself_what_it_searches(store: Store) -> None:
    for where, index in (
        (eq("id", "1"), "id"),
        (eq("email", "a"), "email"),
        (And(eq("tenant", "t"), eq("login", "a")), "tenant_login"),
        (ge("created", "2026"), "created"),
        (has("tags", "a"), "tags"),
    ):
        plan = await store.explain("users", where)
        assert plan is not None
        assert (plan.indexes, plan.scans) == ((index,), False), where
        assert plan.lines
    plan = await store.explain("users", eq("profile.city", "Ulm"))
    assert plan is not None
    assert (plan.indexes, plan.scans) == ((), True)


async def test_a_server_that_does_not_say_is_not_guessed_for(store: Store, storage: Storage) -> None:
    plan = await store.explain("users", eq("email", "a"))
    assert (plan is None) == storage.lacks(PLANS)
