"""Keys are rotated as deploy/README.md says, under load, and no request is lost."""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64encode

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.cli.command import fastcms
from tests.fault.run.load import Load
from tests.fault.run.replicas import Replicas

MAIL_SERVER = {"smtp_url": "smtp://me:s3cret@127.0.0.1:9"}


# Each service starts four times in two replicas: on a busy machine that takes its time.
@pytest.mark.timeout(400)
async def test_all_keys_are_rotated_and_no_request_is_lost(replicas: Replicas, load: Load):
    client = load.gateways[0]
    assert (await client.patch("/api/v1/settings/mail", json=MAIL_SERVER)).is_success
    session = (await client.post("/api/v1/auth/login", json=credentials())).json()["refresh_token"]
    files = {"master": replicas.folder / "master.key", "service": replicas.folder / "service.key"}
    keys = {name: (file.read_text(), new_key()) for name, file in files.items()}

    # The new key is known everywhere before it is used anywhere.
    for order in (slice(None), slice(None, None, -1)):
        for name, file in files.items():
            file.write_text("\n".join(keys[name][order]))
        await roll(replicas, load)
    for name in ("master", "service", "signing"):
        done = await asyncio.to_thread(fastcms, replicas.folder, "rotate-keys", name, **replicas.environment)
        assert done.returncode == 0, done.stderr
    await load.more()
    refreshed = await client.post("/api/v1/auth/refresh", json={"refresh_token": session})
    assert refreshed.is_success, refreshed.text
    for name, file in files.items():
        file.write_text(keys[name][1])
    await roll(replicas, load)
    await load.stop()

    assert load.failures == [], f"{len(load.failures)} of {load.answers.total()}"
    # The old keys are nowhere: what opens now opens with the new ones.
    assert (await again(client, refreshed)).is_success
    assert (await client.get("/api/v1/settings/mail")).json()["smtp_url_set"] is True
    assert (await client.get("/api/v1/audit/verify")).json()["ok"] is True


def credentials() -> dict[str, str]:
    return {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}


def new_key() -> str:
    return urlsafe_b64encode(os.urandom(32)).decode()


async def again(client: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response:
    """The session of the answer, refreshed."""
    return await client.post("/api/v1/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]})


async def roll(replicas: Replicas, load: Load) -> None:
    """Replaces the replicas of the services that read the keys, half of them at a time."""
    for these in replicas.sets:
        keyed = [replica for replica in these if replica.name != "collections-service"]
        codes = await asyncio.gather(*(asyncio.to_thread(replica.stop) for replica in keyed))
        assert codes == [0] * len(keyed)
        for replica in keyed:
            replica.start()
        await asyncio.gather(*(asyncio.to_thread(replica.wait_ready) for replica in keyed))
        await load.more(3)
