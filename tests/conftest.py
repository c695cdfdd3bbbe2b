"""Fixtures that any test may ask for: a real Redis, a MongoDB server, empty databases, the real suite."""

from __future__ import annotations

import os

# Tests start processes while gRPC's threads run in this one. Its handlers around fork would stop those threads, and can
# crash; what is started executes another program at once and needs none of them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastcms_common.process import freeze
from tests.distribution import WholeFiles
from tests.mongo_server import MongoServer, describe, start_other, start_server
from tests.redis_process import RedisProcess
from tests.storages import ENGINES, Storage, mongo_storage, sqlite_storage
from tests.suite import Suite, start_suite

# To read the authorities takes 20 ms, which each client does anew though they are the same for all.
httpx._transports.default.create_ssl_context = cache(httpx._transports.default.create_ssl_context)

ADMIN_EMAIL = "root@example.com"
ADMIN_PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session", autouse=True)
def garbage_is_collected_sooner() -> None:
    """What is imported by now stays: the collector has less to look through each time."""
    freeze()


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


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    """What `--dist loadfile` stands for here."""
    return WholeFiles(config, log)


def pytest_report_header() -> str:
    """Says which MongoDB server the tests run on."""
    return f"mongodb: {describe()}"


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB server for the whole session; `mongo_server.kind` says which. Most tests want `storage`."""
    server = start_server(tmp_path_factory.mktemp("mongodb"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def other_mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer | None]:
    """A second one for what the first lacks, where there is one."""
    server = start_other(tmp_path_factory.mktemp("mongodb"))
    yield server
    if server is not None:
        server.stop()


@pytest.fixture(scope="session")
def new_storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Storage]:
    """A function that gives an empty database of an engine, `sqlite` or `mongodb`. Features that a test needs follow:
    where no server here has them all, it is skipped."""

    def make(engine: str, *features: str) -> Storage:
        if engine == "sqlite":
            return sqlite_storage(tmp_path_factory.mktemp("sqlite"))
        first = mongo_storage(request.getfixturevalue("mongo_server"))
        if any(map(first.lacks, features)):
            other = request.getfixturevalue("other_mongo_server")
            if other is not None and not any(map((second := mongo_storage(other)).lacks, features)):
                return second
        first.needs(*features)
        return first

    return make


@pytest.fixture(params=ENGINES)
def storage(request: pytest.FixtureRequest, new_storage: Callable[..., Storage]) -> Storage:
    """An empty database, of each engine in turn; `storage.url` is its STORAGE_URL. A test that needs more of it than
    every server can do is marked with `tests.storages.needs`."""
    return new_storage(
        request.param, *(feature for mark in request.node.iter_markers("needs") for feature in mark.args)
    )


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The real suite, started once for the session, with a first admin (ADMIN_EMAIL, ADMIN_PASSWORD of this module)."""
    data_dir = tmp_path_factory.mktemp("suite") / "data"
    limits = {"RATE_LIMIT_CREDENTIALS_PER_MINUTE": "1000000", "RATE_LIMIT_REQUESTS_PER_MINUTE": "10000000"}
    with start_suite(data_dir, ADMIN_EMAIL=ADMIN_EMAIL, ADMIN_PASSWORD=ADMIN_PASSWORD, **limits) as running:
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
