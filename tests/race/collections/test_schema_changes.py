"""Schemas that change while many write: what was acknowledged is there, and never does a record break its schema."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from fastcms_common.errors import Conflict, Invalid
from tests.contract.collections.keys import Keys, serving
from tests.contract.collections.server import CollectionsServer, collections_server
from tests.mongo_server import ONE_WINNER
from tests.storages import Storage, needs

WRITERS = 4
CHANGES = 6
MOST = 10


@pytest.fixture
async def replicas(
    storage: Storage, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[CollectionsServer]]:
    monkeypatch.setattr("collections_service.catalog.HEARD", 0.05)
    keys = Keys()
    async with (
        serving(keys) as address,
        collections_server(keys, address, redis_url, storage.url) as one,
        collections_server(keys, address, redis_url, storage.url) as other,
    ):
        yield [one, other]


@needs(ONE_WINNER)
async def test_no_record_breaks_its_schema_and_no_write_is_lost(replicas: list[CollectionsServer]) -> None:
    free = [{"name": "n", "type": "number"}, "title"]
    tight = [{"name": "n", "type": "number", "max": float(MOST)}, "title", {"name": "more", "type": "text"}]
    made = await replicas[0].open("things", *free)
    written: dict[str, int] = {}
    done = asyncio.Event()
    refused, changed = [], []

    async def write(number: int) -> None:
        """Counts a record of its own up to one too many, deletes it, and begins anew."""
        id, value = None, number
        for server in itertools.cycle(replicas):
            if done.is_set():
                return
            try:
                if id is None:
                    id = (await server.add("things", n=value))["id"]
                elif value > MOST:
                    await server.remove("things", id)
                    del written[id]
                    id, value = None, number
                    continue
                else:
                    value = (await server.patch("things", id, {"n+": 1}))["data"]["n"]
            except Invalid as error:
                refused.append(error)
            else:
                written[id] = value

    async def change() -> None:
        for server in itertools.cycle(replicas):
            try:
                await server.change(made.id, schema=tight)
            except Conflict:
                continue
            changed.append(server)
            for other in replicas:
                assert (await other.list("things", f"n > {MOST}"))["total"] == 0
            await server.change(made.id, schema=free)
            if len(changed) == CHANGES:
                return

    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    try:
        await change()
    finally:
        done.set()
        await asyncio.gather(*writers)
    page = await replicas[0].list("things", per_page=500)
    assert {item["id"]: item["data"]["n"] for item in page["items"]} == written
    assert refused
