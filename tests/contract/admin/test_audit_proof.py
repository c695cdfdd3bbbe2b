"""Proving that the log is whole: what is done to the database by hand is found, in each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import orjson
import pymongo
import pytest
from redis.asyncio import Redis

from admin_service.audit_chain import CheckpointKey
from admin_service.audit_trail import AuditTrail
from admin_service.store import AdminStore
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common import redis_keys, times
from fastcms_common.audit import build_event
from fastcms_common.redis_connection import connect
from fastcms_common.storage import open_store
from tests.storages import Storage

KEY = CheckpointKey(b"k" * 32)


class SqliteHand:
    """Somebody who can write the database file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _do(self, statement: str, *values: Any) -> None:
        with closing(apsw.Connection(str(self.path))) as database:
            database.execute(statement, values)
            assert database.changes() > 0, "the hand touched nothing"

    def edit(self, table: str, id: str, **fields: Any) -> None:
        self._do(f"UPDATE {table} SET doc = json_patch(doc, ?) WHERE id = ?", orjson.dumps(fields).decode(), id)

    def remove(self, table: str, *ids: str) -> None:
        """Without ids: everything."""
        if ids:
            self._do(f"DELETE FROM {table} WHERE id IN ({', '.join('?' * len(ids))})", *ids)
        else:
            self._do(f"DELETE FROM {table}")


class MongoHand:
    """Somebody who can write the collections."""

    def __init__(self, storage: Storage) -> None:
        parts = urlsplit(storage.url)
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(parts._replace(path="").geturl())
        self._database = self._client[f"{parts.path.strip('/')}_admin"]

    def close(self) -> None:
        self._client.close()

    def edit(self, table: str, id: str, **fields: Any) -> None:
        assert self._database[table].update_one({"_id": id}, {"$set": fields}).matched_count == 1

    def remove(self, table: str, *ids: str) -> None:
        """Without ids: everything."""
        where = {"_id": {"$in": list(ids)}} if ids else {}
        assert self._database[table].delete_many(where).deleted_count > 0


Hand = SqliteHand | MongoHand


