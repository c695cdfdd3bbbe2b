"""The ledger on both storage engines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fastcms_common.errors import Stale
from fastcms_common.times import from_text
from scheduler_service.catalog import Patch
from scheduler_service.metrics import TASK, Metrics
from scheduler_service.models import Task
from scheduler_service.own_jobs import Draft
from tests.storages import Storage
from tests.unit.scheduler.ledger import NAME, Setting, ledger_setting


@pytest.fixture
async def at(storage: Storage) -> AsyncIterator[Setting]:
    async with ledger_setting(storage.url, run_history_runs=3) as setting:
        yield setting


async def test_runs_are_claimed_renewed_taken_over_and_ended(at: Setting):
    at.wait(60)
    lost = await at.claimed("a")
    assert lost is not None
    assert lost.active is not None
    await at.ledger.renew(NAME, lost.active.id, lost.fence)
    await at.ledger.look()
    at.wait(31)
    taken = await at.claimed("b")
    with pytest.raises(Stale):
        await at.ledger.renew(NAME, lost.active.id, lost.fence)
    run = await at.done(taken, result={"deleted": 2**53 + 1}, error=None)
    assert (await at.runs()) == [run]
    assert (await at.store.run(run.id)) == run
    assert (await at.task()).active is None


async def test_the_history_is_paged_and_pruned(at: Setting):
    ids = []
    for _ in range(5):
        at.wait(60)
        ids.append((await at.run_now()).id)
    page, total = await at.history.page(NAME, 2, 1)
    assert ([run.id for run in page], total) == (ids[::-1][1:3], 5)
    await at.history.prune()
    assert [run.id for run in await at.runs()] == ids[2:]


async def test_one_due_time_has_one_run(at: Setting):
    at.wait(60)
    run = await at.run_now()
    assert await at.store.enter(run)
    again = type(run).of(run.document() | {"id": "another"})
    assert not await at.store.enter(again)


async def test_jobs_come_change_and_go(at: Setting):
    catalog = at.catalog()
    await catalog.create(
        "ping", "http", "1h", Draft(url="https://x.example", headers={"A": "b"}), enabled=True, description="", by="u"
    )
    _, after = await catalog.update("ping", Patch(frozenset({"interval"}), interval="0 4 * * *"))
    assert (await at.ledger.task("ping")) == after
    assert await at.store.add_task(after) is False
    await catalog.delete("ping")
    assert [task.id for task in await at.store.tasks()] == [NAME]


async def test_points_of_metrics_are_kept_in_order(at: Setting):
    await at.store.add_task(Task(TASK, "system", "1m", "2026-03-02T12:00:00.000000Z", fence=1))
    metrics = Metrics(at.store, {}, 1, lambda: at.now)
    for _ in range(3):
        await metrics.collect(1)
        at.wait(60)
    points = await metrics.points(from_text("2026-03-02T12:01:00Z"), None, 1)
    assert [point.seconds for point in points] == [60, 60]
