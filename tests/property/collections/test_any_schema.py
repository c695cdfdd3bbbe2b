"""Whatever the schema, and whatever is done: no record is lost, none is damaged, and every answer has a meaning."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.collections.anything import Anything
from tests.property.collections.api import Api, api
from tests.property.collections.settings import NIGHTLY
from tests.redis_process import RedisProcess


@pytest.fixture(scope="module")
async def running(redis_server: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    redis_server.flush()
    async with api(redis_server.url, tmp_path_factory.mktemp("any")) as started:
        with pytest.MonkeyPatch.context() as patch:
            # There is no other process that would have to hear of a change.
            patch.setattr("collections_service.catalog.HEARD", 0.0)
            yield started


@settings(
    max_examples=2_000 if NIGHTLY else 50,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 40))
async def test_records_are_what_was_done_to_them(running: Api, seed: int, steps: int) -> None:
    world = Anything(running, random.Random(seed))
    try:
        await world.begin()
        for _ in range(steps):
            await world.step()
        await world.end()
    except BaseException as error:
        error.add_note("\n".join(world.done))
        raise
