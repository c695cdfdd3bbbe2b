"""What jobs do to collections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collections_service.relations import Relations
from fastcms.collections.v1 import jobs_pb2, jobs_pb2_grpc
from fastcms_common.errors import Conflict, Denied, Invalid, NotFound, Stale
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import ONE_WINNER
from tests.storages import needs


@pytest.fixture(autouse=True)
def quickly_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """An announcement is heard by the one process that there is."""
    monkeypatch.setattr("collections_service.catalog.HEARD", 0.0)


async def truncate(server: CollectionsServer, run: str, token: int, collection: str = "posts") -> int:
    request = jobs_pb2.TruncateForJobRequest(collection=collection, job="sweep", run_id=run, fencing_token=token)
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    answer: Any = await server.call(stub.TruncateForJob, request, await server.service())
    return int(answer.deleted_count)


async def fill(server: CollectionsServer, count: int) -> None:
    for number in range(count):
        await server.add("posts", code=str(number))


async def left(server: CollectionsServer) -> int:
    return int((await server.list("posts"))["total"])


async def test_a_run_empties_its_collection_once(server: CollectionsServer) -> None:
    await server.open("posts", "code")
    await fill(server, 3)
    assert await truncate(server, "r1", 10) == 3
    await fill(server, 2)
    # The worker died before it could say that it was done: whoever takes over hears what was done, and that is all.
    assert await truncate(server, "r1", 11) == 3
    assert await left(server) == 2
    assert await truncate(server, "r2", 12) == 2
    assert await left(server) == 0


async def test_a_worker_that_was_replaced_deletes_nothing(server: CollectionsServer) -> None:
    await server.open("posts", "code")
    assert await truncate(server, "r1", 10) == 0
    assert await truncate(server, "r2", 12) == 0
    await fill(server, 2)
    with pytest.raises(Stale) as caught:
        await truncate(server, "r3", 11)
    assert caught.value.reason == "LEASE_LOST"
    assert await left(server) == 2


@needs(ONE_WINNER)
async def test_of_many_workers_for_one_run_none_deletes_what_came_after_it(server: CollectionsServer) -> None:
    await server.open("posts", "code")
    await fill(server, 3)
    calls = (truncate(server, "r1", token) for token in range(1, 9))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, int | Stale) for answer in answers)
    assert isinstance(answers[-1], int)
    await fill(server, 1)
    assert await truncate(server, "r1", 9) == answers[-1]
    assert await left(server) == 1


async def test_a_worker_that_stops_for_long_right_before_it_deletes_deletes_nothing(
    server: CollectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.open("posts", "code")
    await fill(server, 3)
    release_all = Relations.release_all
    others: list[int] = []

    async def slow(self: Relations, *arguments: Any, **options: Any) -> None:
        if not others:
            others.append(0)
            # Its lease runs out: another worker does the run, and life goes on.
            others.append(await truncate(server, "r1", 11))
            await fill(server, 2)
        await release_all(self, *arguments, **options)

    monkeypatch.setattr(Relations, "release_all", slow)
    assert await truncate(server, "r1", 10) == 3
    assert others == [0, 3]
    assert await left(server) == 2


async def test_what_cannot_be_emptied_is_said_and_can_be_tried_again(server: CollectionsServer) -> None:
    with pytest.raises(NotFound):
        await truncate(server, "r1", 10)
    await server.open("authors", "name")
    await server.open("posts", {"name": "author", "type": "relation", "collection": "authors"})
    author = await server.add("authors", name="a")
    post = await server.add("posts", author=author["id"])
    with pytest.raises(Conflict):
        await truncate(server, "r2", 11, "authors")
    await server.remove("posts", post["id"])
    assert await truncate(server, "r2", 11, "authors") == 1


async def test_only_services_may_ask(server: CollectionsServer) -> None:
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    with pytest.raises(Denied):
        await server.call(stub.TruncateForJob, jobs_pb2.TruncateForJobRequest(collection="posts", job="a", run_id="b"))
    with pytest.raises(Invalid) as caught:
        await server.call(stub.TruncateForJob, jobs_pb2.TruncateForJobRequest(), await server.service())
    assert {problem.field for problem in caught.value.fields} == {"collection", "job", "run_id"}
