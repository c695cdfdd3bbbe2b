"""Nothing that the suite remembers outlives what it was made of, while many ask at once through two gateway workers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.suite import Suite, start_suite

PASSWORD = "another horse battery staple"
READERS = 16
# Answers that are looked at before a change, and of those asked for after it.
ENOUGH = 200
# Seconds within which an ended session is refused everywhere.
REVOKED_WITHIN = 0.1


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    environment = {
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "GATEWAY_WORKERS": "2",
        "RATE_LIMIT_CREDENTIALS_PER_MINUTE": "1000000",
        "RATE_LIMIT_REQUESTS_PER_MINUTE": "10000000",
    }
    with start_suite(tmp_path_factory.mktemp("load") / "data", **environment) as running:
        yield running


@dataclass(frozen=True)
class Read:
    """One answer, and when it was asked for."""

    asked: float
    status: int
    body: Any


class Readers:
    """Clients that ask for the same again and again, each on connections of its own."""

    def __init__(self, suite: Suite, path: str, headers: dict[str, str]) -> None:
        self._suite = suite
        self._path = path
        self._headers = headers
        self.reads: list[Read] = []

    async def ask(self) -> None:
        async with client_of(self._suite, self._headers) as client:
            while True:
                asked = time.monotonic()
                answer = await client.get(self._path)
                self.reads.append(Read(asked, answer.status_code, answer.json()))

    async def after(self, moment: float) -> list[Read]:
        """Enough of the answers that were asked for after a moment."""
        async with asyncio.timeout(30):
            while True:
                found = [read for read in self.reads if read.asked > moment]
                if len(found) >= ENOUGH:
                    return found
                await asyncio.sleep(0.01)


def client_of(suite: Suite, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=suite.base_url, headers=headers, trust_env=False, timeout=20)


@asynccontextmanager
async def reading(suite: Suite, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[Readers]:
    """Readers that have had enough good answers already."""
    readers = Readers(suite, path, headers or {})
    tasks = [asyncio.create_task(readers.ask()) for _ in range(READERS)]
    try:
        assert {read.status for read in await readers.after(0.0)} == {200}
        yield readers
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def admin(two_workers: Suite) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(two_workers, await sign_in(two_workers, ADMIN_EMAIL, ADMIN_PASSWORD)) as client:
        yield client


async def sign_in(suite: Suite, email: str, password: str = PASSWORD) -> dict[str, str]:
    async with client_of(suite, {}) as client:
        answer = await client.post("/api/v1/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def new_user(admin: httpx.AsyncClient) -> str:
    email = f"{uuid.uuid4().hex}@example.com"
    body = {"email": email, "password": PASSWORD, "role": "user"}
    answer = await admin.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return email


@pytest.fixture
async def post(admin: httpx.AsyncClient) -> tuple[str, str]:
    """A collection that all may read: its path by id; and the path of a record."""
    name = "posts_" + uuid.uuid4().hex[:8]
    body = {"name": name, "schema": {"fields": [{"name": "n", "type": "number"}]}, "list_rule": "", "view_rule": ""}
    made = await admin.post("/api/v1/collections", json=body)
    records = f"/api/v1/collections/{name}/records"
    record = await admin.post(records, json={"data": {"n": 0}})
    assert record.status_code == 201, record.text
    return f"/api/v1/collections/{made.json()['id']}", f"{records}/{record.json()['id']}"


async def done(change: Awaitable[httpx.Response]) -> float:
    """When a change had been acknowledged."""
    answer = await change
    assert answer.is_success, answer.text
    return time.monotonic()


async def test_an_ended_session_is_refused(two_workers: Suite, admin: httpx.AsyncClient) -> None:
    signed_in = await sign_in(two_workers, await new_user(admin))
    async with reading(two_workers, "/api/v1/auth/me", signed_in) as readers, client_of(two_workers, signed_in) as own:
        ended = await done(own.post("/api/v1/auth/logout", json={}))
        assert {read.status for read in await readers.after(ended + REVOKED_WITHIN)} == {401}


Change = Callable[[httpx.AsyncClient, tuple[str, str]], Awaitable[httpx.Response]]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda admin, post: admin.patch(post[0], json={"view_rule": None}), 404),
        (lambda admin, post: admin.patch(post[0], json={"view_rule": "n > 0"}), 404),
        (lambda admin, post: admin.delete(post[1]), 404),
        (lambda admin, post: admin.delete(f"/api/v1/collections/name/{post[1].split('/')[4]}/truncate"), 404),
        (lambda admin, post: admin.delete(post[0]), 404),
    ],
    ids=["closed rule", "narrower rule", "deleted record", "emptied collection", "deleted collection"],
)
async def test_what_is_gone_is_not_shown(
    two_workers: Suite, admin: httpx.AsyncClient, post: tuple[str, str], change: Change, status: int
) -> None:
    async with reading(two_workers, post[1]) as readers:
        changed = await done(change(admin, post))
        assert {read.status for read in await readers.after(changed)} == {status}


async def test_a_changed_record_is_shown_as_it_is(
    two_workers: Suite, admin: httpx.AsyncClient, post: tuple[str, str]
) -> None:
    """Whoever asks after the n-th change was acknowledged sees it, or one that came later."""
    async with reading(two_workers, post[1]) as readers:
        acknowledged = [await done(admin.patch(post[1], json={"data": {"n+": 1}})) for _ in range(50)]
        await readers.after(acknowledged[-1])
    for number, moment in enumerate(acknowledged, start=1):
        assert all(read.body["data"]["n"] >= number for read in readers.reads if read.asked > moment)


async def test_everyone_gets_their_own_answer(two_workers: Suite, admin: httpx.AsyncClient) -> None:
    people = [await new_user(admin) for _ in range(8)]
    tokens = [await sign_in(two_workers, email) for email in people]

    async def ask(email: str, headers: dict[str, str]) -> None:
        async with client_of(two_workers, headers) as client:
            for _ in range(60):
                assert (await client.get("/api/v1/auth/me")).json()["email"] == email

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            for email, headers in zip(people, tokens, strict=True):
                group.create_task(ask(email, headers))
