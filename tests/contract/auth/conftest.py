"""A running auth-service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import AuthServer, auth_server


@pytest.fixture
async def server(tmp_path: Path, redis_url: str) -> AsyncIterator[AuthServer]:
    """An auth-service with nothing in it."""
    async with auth_server(tmp_path, redis_url) as running:
        yield running


@dataclass
class Shop:
    """An auth-service beside a collections-service that has the auth collections customers and vendors."""

    server: AuthServer
    collections: Collections


@pytest.fixture
async def shop(tmp_path: Path, redis_url: str) -> AsyncIterator[Shop]:
    collections = Collections("customers", "vendors")
    async with (
        serving(collections) as address,
        auth_server(tmp_path, redis_url, collections_service=address, mfa_enabled=True, otp_enabled=True) as running,
    ):
        yield Shop(running, collections)
