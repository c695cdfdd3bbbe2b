"""A running collections-service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.collections.keys import Keys, serving
from tests.contract.collections.server import CollectionsServer, collections_server


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/collections.db"


@pytest.fixture
async def server(storage_url: str, redis_url: str) -> AsyncIterator[CollectionsServer]:
    """A collections-service with nothing in it."""
    keys = Keys()
    async with serving(keys) as address, collections_server(keys, address, redis_url, storage_url) as running:
        yield running
