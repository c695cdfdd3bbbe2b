"""A suite with two replicas of each service, and a light load on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.fault.run.load import Load
from tests.fault.run.replicas import Replicas


@pytest.fixture
def replicas(tmp_path: Path, redis_url: str) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path, redis_url, (ADMIN_EMAIL, ADMIN_PASSWORD))
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.close()


@pytest.fixture
async def load(replicas: Replicas) -> AsyncIterator[Load]:
    """A steady light load of all kinds, through both gateways."""
    numbers = count()
    async with (
        httpx.AsyncClient(base_url=f"http://{replicas.multiplexed.address}", trust_env=False, timeout=20) as one,
        httpx.AsyncClient(base_url=f"http://{replicas.plain.address}", trust_env=False, timeout=20) as other,
    ):
        load = Load([one, other])
        credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        for client in (one, other):
            answer = await client.post("/api/v1/auth/login", json=credentials)
            assert answer.is_success, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        schema = [{"name": "number", "type": "number"}]
        made = await one.post("/api/v1/collections", json={"name": "rolled", "schema": schema})
        assert made.is_success, made.text
        load.add("GET", "/api/v1/auth/me")
        load.add("POST", "/api/v1/auth/login", lambda: credentials)
        load.add("GET", "/api/v1/collections/rolled/records?limit=5")
        load.add("POST", "/api/v1/collections/rolled/records", lambda: {"data": {"number": next(numbers)}})
        load.add("GET", "/api/v1/audit")
        load.add("GET", "/api/v1/admin/users")
        load.add("GET", "/api/v1/admin/cron")
        async with asyncio.timeout(20):
            while len(load.answers) < 14 and not load.failures:
                await asyncio.sleep(0.02)
        yield load
        await load.stop()
