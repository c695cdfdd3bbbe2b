"""The database killed, gone, locked or spoilt: nothing acknowledged is lost, nobody hangs, it recovers by itself."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fastcms_common.errors import TimedOut, Unavailable
from fastcms_common.storage import Store, Table, like, open_store
from fastcms_common.storage.sqlite_store import SqliteStore
from tests.mongo_server import MongoServer, start_server
from tests.storages import Storage

TABLE = Table("things")
WRITER = Path(__file__).with_name("writer.py")
# Longer than every timeout of the engine that a call can meet here.
NO_HANG = 15.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MongoServer]:
    """A server that a test may kill."""
    server = start_server(tmp_path)
    if not server.owned:
        pytest.skip("the server at MONGODB_URL is not ours to kill")
    yield server
    server.stop()


async def acknowledged_until_killed(url: str, number: int) -> list[str]:
    """What a writing process was told is written, before it was killed (SIGKILL) in the middle of writing on."""
    writer = await asyncio.create_subprocess_exec(sys.executable, WRITER, url, stdout=asyncio.subprocess.PIPE)
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(number)]
    writer.kill()
    lines += (await writer.stdout.read()).splitlines(keepends=True)
    await writer.wait()
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


async def test_what_was_acknowledged_survives_the_death_of_the_writer(storage: Storage) -> None:
    for _ in range(3):
        acknowledged = await acknowledged_until_killed(storage.url, 200)
        store = await storage.open(TABLE)
        found = await store.get_many("things", acknowledged)
        await store.close()
        assert len(acknowledged) >= 200
        assert [doc and doc["id"] for doc in found] == acknowledged


async def fails_in_time(store: Store) -> None:
    """Every operation is Unavailable, and soon."""
    for work in (store.get("things", "1"), store.find("things"), store.insert("things", {"id": "2"}), store.ping()):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await work
        assert time.monotonic() - started < NO_HANG


async def test_a_mongodb_that_goes_away_and_comes_back(own_server: MongoServer) -> None:
    store = await open_store(f"{own_server.url}/?serverSelectionTimeoutMS=500", "test")
    await store.ensure(TABLE)
    await store.insert("things", {"id": "1"})
    own_server.kill()
    await fails_in_time(store)
    own_server.start()
    assert await store.get("things", "1") == {"id": "1"}
    await store.insert("things", {"id": "2"})
    await store.close()


async def test_a_mongodb_that_is_not_there_yet(own_server: MongoServer) -> None:
    own_server.kill()
    store = await open_store(f"{own_server.url}/?serverSelectionTimeoutMS=500", "test")
    with pytest.raises(Unavailable):
        await store.ensure(TABLE)
    own_server.start()
    await store.ensure(TABLE)
    await store.insert("things", {"id": "1"})
    await store.close()


async def test_every_caller_of_a_shared_read_gets_an_error_of_its_own(own_server: MongoServer) -> None:
    store = await open_store(f"{own_server.url}/?serverSelectionTimeoutMS=500", "test")
    await store.ensure(TABLE)
    own_server.kill()
    outcomes = await asyncio.gather(*(store.get("things", "1") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 10
    await store.close()


async def test_a_sqlite_file_that_another_process_has_locked(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    store = await SqliteStore.open(file, lock_wait_seconds=0.2)
    await store.ensure(TABLE)
    await store.insert("things", {"id": "1"})
    other = apsw.Connection(str(file))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await store.insert("things", {"id": "2"})
    assert await store.get("things", "1") == {"id": "1"}
    other.execute("ROLLBACK")
    other.close()
    await store.insert("things", {"id": "2"})
    assert await store.count("things") == 2
    await store.close()


async def test_a_sqlite_disk_that_is_full(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    store = await SqliteStore.open(file, page_limit=40)
    await store.ensure(TABLE)
    await store.insert("things", {"id": "1"})
    outcomes = await asyncio.gather(
        *(store.insert("things", {"id": f"big {number}", "text": "x" * 20_000}) for number in range(30)),
        return_exceptions=True,
    )
    assert all(outcome is None or isinstance(outcome, Unavailable) for outcome in outcomes)
    assert any(isinstance(outcome, Unavailable) for outcome in outcomes)
    written = [f"big {number}" for number, outcome in enumerate(outcomes) if outcome is None]
    assert {doc["id"] async for doc in store.scan("things")} == {"1", *written}
    for id in written:
        await store.delete("things", id)
    await store.insert("things", {"id": "2"})
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    file.write_bytes(b"something else entirely" * 1000)
    with pytest.raises(Unavailable):
        await SqliteStore.open(file)
    assert file.read_bytes() == b"something else entirely" * 1000


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        await open_store(f"sqlite://{tmp_path}/file/folder", "test")


async def test_a_read_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "test.db", time_limit_seconds=0.05)
    await store.ensure(TABLE)
    await store.insert_many("things", [{"id": str(number), "text": "aä" * 5_000} for number in range(2_000)])
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await store.find("things", like("text", "%b%b%"))
    assert time.monotonic() - started < NO_HANG
    assert await store.get("things", "7") is not None
    await store.close()
