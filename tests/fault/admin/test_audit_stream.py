"""The way of an event into the log, with everything on it failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admin_service.audit_chain import CheckpointKey
from admin_service.audit_trail import AuditTrail
from admin_service.store import AdminStore
from fastcms_common import redis_keys
from fastcms_common.audit import EVENT_FIELD, AuditLog, build_event
from fastcms_common.events import EventStream
from fastcms_common.redis_connection import connect
from fastcms_common.service_tokens import read_key
from fastcms_common.storage import open_store
from tests.contract.auth.server import key_file
from tests.fault.admin.process import start
from tests.ports import free_port

EVENTS = 600


@pytest.fixture
async def settings(tmp_path: Path, redis_url: str) -> dict[str, object]:
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "data_dir": tmp_path,
        "redis_url": redis_url,
        "storage_url": f"sqlite:///{tmp_path}/admin.db",
        "service_key_file": key_file(tmp_path / "service.key"),
    }


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[object]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def publish(redis, count: int) -> list[str]:
    log = AuditLog(redis)
    events = [build_event("system", "counted", description=str(number)) for number in range(count)]
    for event in events:
        await log.publish(event)
    return [event.id for event in events]


async def stored(path: Path, key: Path, redis) -> list[str]:
    """The ids in the log in their order; fails unless the log is whole."""
    store = AdminStore(await open_store(f"sqlite:///{path}", "admin"))
    await store.prepare()
    found = await AuditTrail(store, redis, CheckpointKey(read_key(key))).verify()
    rows = [row["id"] async for page in store.chain(0) for row in page]
    await store.close()
    assert found.ok, found
    return rows


async def written(redis) -> int:
    position = await redis.hget(redis_keys.AUDIT_CHECKPOINT, "position")
    return int(position or 0)


async def until_written(redis, count: int, within: float = 60) -> None:
    async with asyncio.timeout(within):
        while await written(redis) < count:
            await asyncio.sleep(0.01)


async def test_nothing_is_lost_or_doubled_when_the_writer_is_killed(redis, settings, tmp_path: Path):
    """Killed twice in the middle, by SIGKILL, without a word; a third one finishes what the two have left."""
    published = await publish(redis, EVENTS)
    for goal in (EVENTS // 4, EVENTS // 2):
        process = start(settings, tmp_path / "log")
        await until_written(redis, goal)
        process.kill()
        process.wait()
    survivor = start(settings, tmp_path / "log")
    published += await publish(redis, 10)
    await until_written(redis, EVENTS + 10)
    async with asyncio.timeout(60):
        while await redis.xlen(redis_keys.AUDIT_EVENTS):
            await asyncio.sleep(0.05)
    survivor.terminate()
    assert survivor.wait() == 0
    assert sorted(await stored(tmp_path / "admin.db", settings["service_key_file"], redis)) == sorted(published)


async def test_what_happens_while_nobody_writes_is_written_later(redis, settings, tmp_path: Path):
    published = await publish(redis, 20)
    process = start(settings, tmp_path / "log")
    await until_written(redis, 20)
    process.terminate()
    assert process.wait() == 0
    assert await stored(tmp_path / "admin.db", settings["service_key_file"], redis) == published


async def test_several_writers_store_everything_once_in_one_chain(redis, settings, tmp_path: Path):
    replicas = [start(settings | {"listen": f"127.0.0.1:{free_port()}"}, tmp_path / f"log-{n}") for n in range(3)]
    published: list[str] = []
    for _ in range(6):
        published += await publish(redis, 50)
    await until_written(redis, 300)
    for replica in replicas:
        replica.terminate()
        assert replica.wait() == 0
    assert sorted(await stored(tmp_path / "admin.db", settings["service_key_file"], redis)) == sorted(published)


async def test_an_event_that_was_written_but_not_acknowledged_is_not_written_again(redis, settings, tmp_path: Path):
    """What is between the write and the acknowledgement, where a kill hurts most."""
    store = AdminStore(await open_store(str(settings["storage_url"]), "admin"))
    await store.prepare()
    event = build_event("system", "counted", description="once")
    await AuditTrail(store, redis, CheckpointKey(read_key(settings["service_key_file"]))).append(event)
    await store.close()
    await EventStream(redis, redis_keys.AUDIT_EVENTS).publish({EVENT_FIELD: event.SerializeToString()})
    process = start(settings, tmp_path / "log")
    async with asyncio.timeout(20):
        while await redis.xlen(redis_keys.AUDIT_EVENTS):
            await asyncio.sleep(0.02)
    process.terminate()
    assert process.wait() == 0
    assert await stored(tmp_path / "admin.db", settings["service_key_file"], redis) == [event.id]


async def test_a_redis_that_restarts_loses_nothing(redis, settings, tmp_path: Path, redis_server):
    process = start(settings, tmp_path / "log")
    published = await publish(redis, 50)
    await until_written(redis, 10)
    redis_server.kill()
    redis_server.start()
    published += await publish(redis, 50)
    await until_written(redis, 100)
    process.terminate()
    assert process.wait() == 0
    assert sorted(await stored(tmp_path / "admin.db", settings["service_key_file"], redis)) == sorted(published)
