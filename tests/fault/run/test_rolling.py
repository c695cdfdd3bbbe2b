"""Every replica of every service is replaced under load, and no request is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.fault.run.replicas import Replicas

# Seconds between two requests of one client.
PACE = 0.02


@pytest.fixture
def replicas(tmp_path: Path, redis_url: str) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path, redis_url, (ADMIN_EMAIL, ADMIN_PASSWORD))
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.close()


class Load:
    """Clients that ask, one request after the other, until they are told to stop.

    Each has a gateway that it goes to, and goes to the other while its own is in `away`: as a load balancer has it that
    looks at readiness.
    """

    def __init__(self, gateways: Sequence[httpx.AsyncClient]) -> None:
        self.gateways = gateways
        self.away: set[httpx.AsyncClient] = set()
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self._under_way: Counter[httpx.AsyncClient] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def add(self, method: str, path: str, body=None) -> None:
        """For each gateway a client that makes this request; `body` makes the body of each."""
        for gateway in self.gateways:
            self._tasks.append(asyncio.create_task(self._ask(gateway, method, path, body)))

    async def _ask(self, gateway: httpx.AsyncClient, method: str, path: str, body) -> None:
        while not self._stopping.is_set():
            client = next(one for one in (gateway, *self.gateways) if one not in self.away)
            self._under_way[client] += 1
            try:
                answer = await client.request(method, path, json=body() if body else None)
            except httpx.HTTPError as error:
                self.failures.append(f"{method} {path}: {error!r}")
            else:
                if answer.is_success:
                    self.answers[f"{gateway.base_url} {method} {path}"] += 1
                else:
                    self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
            self._under_way[client] -= 1
            await asyncio.sleep(PACE)

    async def take_away(self, gateway: httpx.AsyncClient) -> None:
        """Has nobody go to the gateway, and returns when nobody does: what the pause before SIGTERM is for."""
        self.away.add(gateway)
        async with asyncio.timeout(30):
            while self._under_way[gateway]:
                await asyncio.sleep(0.01)

    async def more(self, by: int = 20) -> None:
        """Until each client has had so many more answers, or one has had none."""
        goal = {key: had + by for key, had in self.answers.items()}
        async with asyncio.timeout(60):
            while not self.failures and any(self.answers[key] < wanted for key, wanted in goal.items()):
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)


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


# Ten processes start, and each of them once more: on a busy machine that takes its time.
@pytest.mark.timeout(300)
async def test_no_request_is_lost_while_replicas_are_replaced(replicas: Replicas, load: Load):
    """One replica of each service, then the other, then the gateways: it ends in its time, is away for a while, and
    comes back. Services are stopped in the middle of calls; of gateways, readiness goes first."""
    for these in replicas.sets:
        for replica in these:
            assert await asyncio.to_thread(replica.stop) == 0, replica.name
            await load.more(10)
        for replica in these:
            replica.start()
        for replica in these:
            await asyncio.to_thread(replica.wait_ready)
        await load.more()
    for client, gateway in zip(load.gateways, (replicas.multiplexed, replicas.plain), strict=True):
        await load.take_away(client)
        assert await asyncio.to_thread(gateway.stop) == 0
        await load.more(10)
        gateway.start()
        await asyncio.to_thread(gateway.wait_ready)
        load.away.discard(client)
    await load.more(10)
    await load.stop()
    assert load.failures == [], f"{len(load.failures)} of {load.answers.total()}"