class Log:
    """A log as one replica has written it."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.url = url
        self.redis = redis
        self.events: list[AuditEvent] = []

    async def open(self) -> None:
        self.store = AdminStore(await open_store(self.url, "admin"))
        await self.store.prepare()
        self.trail = AuditTrail(self.store, self.redis, KEY)

    async def close(self) -> None:
        await self.trail.close()
        await self.store.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def write(self, count: int) -> None:
        events = [build_event("system", "counted", description=f"event {number}") for number in range(count)]
        await self.trail.append_all(events)
        await self.trail.close()
        self.events += events

    async def found(self) -> str | None:
        return (await self.trail.verify()).first_bad


@pytest.fixture
def hand(storage: Storage) -> Iterator[Hand]:
    if storage.engine == "sqlite":
        yield SqliteHand(Path(urlsplit(storage.url).path) / "admin.db")
    else:
        with closing(MongoHand(storage)) as hand:
            yield hand


@pytest.fixture
async def empty_log(storage: Storage, redis_url: str) -> AsyncIterator[Log]:
    redis = connect(redis_url)
    log = Log(storage.url, redis)
    await log.open()
    yield log
    await log.close()
    await redis.aclose()


@pytest.fixture
async def log(empty_log: Log) -> Log:
    """Ten events."""
    await empty_log.write(10)
    return empty_log


async def test_a_log_that_nobody_touched_is_whole(log: Log):
    found = await log.trail.verify()
    assert (found.ok, found.checked, found.first_bad) == (True, 10, None)


async def test_it_is_whole_before_the_first_event(empty_log: Log):
    found = await empty_log.trail.verify()
    assert (found.ok, found.checked) == (True, 0)


async def test_an_edited_event_is_found(log: Log, hand: Hand):
    hand.edit("audit_events", log.events[4].id, description="nothing happened")
    assert await log.found() == log.events[4].id


async def test_a_removed_event_is_found_at_the_next_one(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[4].id)
    assert await log.found() == log.events[5].id


async def test_a_removed_beginning_is_found(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[0].id)
    assert await log.found() == log.events[1].id


async def test_events_that_changed_places_are_found(log: Log, hand: Hand):
    for position, event in ((99, log.events[4]), (5, log.events[5]), (6, log.events[4])):
        hand.edit("audit_events", event.id, position=position)
    assert await log.found() == log.events[5].id


async def test_an_end_that_was_cut_off_is_found(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[8].id, log.events[9].id)
    found = await log.trail.verify()
    assert (found.ok, found.checked, found.first_bad) == (False, 8, log.events[9].id)


async def test_a_log_that_is_gone_altogether_is_found(log: Log, hand: Hand):
    hand.remove("audit_events")
    assert await log.found() == log.events[9].id


async def test_an_end_that_was_cut_off_with_its_checkpoint_is_found_by_the_copy_in_redis(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[9].id)
    hand.remove("audit_checkpoints")
    assert await log.found() == log.events[9].id


async def test_an_end_that_was_cut_off_with_the_copy_in_redis_is_found_by_the_checkpoint(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[9].id)
    await log.redis.delete(redis_keys.AUDIT_CHECKPOINT)
    assert await log.found() == log.events[9].id


async def test_a_chain_that_was_computed_anew_is_found(log: Log, hand: Hand, tmp_path: Path):
    """Whoever edits an event and all hashes behind it cannot sign for them."""
    kept = await log.redis.hgetall(redis_keys.AUDIT_CHECKPOINT)
    await log.redis.delete(redis_keys.AUDIT_CHECKPOINT)
    other = Log(f"sqlite:///{tmp_path}/other.db", log.redis)
    await other.open()
    log.events[4].description = "nothing happened"
    await other.trail.append_all(log.events)
    await other.trail.close()
    for row in [row async for page in other.store.chain(0) for row in page]:
        event_id = row.pop("id")
        hand.edit("audit_events", event_id, **row)
    await other.close()
    await log.redis.hset(redis_keys.AUDIT_CHECKPOINT, mapping=kept)
    assert await log.found() == log.events[9].id


async def test_a_checkpoint_that_was_forged_is_found(log: Log, hand: Hand):
    hand.edit("audit_checkpoints", "head", position=9)
    found = await log.trail.verify()
    assert not found.ok
    assert "signed" in str(found.flaw)


@pytest.mark.parametrize("garbage", [b"no json", b"[]", b"{}", b'{"kind": "head", "position": "9"}'])
async def test_a_copy_that_cannot_be_read_is_found_and_stops_nothing(log: Log, garbage: bytes):
    await log.redis.hset(redis_keys.AUDIT_CHECKPOINT, "checkpoint", garbage)
    found = await log.trail.verify()
    assert "signed" in str(found.flaw)
    await log.reopen()
    await log.write(1)
    assert (await log.trail.verify()).ok


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_written_behind_a_cut_does_not_heal_it(log: Log, hand: Hand, restarted: bool):
    hand.remove("audit_events", log.events[8].id, log.events[9].id)
    if restarted:
        await log.reopen()
    await log.write(3)
    assert await log.found() == log.events[10].id


async def test_a_restart_goes_on_where_the_log_ended(log: Log):
    await log.reopen()
    await log.write(5)
    found = await log.trail.verify()
    assert (found.ok, found.checked) == (True, 15)


async def test_two_replicas_make_one_chain(log: Log):
    second = Log(log.url, log.redis)
    await second.open()
    for _ in range(5):
        await log.write(3)
        await second.write(3)
    found = await log.trail.verify()
    assert (found.ok, found.checked) == (True, 40)
    await second.close()


async def test_an_event_that_comes_twice_is_there_once(log: Log):
    await log.trail.append_all([log.events[3], log.events[9], log.events[0]])
    await log.write(1)
    found = await log.trail.verify()
    assert (found.ok, found.checked) == (True, 11)


async def test_the_checkpoint_follows_every_batch(log: Log):
    await log.write(1)
    checkpoint = await log.store.checkpoint("head")
    assert checkpoint is not None
    assert (checkpoint.position, checkpoint.event_id) == (11, log.events[10].id)
    assert KEY.verifies(checkpoint)
    assert not KEY.verifies(replace(checkpoint, position=12))


async def test_retention_leaves_a_log_that_is_whole(log: Log):
    before = times.now_text()
    await log.write(4)
    assert await log.trail.forget(before) == 10
    found = await log.trail.verify()
    assert (found.ok, found.checked) == (True, 4)
    await log.reopen()
    await log.write(2)
    assert (await log.trail.verify()).checked == 6


async def test_retention_keeps_the_last_event(log: Log):
    assert await log.trail.forget(times.now_text()) == 9
    assert (await log.trail.verify()).checked == 1
    assert await log.trail.forget(times.now_text()) == 0


async def test_what_is_removed_behind_retentions_back_is_found(log: Log, hand: Hand):
    before = times.now_text()
    await log.write(4)
    await log.trail.forget(before)
    hand.remove("audit_events", log.events[10].id)
    assert await log.found() == log.events[11].id


async def test_a_floor_that_was_forged_hides_nothing(log: Log, hand: Hand):
    hand.remove("audit_events", log.events[0].id)
    forged = CheckpointKey(b"l" * 32).sign("floor", (await log.store.checkpoint("head")).at, times.now_text())  # type: ignore[union-attr]
    await log.store.keep_checkpoint(replace(forged, position=1))
    assert await log.found() == log.events[1].id
