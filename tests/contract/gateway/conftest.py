"""A gateway before a made-up service, one for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.contract.gateway.server import Running, running
from tests.redis_process import RedisProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(redis_server: RedisProcess) -> AsyncIterator[Running]:
    async with running(redis_server.url) as started:
        yield started
