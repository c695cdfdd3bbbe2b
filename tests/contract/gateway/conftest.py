"""A gateway before a made-up service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.gateway.server import Running, running


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Running]:
    async with running(redis_url) as started:
        yield started
