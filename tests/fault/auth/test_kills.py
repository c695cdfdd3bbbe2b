"""auth-service killed between any two steps of a registration, an address change and a removal.

collections-service stands here in memory; at the chosen moment it kills the real process that is calling it. Then the
process is started again and the job run: nothing is orphaned, nothing lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from auth_service.config import Settings
from auth_service.store import IDENTITIES, AuthStore
from fastcms.auth.v1 import credentials_pb2, identities_pb2
from fastcms_cli.processes import dies_with
from fastcms_common.errors import DomainError, NotFound, Unauthenticated
from fastcms_common.redis_connection import connect
from fastcms_common.storage import Change, open_store
from tests.contract.auth.mailbox import Mailbox, token_of
from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import PASSWORD, AuthServer, key_file
from tests.ports import free_port
from tests.storages import Storage

EVA = "eva@example.com"
LONG_AGO = "2020-01-01T00:00:00.000000Z"


class Site:
    """A folder with auth-service's data, and the process."""

    def __init__(self, folder: Path, redis_url: str, storage_url: str, collections_address: str) -> None:
        self.environment = {
            "LISTEN": f"127.0.0.1:{free_port()}",
            "DATA_DIR": str(folder),
            "OUTBOX_DIR": str(folder / "outbox"),
            "REDIS_URL": redis_url,
            "STORAGE_URL": storage_url,
            "COLLECTIONS_SERVICE": collections_address,
            "SERVICE_KEY_FILE": str(key_file(folder / "service.key")),
            "MASTER_KEY_FILE": str(key_file(folder / "master.key")),
            "ADMIN_EMAIL": "root@example.com",
            "ADMIN_PASSWORD": PASSWORD,
        }
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AuthServer]:
        """The process, until it ends or the block does."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "auth_service"],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 - as the run command does it
            )
        settings = Settings(**{name.lower(): value for name, value in self.environment.items()})
        redis = connect(settings.redis_url)
        server = AuthServer(settings, redis)
        try:
            async with asyncio.timeout(30):
                await server.channel.raw.channel_ready()  # type: ignore[attr-defined]
            yield server
        finally:
            await server.channel.close()
            await redis.aclose()
            self.process.kill()
            await asyncio.to_thread(self.process.wait)

    async def let_time_pass(self) -> None:
        """What was under way when the process died was under way long ago."""
        store = AuthStore(await open_store(self.environment["STORAGE_URL"], "auth"))
        try:
            await store.prepare()
            async for identity in store.scan_identities():
                changes = {"updated": LONG_AGO}
                if identity.pending_until is not None:
                    changes["pending_until"] = LONG_AGO
                await store.storage.update(IDENTITIES.name, identity.id, Change(set=changes))
        finally:
            await store.close()

    async def identities(self) -> dict[str, str]:
        """The states of all members, by id."""
        store = AuthStore(await open_store(self.environment["STORAGE_URL"], "auth"))
        try:
            await store.prepare()
            return {one.id: one.state async for one in store.scan_identities() if not one.built_in}
        finally:
            await store.close()


@pytest.fixture
async def place(tmp_path: Path, redis_url: str, storage: Storage) -> AsyncIterator[tuple[Site, Collections]]:
    """On each storage engine in turn."""
    collections = Collections("customers")
    async with serving(collections) as address:
        yield Site(tmp_path, redis_url, storage.url, address), collections


def kill_at(site: Site, collections: Collections, rpc: str, moment: str) -> None:
    """Kills the process when it makes this call, before or after the work of it is done."""

    def hook(name: str, request: Any) -> None:
        if name == rpc:
            site.kill()

    setattr(collections, moment, hook)


def calm(collections: Collections) -> None:
    collections.before = collections.after = lambda rpc, request: None


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("cleared_by", ["the job", "the next one who wants the address"])
async def test_a_registration(place: tuple[Site, Collections], moment: str, cleared_by: str):
    site, collections = place
    kill_at(site, collections, "CreateProfile", moment)
    async with site.running() as server:
        with pytest.raises(DomainError):
            await server.join({"email": EVA, "password": PASSWORD, "company": "First"})
    calm(collections)
    assert list((await site.identities()).values()) == ["pending"]
    await site.let_time_pass()
    async with site.running() as server:
        with pytest.raises(Unauthenticated):
            await server.login(EVA, PASSWORD, collection="customers")
        if cleared_by == "the job":
            assert (await server.reconcile()).undone == 1
            assert collections.records == {}
        answer = await server.join({"email": EVA, "password": PASSWORD, "company": "Second"})
        assert orjson.loads(answer.user)["company"] == "Second"
    assert list(await site.identities()) == [one for _, one in collections.records]
    assert [one["company"] for one in collections.records.values()] == ["Second"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_address_change(place: tuple[Site, Collections], tmp_path: Path, moment: str):
    site, collections = place
    async with site.running() as server:
        eva = await server.join({"email": EVA, "password": PASSWORD})
        asked = credentials_pb2.RequestEmailChangeRequest(
            collection="customers", new_email="new@example.com", password=PASSWORD
        )
        await server.call(server.credentials.RequestEmailChange, asked, eva.access_token)
        token = token_of(await Mailbox(tmp_path / "outbox").next("new@example.com", "email_change"))
        kill_at(site, collections, "UpdateProfile", moment)
        confirm = credentials_pb2.ConfirmEmailChangeRequest(collection="customers", token=token)
        with pytest.raises(DomainError):
            await server.call(server.credentials.ConfirmEmailChange, confirm)
    calm(collections)
    async with site.running() as server:
        await server.reconcile()
        assert collections.emails() == ["new@example.com"]
        assert (await server.me(eva.access_token, "customers"))["verified"] is True, "the session has survived"
        assert (await server.login("new@example.com", PASSWORD, collection="customers")).access_token
        with pytest.raises(Unauthenticated):
            await server.login(EVA, PASSWORD, collection="customers")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_removal(place: tuple[Site, Collections], moment: str):
    site, collections = place
    async with site.running() as server:
        eva = await server.join({"email": EVA, "password": PASSWORD})
        root = await server.login("root@example.com")
        kill_at(site, collections, "DeleteProfile", moment)
        remove = identities_pb2.DeleteIdentityRequest(id=orjson.loads(eva.user)["id"])
        with pytest.raises(DomainError):
            await server.call(server.identities.DeleteIdentity, remove, root.access_token)
    calm(collections)
    assert list((await site.identities()).values()) == ["deleting"]
    await site.let_time_pass()
    async with site.running() as server:
        with pytest.raises(Unauthenticated):
            await server.login(EVA, PASSWORD, collection="customers")
        with pytest.raises(NotFound):
            ask = identities_pb2.GetIdentityRequest(id=orjson.loads(eva.user)["id"])
            await server.call(server.identities.GetIdentity, ask, root.access_token)
        assert (await server.reconcile()).removed == 1
        with pytest.raises(Unauthenticated):
            await server.me(eva.access_token, "customers")
        assert (await server.join({"email": EVA, "password": PASSWORD})).access_token
    assert list(await site.identities()) == [one for _, one in collections.records]


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_a_first_admin_made_at_start_survives_kills_at_any_time(place: tuple[Site, Collections]):
    site, _ = place
    for _ in range(3):
        async with site.running() as server:
            site.kill()
    async with site.running() as server:
        assert (await server.login("root@example.com")).access_token
