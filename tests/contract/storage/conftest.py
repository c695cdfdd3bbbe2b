"""A store of each engine in turn, with one table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fastcms_common.storage import Index, Store, Table
from tests.storages import Storage

USERS = Table(
    "users",
    indexes=(
        Index("email", unique=True),
        Index(["tenant", "login"], unique=True, required=True),
        Index([("created", -1)]),
        Index("tags", many=True),
    ),
    scalars=("profile.city",),
)


def user(id: str, **fields: object) -> dict[str, object]:
    """A document that USERS takes."""
    return {"id": id, "tenant": "t", "login": id, **fields}


@pytest.fixture
async def store(storage: Storage) -> AsyncIterator[Store]:
    opened = await storage.open(USERS)
    yield opened
    await opened.close()
