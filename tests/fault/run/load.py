"""Clients that go on asking while something happens to the suite."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx

# Seconds between two requests of one client.
PACE = 0.1


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

    async def more(self, by: int = 5) -> None:
        """Until each client has had so many more answers, or one has had none."""
        goal = {key: had + by for key, had in self.answers.items()}
        async with asyncio.timeout(60):
            while not self.failures and any(self.answers[key] < wanted for key, wanted in goal.items()):
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)
