"""Every replica of every service is replaced under load, and no request is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.fault.run.load import Load
from tests.fault.run.replicas import Replicas


# Ten processes start, and each of them once more: on a busy machine that takes its time.
@pytest.mark.timeout(300)
async def test_no_request_is_lost_while_replicas_are_replaced(replicas: Replicas, load: Load):
    """One replica of each service, then the other, then the gateways: it ends in its time, is away for a while, and
    comes back. Services are stopped in the middle of calls; of gateways, readiness goes first."""
    for these in replicas.sets:
        for replica in these:
            assert await asyncio.to_thread(replica.stop) == 0, replica.name
            await load.more(4)
        for replica in these:
            replica.start()
        for replica in these:
            await asyncio.to_thread(replica.wait_ready)
        await load.more()
    for client, gateway in zip(load.gateways, (replicas.multiplexed, replicas.plain), strict=True):
        await load.take_away(client)
        assert await asyncio.to_thread(gateway.stop) == 0
        await load.more(4)
        gateway.start()
        await asyncio.to_thread(gateway.wait_ready)
        load.away.discard(client)
    await load.more(4)
    await load.stop()
    assert load.failures == [], f"{len(load.failures)} of {load.answers.total()}"
