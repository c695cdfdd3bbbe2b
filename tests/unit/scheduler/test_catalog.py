"""Which tasks there are, and how schedules change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fastcms_common.errors import Conflict, Invalid, NotFound
from fastcms_common.times import to_text
from scheduler_service.catalog import Patch
from scheduler_service.own_jobs import Draft
from tests.unit.scheduler.ledger import NAME, Setting, ledger_setting

JOB = {"name": "ping", "kind": "http", "interval": "5m", "draft": Draft(url="https://x.example/"), "enabled": True,
       "description": "Pings.", "by": "someone"}  # fmt: skip


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Setting]:
    async with ledger_setting(tmp_path) as setting:
        yield setting


async def change(at: Setting, **changes: Any) -> None:
    await at.catalog().update(NAME, Patch(frozenset(changes), **changes))


async def test_a_changed_default_reaches_tasks_that_nobody_has_changed(at: Setting):
    await at.catalog("2m").install()
    assert (await at.task()).interval == "2m"
    await change(at, interval="3m")
    await at.catalog("4m").install()
    assert (await at.task()).interval == "3m"


async def test_what_an_admin_set_survives_a_restart_and_null_takes_it_back(at: Setting):
    await change(at, interval="  5   *  * * MON ", enabled=False)
    await at.catalog().install()
    task = await at.task()
    assert (task.interval, task.enabled, task.status) == ("5 * * * mon", False, "disabled")
    await at.catalog().update(NAME, Patch(frozenset({"interval"})))
    assert ((await at.task()).interval, (await at.task()).own_interval) == ("1m", False)


async def test_tasks_that_the_suite_no_longer_has_go(at: Setting):
    await at.catalog(name="another").install()
    assert [task.id for task in await at.store.tasks()] == ["another"]


async def test_a_new_interval_begins_with_its_next_due_time(at: Setting):
    at.wait(30)
    await change(at, interval="10s")
    assert await at.claimed() is None
    at.wait(10)
    assert not (await at.run_now()).made_up


async def test_a_task_that_is_enabled_again_makes_nothing_up(at: Setting):
    await change(at, enabled=False)
    at.wait(3600)
    await change(at, enabled=True)
    assert await at.claimed() is None
    at.wait(60)
    assert (await at.run_now()).missed == 0


async def test_changing_to_the_same_changes_nothing(at: Setting):
    revision = (await at.task()).revision
    await change(at, enabled=True)
    assert (await at.task()).revision == revision


async def test_a_run_that_goes_on_is_not_disturbed_by_a_change(at: Setting):
    at.wait(60)
    task = await at.claimed()
    await change(at, enabled=False, interval="1h")
    assert (await at.task()).status == "running"
    await at.done(task)
    assert (await at.task()).status == "disabled"


@pytest.mark.parametrize("interval", ["", "soon", "5s", "61 * * * *", "0s", "400d"])
async def test_a_bad_interval_is_refused_by_name(at: Setting, interval: str):
    with pytest.raises(Invalid) as caught:
        await change(at, interval=interval)
    assert [problem.field for problem in caught.value.fields] == ["interval"]


async def test_of_the_suites_own_tasks_only_schedule_and_state_can_be_changed(at: Setting):
    with pytest.raises(Invalid) as caught:
        await change(at, description="x", draft=Draft(url="https://x.example"), enabled=None)
    assert {problem.field for problem in caught.value.fields} == {"description", "draft", "enabled"}
    with pytest.raises(Conflict) as refused:
        await at.catalog().delete(NAME)
    assert refused.value.reason == "SYSTEM_TASK"


async def test_a_job_is_added_once_and_removed_with_its_history(at: Setting):
    catalog = at.catalog()
    job = await catalog.create(**JOB)
    assert job.slot == to_text(at.now)
    with pytest.raises(Conflict) as caught:
        await catalog.create(**JOB)
    assert caught.value.reason == "TASK_EXISTS"
    at.wait(300)
    task = await at.ledger.claim("ping", "w")
    with pytest.raises(Conflict) as running:
        await catalog.delete("ping")
    assert running.value.reason == "TASK_RUNNING"
    assert task is not None
    assert task.active is not None
    await at.ledger.finish("ping", task.active.id, task.fence, succeeded=True, result=None, error=None)
    await catalog.delete("ping")
    assert await at.store.runs("ping", 10, 0) == ([], 0)
    with pytest.raises(NotFound):
        await catalog.delete("ping")


async def test_jobs_survive_the_installation_of_the_suites_own(at: Setting):
    await at.catalog().create(**JOB)
    await at.catalog().install()
    assert [task.id for task in await at.store.tasks()] == ["ping", NAME]


async def test_every_bad_field_of_a_job_is_named_at_once(at: Setting):
    with pytest.raises(Invalid) as caught:
        await at.catalog().create(**JOB | {"name": "Not Good", "interval": "x", "draft": Draft(url="x")})
    assert {problem.field for problem in caught.value.fields} == {"name", "interval", "url"}
