"""Redis goes and comes back: what needs it waits, what does not goes on, nothing is half done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from collections_service import journal
from fastcms.collections.v1 import collections_pb2, profiles_pb2
from fastcms_common.errors import DomainError, NotFound, Unavailable
from fastcms_common.ids import new_id
from tests.contract.collections.server import CollectionsServer
from tests.redis_process import RedisProcess


@pytest.fixture(autouse=True)
def _quick_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left behind is looked at all the time, and is old at once."""
    monkeypatch.setattr(journal, "_LOOK_EVERY", 0.1)
    monkeypatch.setattr(journal.Journal.tidy, "__defaults__", (timedelta(0),))


@pytest.fixture
def away(redis_server: RedisProcess) -> Iterator[RedisProcess]:
    """A Redis that a test may kill; it is back afterwards."""
    yield redis_server
    if redis_server.process.poll() is not None:
        redis_server.start()


async def until_known(server: CollectionsServer) -> None:
    """Returns when the service has Redis again."""
    async with asyncio.timeout(20):
        while True:
            try:
                await server.call(server.collections.ListCollections, collections_pb2.ListCollectionsRequest())
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_what_anyone_may_do_goes_on_without_redis(server: CollectionsServer, away: RedisProcess) -> None:
    made = await server.open("posts", "title")
    record = await server.add("posts", title="t")
    away.kill()
    assert (await server.list("posts", bearer=""))["total"] == 1
    await server.patch("posts", record["id"], {"title": "u"}, "")
    await server.add("posts", "", title="v")
    # Whoever is signed in cannot be known to be: never a free pass.
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            while True:
                await server.list("posts")
    with pytest.raises(Unavailable):
        await server.change(made.id, list_rule=None)
    away.start()
    await until_known(server)
    assert await server.values("posts", "title", sort="title", bearer="") == ["u", "v"]


async def test_auth_service_hears_of_a_member_even_if_redis_was_away(
    server: CollectionsServer, away: RedisProcess
) -> None:
    made = await server.create("members", type="auth", delete_rule="", view_rule="")
    id = new_id()
    profile = profiles_pb2.CreateProfileRequest(collection=made.id, id=id, email="a@example.com")
    await server.call(server.profiles.CreateProfile, profile, await server.service())
    away.kill()
    with pytest.raises(DomainError):
        await server.remove("members", id, "")
    away.start()
    await until_known(server)
    with pytest.raises(NotFound):
        await server.get("members", id)
    async with asyncio.timeout(30):
        while not await server.events():
            await asyncio.sleep(0.1)
    assert [event["record_id"] for event in await server.events()] == [id]
