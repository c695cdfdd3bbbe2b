"""A running admin-service and auth-service for each test, with the first admin and a user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.admin.server import USER_EMAIL, USER_PASSWORD, AdminServer, admin_server
from tests.contract.auth.server import auth_server
from tests.storages import Storage


@dataclass
class People:
    """Tokens and ids of a superadmin, a plain admin and a user."""

    root: str
    root_id: str
    admin: str
    admin_id: str
    user: str
    user_id: str


@pytest.fixture
async def server(tmp_path: Path, redis_url: str, storage: Storage) -> AsyncIterator[AdminServer]:
    """An admin-service with nothing in it, on each storage engine in turn."""
    async with auth_server(tmp_path, redis_url) as auth, admin_server(auth, tmp_path, storage.url) as running:
        yield running


@pytest.fixture
async def people(server: AdminServer) -> People:
    """The accounts that tests act with."""
    return await make_people(server)


async def make_people(server: AdminServer) -> People:
    root = (await server.auth.register()).access_token
    admin = await server.auth.register("grace@example.com", USER_PASSWORD, role="admin", bearer=root)
    user = await server.auth.register(USER_EMAIL, USER_PASSWORD, role="user", bearer=root)

    async def identity(token: str) -> str:
        return str((await server.auth.me(token))["id"])

    return People(
        root=root,
        root_id=await identity(root),
        admin=admin.access_token,
        admin_id=await identity(admin.access_token),
        user=user.access_token,
        user_id=await identity(user.access_token),
    )
