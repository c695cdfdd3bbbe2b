"""Two replicas on one database: what one changes, the other knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from collections_service.catalog import Catalog
from fastcms_common.errors import Conflict, Denied, NotFound
from tests.contract.collections.keys import Keys, serving
from tests.contract.collections.server import CollectionsServer, collections_server
from tests.mongo_server import ONE_WINNER
from tests.storages import Storage, needs

Pair = tuple[CollectionsServer, CollectionsServer]


@pytest.fixture
async def replicas(storage: Storage, redis_url: str) -> AsyncIterator[Pair]:
    keys = Keys()
    async with (
        serving(keys) as address,
        collections_server(keys, address, redis_url, storage.url) as one,
        collections_server(keys, address, redis_url, storage.url) as other,
    ):
        yield one, other


async def test_a_change_is_known_to_the_other_replica_at_once(replicas: Pair) -> None:
    one, other = replicas
    made = await one.open("posts", "title")
    await other.add("posts", title="t")
    for number in range(10):
        field = f"more{number}"
        await one.change(made.id, schema=["title", field])
        await other.add("posts", title="t", **{field: "x"})
    await one.change(made.id, name="articles")
    assert (await other.list("articles"))["total"] == 11
    with pytest.raises(NotFound):
        await other.list("posts")
    await one.drop(made.id)
    with pytest.raises(NotFound):
        await other.list("articles")


async def test_a_rule_that_is_closed_is_closed_everywhere(replicas: Pair) -> None:
    """As soon as the one who closed it is told so, whatever the other replica had in memory."""
    one, other = replicas
    made = await one.open("posts", "title")
    user = await one.user()
    for _ in range(20):
        await one.change(made.id, list_rule="")
        await other.list("posts", bearer=user)
        await one.change(made.id, list_rule=None)
        with pytest.raises(Denied):
            await other.list("posts", bearer=user)


async def test_a_refusal_by_a_stale_schema_is_looked_at_again(replicas: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = replicas
    made = await one.open("posts", "title")
    await other.list("posts")

    async def unheard(self: Catalog, collection_id: str) -> None:
        self.forget()

    # The announcement is lost: only the refusal itself can tell the other replica that its schema is old.
    monkeypatch.setattr(Catalog, "announce", unheard)
    await one.change(made.id, schema=["title", "more"])
    assert (await other.add("posts", more="x"))["data"] == {"title": None, "more": "x"}


@needs(ONE_WINNER)
async def test_of_two_changes_at_once_none_is_lost(replicas: Pair) -> None:
    one, other = replicas
    made = await one.open("posts", "title")
    results = await asyncio.gather(
        one.change(made.id, list_rule="title = 'a'"),
        other.change(made.id, view_rule="title = 'b'"),
        return_exceptions=True,
    )
    kept = await one.change(made.id, name="posts")
    for result, name, rule in zip(results, ("list_rule", "view_rule"), ("title = 'a'", "title = 'b'"), strict=True):
        # One that came too late was told so.
        assert getattr(kept, name) == (rule if not isinstance(result, Exception) else "")
    assert not all(isinstance(result, Exception) for result in results)


@needs(ONE_WINNER)
async def test_of_two_changes_at_once_that_ask_more_none_is_lost(replicas: Pair) -> None:
    one, other = replicas
    number = {"name": "n", "type": "number"}
    made = await one.open("posts", number)
    for step in range(3):
        results = await asyncio.gather(
            one.change(made.id, schema=[{**number, "max": 100.0 - step}]),
            other.change(made.id, schema=[{**number, "min": 0.0 + step}]),
            return_exceptions=True,
        )
        assert all(isinstance(result, Conflict) for result in results if isinstance(result, Exception))
        # What is shown is what one of them was answered: who was refused has left nothing.
        made_by = [result.schema.fields[0] for result in results if not isinstance(result, Exception)]
        assert (await one.shown(made.id)).schema.fields[0] in made_by


async def test_a_collection_that_went_unheard_is_not_found(replicas: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = replicas
    made = await one.open("posts", "title")
    record = await other.add("posts", title="t")

    async def unheard(self: Catalog, collection_id: str) -> None:
        self.forget()

    monkeypatch.setattr(Catalog, "announce", unheard)
    await one.drop(made.id)
    for attempt in (
        other.get("posts", record["id"]),
        other.patch("posts", record["id"], {"title": "x"}),
        other.remove("posts", record["id"]),
        other.list("posts", "title = 'x'", sort="title"),
        other.add("posts", title="x"),
    ):
        with pytest.raises(NotFound):
            await attempt
