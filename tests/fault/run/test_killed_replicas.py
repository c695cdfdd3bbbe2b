"""One replica of each service is killed under load: what it was writing is lost, and nothing that comes after."""

from __future__ import annotations

import asyncio

import pytest

from tests.fault.run.load import Load
from tests.fault.run.replicas import Replicas


@pytest.mark.timeout(300)
async def test_the_other_replica_goes_on_alone(replicas: Replicas, load: Load):
    for replica in replicas.sets[0]:
        replica.kill()
        lost = await what_it_had_in_hand(load)
        # A client that waits for each answer had one request there at most, and is told to come again.
        assert len(lost) <= len(load.answers), f"{replica.name}: {lost}"
        assert all(" 503 " in failure for failure in lost), f"{replica.name}: {lost}"
        # What it was only to read is read from the other.
        assert not any(failure.startswith("GET ") for failure in lost), f"{replica.name}: {lost}"
        await load.more()
    await load.stop()

    assert load.failures == []


async def what_it_had_in_hand(load: Load) -> list[str]:
    """The requests that failed, when each client has been answered again."""
    lost: list[str] = []
    async with asyncio.timeout(60):
        while True:
            await load.more(3)
            if not load.failures:
                return lost
            lost += load.failures
            load.failures.clear()
