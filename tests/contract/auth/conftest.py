"""A running auth-service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.auth.server import AuthServer, auth_server


@pytest.fixture
async def server(tmp_path: Path, redis_url: str) -> AsyncIterator[AuthServer]:
    """An auth-service with nothing in it."""
    async with auth_server(tmp_path, redis_url) as running:
        yield running
