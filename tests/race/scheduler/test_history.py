"""Looking runs up while they come and go."""

from __future__ import annotations

import asyncio

from scheduler_service.models import Task
from tests.mongo_server import ONE_WINNER
from tests.storages import Storage, needs
from tests.unit.scheduler.ledger import NAME, ledger_setting


@needs(ONE_WINNER)
async def test_a_run_that_ends_while_a_page_is_made_stands_there_once(storage: Storage):
    async with ledger_setting(storage.url) as at:
        ended: list[str] = []
        pages: list[tuple[list[str], list[str]]] = []

        async def run() -> None:
            for _ in range(40):
                await at.ledger.trigger(NAME, "someone")
                ended.append((await at.run_now()).id)

        async def look_up(running: asyncio.Task[None]) -> None:
            while not running.done():
                before = list(ended)
                page, total = await at.history.page(NAME, 100, 0)
                ids = [one.active.id if isinstance(one, Task) and one.active else one.id for one in page]
                assert total >= len(ids)
                pages.append((before, ids))

        running = asyncio.create_task(run())
        await asyncio.gather(running, *(look_up(running) for _ in range(4)))
        assert len(pages) > 10
        for before, ids in pages:
            assert len(ids) == len(set(ids)), "no run twice"
            assert set(before) <= set(ids), "no run missing"
