"""Pages of a list of many accounts: whole, in order, and none of them sorted anew by the database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth_service.models import Identity
from auth_service.store import IDENTITIES, AuthStore
from fastcms_common.ids import new_id
from fastcms_common.storage import Sort, eq, open_store
from tests.storages import Storage

SCREEN = Path(__file__).parents[3] / "gateway/gateway/static/admin/screens/users.js"
MANY = 47
ACTIVE = eq("state", "active")


@pytest.fixture
async def store(storage: Storage) -> AsyncIterator[AuthStore]:
    """A store with accounts of which several were made in the same moment, and one that is not there yet."""
    store = AuthStore(await open_store(storage.url, "auth"))
    await store.prepare()
    for number in range(MANY + 1):
        email = f"{number:02}@example.com"
        created = f"2026-01-01T00:00:{number // 5:02}.000000Z"
        state = "active" if number < MANY else "pending"
        await store.add_identity(
            Identity(
                id=new_id(), realm="users", email=email, email_key=email, created=created, updated=created, state=state
            )
        )
    yield store
    await store.close()


@pytest.mark.parametrize("sort", [[("created", -1)], [("created", 1)], [("role", 1), ("email", -1)]])
async def test_pages_follow_one_another_from_the_first_to_the_last(store: AuthStore, sort: Sort):
    whole, total = await store.identities(ACTIVE, sort, 1, 500)
    assert total == len(whole) == MANY
    pages = [await store.identities(ACTIVE, sort, page, 10) for page in range(1, 6)]
    assert [len(found) for found, _ in pages] == [10, 10, 10, 10, 7]
    assert [one.id for found, _ in pages for one in found] == [one.id for one in whole]
    assert await store.identities(ACTIVE, sort, 6, 10) == ([], MANY)
    assert {total for _, total in pages} == {MANY}


def test_an_index_serves_every_order_and_filter_that_the_dashboard_offers():
    text = SCREEN.read_text()
    offered = set(re.findall(r'sort: "(\w+)"', text)) | set(re.findall(r'<\$\{Filter\}.*? name="(\w+)"', text))
    assert {"created", "email", "name", "role", "verified", "collection"} <= offered
    prefixes = {index.paths[:2] for index in IDENTITIES.indexes}
    realm = {(("realm",), ("state",))}
    missing = [name for name in offered if name != "collection" and (("state",), (name,)) not in prefixes] + (
        [] if realm <= prefixes else ["collection"]
    )
    assert missing == []
