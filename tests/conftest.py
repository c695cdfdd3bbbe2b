"""Fixtures that any test may ask for: a real Redis, the real suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.redis_process import RedisProcess
from tests.suite import Suite, start_suite

ADMIN_EMAIL = "root@example.com"
ADMIN_PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A private Redis for the whole session. A test that kills it must bring it back; most want `redis_url`."""
    server = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisProcess) -> str:
    """The URL of a Redis that is empty."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The real suite, started once for the session, with a first admin (ADMIN_EMAIL, ADMIN_PASSWORD of this module)."""
    data_dir = tmp_path_factory.mktemp("suite") / "data"
    with start_suite(data_dir, ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def admin_client(suite: Suite) -> Iterator[httpx.Client]:
    """A client of the running suite that is signed in as its first admin."""
    with httpx.Client(base_url=suite.base_url, trust_env=False, timeout=20) as client:
        answer = client.post("/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert answer.status_code == httpx.codes.OK, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


@pytest.fixture
def new_suite(tmp_path: Path) -> Iterator[Callable[..., Suite]]:
    """A function that starts a suite of the test's own (the arguments of `start_suite`) and stops it after the test.

    Without a `data_dir` each gets an empty one.
    """
    with ExitStack() as stack:
        count = 0

        def start(data_dir: Path | None = None, **arguments: object) -> Suite:
            nonlocal count
            count += 1
            folder = data_dir or tmp_path / f"data-{count}"
            return stack.enter_context(start_suite(folder, **arguments))  # type: ignore[arg-type]

        yield start
