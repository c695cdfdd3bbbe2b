"""Copies of whole databases, put back elsewhere: nothing is missing, and each is of one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcms_common.storage import Change, Index, Store, Table, eq, open_store
from fastcms_common.storage.snapshots import CopyFailed, destination, engine_of, snapshot
from tests.storages import Storage

PEOPLE = Table("people", (Index("email", unique=True, required=True), Index("age")))
PAIR = Table("pair")


def move(source: Storage, target: Storage, folder: Path) -> None:
    """Copies the database `test` from one place to another."""
    place = destination({"test": target.url})
    with snapshot({"test": source.url}, fuzzy=True) as taken:
        for part in taken.parts():
            taken.copy(part, folder / "part", lambda _: None)
            place.put(part, folder / "part")
            (folder / "part").unlink(missing_ok=True)
    place.close()


async def test_documents_and_indexes_are_the_same_elsewhere(
    storage: Storage, new_storage: Callable[[str], Storage], tmp_path: Path
) -> None:
    store, elsewhere = await storage.open(PEOPLE), new_storage(storage.engine)
    documents = [
        {"id": f"{n:04}", "email": f"{n}@example.com", "age": n, "tags": ["ä", None], "big": 2**53 + n}
        for n in range(1200)
    ]
    await store.insert_many("people", documents)

    await asyncio.to_thread(move, storage, elsewhere, tmp_path)

    moved = await elsewhere.open(PEOPLE)
    assert await moved.find("people") == documents
    assert [one["id"] for one in await moved.find("people", eq("age", 7))] == ["0007"]
    for each in (store, moved):
        await each.close()


async def test_a_copy_is_of_one_moment_while_others_write(
    storage: Storage, new_storage: Callable[[str], Storage], tmp_path: Path
) -> None:
    if storage.kind is not None and storage.kind.name != "MongoDB":
        pytest.skip(f"{storage.kind.name}: no snapshot sessions")
    store, elsewhere = await storage.open(PAIR), new_storage(storage.engine)
    await store.insert_many("pair", [{"id": "first", "n": 0}, {"id": "second", "n": 0}])
    # Enough that copying takes longer than a write.
    await store.insert_many("pair", [{"id": f"x{n:05}", "text": "x" * 1000} for n in range(5000)])
    writing = asyncio.create_task(_count_up(store))
    while (await store.get("pair", "second") or {})["n"] < 5:
        await asyncio.sleep(0)

    await asyncio.to_thread(move, storage, elsewhere, tmp_path)

    writing.cancel()
    moved = await elsewhere.open(PAIR)
    first, second = await moved.get_many("pair", ["first", "second"])
    assert first is not None
    assert second is not None
    # The second is written when the first has been.
    assert first["n"] - second["n"] in (0, 1)
    assert second["n"] >= 5
    for each in (store, moved):
        await each.close()


async def test_a_place_that_is_taken_is_known_and_can_be_cleared(storage: Storage) -> None:
    store = await storage.open(PAIR)
    await store.insert("pair", {"id": "mine"})
    await store.close()
    place = destination({"test": storage.url})

    assert len(place.occupied()) == 1
    place.clear("aside")
    assert place.occupied() == []
    place.close()


async def test_a_server_that_cannot_show_one_moment_is_refused(storage: Storage) -> None:
    if storage.kind is None or storage.kind.name == "MongoDB":
        pytest.skip("this one can")
    with pytest.raises(CopyFailed, match="replica set"):
        snapshot({"test": storage.url}).__enter__()


async def test_what_is_not_there_or_not_whole_is_said(tmp_path: Path) -> None:
    with pytest.raises(CopyFailed, match="there is no database"):
        snapshot({"test": f"sqlite://{tmp_path}"}).__enter__()
    (tmp_path / "part").write_bytes(b"hello" * 1000)
    with pytest.raises(CopyFailed):
        destination({"test": f"sqlite://{tmp_path}"}).put("test.db", tmp_path / "part")
    with pytest.raises(CopyFailed, match="no place"):
        destination({"test": f"sqlite://{tmp_path}"}).put("other.db", tmp_path / "part")
    with pytest.raises(CopyFailed, match="one engine"):
        engine_of({"auth": "sqlite:x", "admin": "mongodb://127.0.0.1"})


async def test_a_file_is_one_that_the_store_opens(tmp_path: Path) -> None:
    source, target = Storage("sqlite", f"sqlite://{tmp_path}/a"), Storage("sqlite", f"sqlite://{tmp_path}/b")
    store = await source.open(PAIR)
    await store.insert("pair", {"id": "x", "n": 1})

    await asyncio.to_thread(move, source, target, tmp_path)

    moved = await open_store(target.url, "test")
    await moved.ensure(PAIR)
    assert await moved.get("pair", "x") == {"id": "x", "n": 1}
    assert (tmp_path / "b" / "test.db").stat().st_mode & 0o777 == 0o600
    for each in (store, moved):
        await each.close()


async def _count_up(store: Store) -> None:
    while True:
        for id in ("first", "second"):
            await store.update("pair", id, Change(inc={"n": 1}))
