"""Many at once: one wins, nothing is lost, nothing is counted twice. On the real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fastcms_common.storage import Change, Duplicate, Index, Store, Table, eq, lt
from tests.mongo_server import AS_CHANGED, ATOMIC_CHANGES
from tests.storages import Storage, needs

TABLE = Table("things", (Index("code", unique=True),))


@pytest.fixture
async def stores(storage: Storage) -> AsyncIterator[list[Store]]:
    """Three stores of one database: for MongoDB as three processes would have them, for SQLite three connections."""
    opened = [await storage.open(TABLE) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def test_of_fifty_parallel_inserts_of_one_unique_value_one_wins(stores: list[Store]) -> None:
    inserts = (stores[number % 3].insert("things", {"id": str(number), "code": "x"}) for number in range(50))
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == 49
    assert await stores[0].count("things") == 1


async def test_of_fifty_parallel_inserts_of_one_id_one_wins(stores: list[Store]) -> None:
    inserts = (stores[number % 3].insert("things", {"id": "1", "n": number}) for number in range(50))
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert await stores[0].get("things", "1") == {"id": "1", "n": outcomes.index(None)}


async def test_of_fifty_parallel_upserts_one_inserts(stores: list[Store]) -> None:
    upserts = (stores[number % 3].upsert("things", {"id": "1", "n": number}) for number in range(50))
    assert sorted(await asyncio.gather(*upserts)) == [False] * 49 + [True]
    assert await stores[0].count("things") == 1


@needs(ATOMIC_CHANGES, AS_CHANGED)
@pytest.mark.parametrize("start", [{}, {"n": None}, {"n": 0}], ids=["missing", "null", "zero"])
async def test_a_hundred_parallel_increments_add_up(stores: list[Store], start: dict[str, object]) -> None:
    await stores[0].insert("things", {"id": "1", **start})
    change = Change(inc={"n": 1})
    after = await asyncio.gather(*(stores[number % 3].update("things", "1", change) for number in range(100)))
    assert sorted(doc["n"] for doc in after if doc) == list(range(1, 101))
    assert await stores[0].get("things", "1") == {"id": "1", "n": 100}


@needs(ATOMIC_CHANGES)
@pytest.mark.parametrize("start", [{}, {"log": None}], ids=["missing", "null"])
async def test_parallel_appends_all_arrive(stores: list[Store], start: dict[str, object]) -> None:
    await stores[0].insert("things", {"id": "1", **start})
    await asyncio.gather(
        *(
            stores[number % 3].update("things", "1", Change(push={"log": [number]}, add_to_set={"set": [number % 7]}))
            for number in range(60)
        )
    )
    doc = await stores[0].get("things", "1")
    assert doc is not None
    assert (sorted(doc["log"]), sorted(doc["set"])) == (list(range(60)), list(range(7)))


@needs(ATOMIC_CHANGES)
async def test_of_fifty_parallel_conditional_updates_one_wins(stores: list[Store]) -> None:
    await stores[0].insert("things", {"id": "1", "owner": None})
    claims = (
        stores[number % 3].update("things", "1", Change({"owner": number}), eq("owner", None)) for number in range(50)
    )
    won = [doc["owner"] for doc in await asyncio.gather(*claims) if doc]
    assert len(won) == 1
    assert await stores[0].get("things", "1") == {"id": "1", "owner": won[0]}


@needs(ATOMIC_CHANGES)
async def test_a_bounded_counter_is_never_passed(stores: list[Store]) -> None:
    await stores[0].insert("things", {"id": "1", "tries": 0})
    attempts = (
        stores[number % 3].update("things", "1", Change(inc={"tries": 1}), lt("tries", 5)) for number in range(100)
    )
    assert sum(doc is not None for doc in await asyncio.gather(*attempts)) == 5
    assert await stores[0].get("things", "1") == {"id": "1", "tries": 5}


@needs(ATOMIC_CHANGES)
async def test_of_fifty_parallel_deletes_one_gets_the_document(stores: list[Store]) -> None:
    await stores[0].insert("things", {"id": "1"})
    taken = await asyncio.gather(*(stores[number % 3].delete("things", "1") for number in range(50)))
    assert [doc for doc in taken if doc] == [{"id": "1"}]


async def test_one_that_fails_does_not_hurt_those_that_share_its_commit(stores: list[Store]) -> None:
    await stores[0].insert("things", {"id": "taken", "code": "x"})
    writes = [
        stores[0].insert("things", {"id": str(number), "code": "x" if number % 2 else None}) for number in range(100)
    ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, Duplicate) for outcome in outcomes] == [number % 2 == 1 for number in range(100)]
    assert await stores[0].count("things") == 51
