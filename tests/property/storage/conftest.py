"""The engines that the property tests compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.property.storage.engines import LISTED, LOOSE, STRICT, Engine
from tests.storages import ENGINES, Storage


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, new_storage: Callable[[str], Storage]) -> Iterator[Engine]:
    """Each engine in turn, with the tables LOOSE, LISTED and STRICT."""
    storage = new_storage(request.param)
    with asyncio.Runner() as runner:
        store = runner.run(storage.open(LOOSE, LISTED, STRICT))
        yield Engine(runner, store, storage)
        runner.run(store.close())
