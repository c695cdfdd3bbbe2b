"""A running auth-service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.auth.desk import Desk
from tests.contract.auth.openid import openid_provider
from tests.contract.auth.profiles import Collections, serving
from tests.contract.auth.server import AuthServer, auth_server
from tests.contract.auth.shop import Shop


@pytest.fixture
async def server(tmp_path: Path, redis_url: str) -> AsyncIterator[AuthServer]:
    """An auth-service with nothing in it."""
    async with auth_server(tmp_path, redis_url) as running:
        yield running


@pytest.fixture
async def shop(tmp_path: Path, redis_url: str) -> AsyncIterator[Shop]:
    collections = Collections("customers", "vendors")
    async with (
        serving(collections) as address,
        auth_server(tmp_path, redis_url, collections_service=address, mfa_enabled=True, otp_enabled=True) as running,
    ):
        yield Shop(running, collections)


@pytest.fixture
async def desk(shop: Shop) -> AsyncIterator[Desk]:
    """The shop with an OpenID provider that vouches for e-mails."""
    root = await shop.server.register()
    async with openid_provider() as provider:
        desk = Desk(shop, provider, root.access_token)
        desk.provider_id = await desk.offer("local", "oidc", provider.base)
        provider.user["email_verified"] = True
        yield desk
