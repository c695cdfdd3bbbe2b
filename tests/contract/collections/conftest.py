"""A running collections-service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.collections.keys import Keys, serving
from tests.contract.collections.server import CollectionsServer, collections_server
from tests.storages import Storage


@pytest.fixture
async def server(storage: Storage, redis_url: str) -> AsyncIterator[CollectionsServer]:
    """A collections-service with nothing in it, on each engine in turn."""
    keys = Keys()
    async with serving(keys) as address, collections_server(keys, address, redis_url, storage.url) as running:
        yield running
