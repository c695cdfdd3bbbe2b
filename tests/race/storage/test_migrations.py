"""Replicas that start at once, crash halfway, or are of two releases: data changes once, and never under anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fastcms_common.errors import Unavailable
from fastcms_common.storage import Change, Store, Table
from fastcms_common.storage.migrations import MIGRATIONS, DataTooNew, Migration, Progress, migrate
from tests.mongo_server import ATOMIC_CHANGES, ONE_WINNER
from tests.storages import Storage, needs

THINGS = Table("things")


async def nothing(_: Store, progress: Progress) -> None:
    await progress.reached("all")


def counting(runs: list[str]) -> Migration:
    """A step that takes a moment, and says when it begins."""

    async def run(store: Store, progress: Progress) -> None:
        runs.append(progress.cursor)
        for n in range(20):
            await store.update("things", "one", Change(inc={"steps": 1}))
            await progress.reached(str(n))

    return Migration(1, "count", run)


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_of_replicas_that_start_at_once_one_migrates_and_the_others_wait(storage: Storage) -> None:
    stores = [await storage.open(THINGS) for _ in range(4)]
    await stores[0].insert("things", {"id": "one", "steps": 0})
    runs: list[str] = []

    made = await asyncio.gather(*(migrate(store, [counting(runs)]) for store in stores))

    assert (sorted(made), runs) == ([0, 0, 0, 1], [""])
    found = await stores[0].get("things", "one")
    assert found == {"id": "one", "steps": 20}
    assert await migrate(stores[1], [counting(runs)]) == 0
    for store in stores:
        await store.close()


async def test_what_a_crash_has_cut_short_is_gone_on_with(storage: Storage) -> None:
    store = await storage.open(THINGS)
    seen: list[str] = []

    async def crash_once(_: Store, progress: Progress) -> None:
        seen.append(progress.cursor)
        await progress.reached("half")
        if len(seen) == 1:
            raise RuntimeError("the process dies")

    steps = [Migration(1, "crash", crash_once), Migration(2, "next", nothing)]
    with pytest.raises(RuntimeError):
        await migrate(store, steps)

    assert await migrate(store, steps) == 2
    assert seen == ["", "half"]
    await store.close()


@needs(ONE_WINNER, ATOMIC_CHANGES)
async def test_the_lock_of_a_replica_that_died_runs_out_and_one_that_lives_keeps_it(storage: Storage) -> None:
    store, other = await storage.open(THINGS), await storage.open(THINGS)
    begun = asyncio.Event()

    async def hang(_: Store, __: Progress) -> None:
        begun.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(migrate(store, [Migration(1, "hang", hang)], lease_seconds=0.6))
    await begun.wait()
    with pytest.raises(TimeoutError):
        # Longer than the lease, which is renewed.
        await asyncio.wait_for(migrate(other, [Migration(1, "go", nothing)], lease_seconds=0.6), 1.2)
    # As a process that was killed leaves it.
    await store.update("migrations", "lock", Change(set={"holder": "somebody who died", "until": 0}))
    assert await migrate(other, [Migration(1, "go", nothing)]) == 1
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    for each in (store, other):
        await each.close()


async def test_a_replica_that_has_lost_its_lock_stops_where_it_is(storage: Storage) -> None:
    store = await storage.open(THINGS)

    async def lose(held: Store, progress: Progress) -> None:
        await held.update("migrations", "lock", Change(set={"holder": "another"}))
        await progress.reached("never")

    with pytest.raises(Unavailable):
        await migrate(store, [Migration(1, "lose", lose)])
    assert [one["id"] for one in await store.find("migrations")] == ["lock"]
    await store.close()


async def test_an_older_release_goes_on_beside_data_that_was_expanded_and_not_beside_data_that_was_contracted(
    storage: Storage,
) -> None:
    store = await storage.open(THINGS)
    older = [Migration(1, "first", nothing)]
    await migrate(store, [*older, Migration(2, "expand", nothing)])

    assert await migrate(store, older) == 0
    await migrate(store, [*older, Migration(2, "expand", nothing), Migration(3, "contract", nothing, needs=2)])
    with pytest.raises(DataTooNew, match="takes a release that knows version 2; this one knows 1"):
        await migrate(store, older)
    await store.close()


async def test_steps_are_numbered_without_a_gap(tmp_path: Path) -> None:
    store = await Storage("sqlite", f"sqlite://{tmp_path}").open(MIGRATIONS)
    with pytest.raises(ValueError, match="without a gap"):
        await migrate(store, [Migration(2, "second", nothing)])
    await store.close()
