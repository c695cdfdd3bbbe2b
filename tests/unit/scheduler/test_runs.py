"""The rules of the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastcms_common.errors import Conflict, NotFound, Stale
from fastcms_common.times import from_text
from scheduler_service.models import FinishedRun
from tests.unit.scheduler.ledger import NAME, Setting, ledger_setting


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Setting]:
    async with ledger_setting(tmp_path) as setting:
        yield setting


async def test_nothing_is_due_before_the_first_due_time(at: Setting):
    at.wait(59)
    assert await at.claimed() is None


async def test_a_due_time_is_given_to_one_worker_once(at: Setting):
    at.wait(60)
    first = await at.claimed("a")
    assert first is not None
    assert first.active is not None
    assert from_text(first.active.due) == at.now
    assert await at.claimed("b") is None
    await at.done(first)
    assert await at.claimed("b") is None
    at.wait(60)
    assert await at.claimed("b") is not None


async def test_asking_again_under_the_same_name_gives_the_same_run(at: Setting):
    at.wait(60)
    assert await at.claimed("a/1") == await at.claimed("a/1")


async def test_fencing_tokens_grow_with_every_claim(at: Setting):
    tokens = []
    for _ in range(3):
        at.wait(60)
        task = await at.claimed()
        assert task is not None
        tokens.append(task.fence)
        await at.done(task)
    assert tokens == sorted(set(tokens))


async def test_what_was_due_while_everything_was_down_is_made_up_once_and_marked(at: Setting):
    at.wait(60)
    assert not (await at.run_now()).made_up
    at.wait(10 * 60 + 5)
    run = await at.run_now()
    assert (run.made_up, run.missed) == (True, 9)
    assert await at.claimed() is None
    at.wait(60)
    run = await at.run_now()
    assert (run.made_up, run.missed) == (False, 0)


async def test_a_run_that_starts_late_is_marked_as_made_up(tmp_path: Path):
    async with ledger_setting(tmp_path, "24h", made_up_after_seconds=60) as at:
        at.wait(12 * 3600 + 61)
        run = await at.run_now()
        assert (run.made_up, run.missed) == (True, 0)


async def test_a_due_time_that_passes_while_the_task_runs_is_done_afterwards(at: Setting):
    at.wait(60)
    running = await at.claimed("a")
    at.wait(60)
    assert await at.claimed("b") is None
    await at.done(running)
    assert (await at.run_now()).trigger == "schedule"
    assert [run.missed for run in await at.runs()] == [0, 0]


async def test_a_lost_worker_is_taken_over_once_and_may_not_end_the_run_any_more(at: Setting):
    at.wait(60)
    lost = await at.claimed("a")
    await at.ledger.look()
    at.wait(29)
    assert await at.claimed("b") is None
    at.wait(1)
    taken = await at.claimed("b")
    assert taken is not None
    assert lost is not None
    assert await at.claimed("c") is None
    for call in (at.done(lost), at.ledger.renew(NAME, lost.active.id, lost.fence)):  # type: ignore[union-attr]
        with pytest.raises(Stale) as caught:
            await call
        assert caught.value.reason == "LEASE_LOST"
    run = await at.done(taken)
    assert (run.attempts, run.status) == (2, "succeeded")
    with pytest.raises(Stale):
        await at.done(lost)


async def test_a_worker_that_renews_keeps_its_lease(at: Setting):
    at.wait(60)
    task = await at.claimed("a")
    assert task is not None
    assert task.active is not None
    for _ in range(5):
        await at.ledger.look()
        at.wait(20)
        await at.ledger.renew(NAME, task.active.id, task.fence)
    assert await at.claimed("b") is None
    await at.done(task)


async def test_ending_a_run_twice_says_the_same_twice(at: Setting):
    at.wait(60)
    task = await at.claimed()
    assert await at.done(task) == await at.done(task, succeeded=False)
    assert len(await at.runs()) == 1


async def test_a_run_that_kills_its_workers_is_given_up(tmp_path: Path):
    async with ledger_setting(tmp_path, max_attempts=2) as at:
        at.wait(60)
        for worker in ("a", "b"):
            assert await at.claimed(worker) is not None
            await at.ledger.look()
            at.wait(31)
        at.wait(60)
        following = await at.claimed("c")
        (run,) = await at.runs()
        assert (run.status, run.attempts) == ("failed", 2)
        assert run.error == "Given up: 2 workers were lost while they did it."
        assert following is not None


async def test_a_run_handed_back_goes_to_the_next_worker(at: Setting):
    at.wait(60)
    task = await at.claimed("a")
    assert task is not None
    assert task.active is not None
    await at.ledger.release(NAME, task.active.id, task.fence)
    again = await at.claimed("b")
    assert again is not None
    assert again.active is not None
    assert (again.active.id, again.active.attempts, again.fence) == (task.active.id, 1, task.fence + 1)
    with pytest.raises(Stale):
        await at.ledger.release(NAME, task.active.id, task.fence)


async def test_a_trigger_waits_for_a_worker_and_does_not_move_the_schedule(at: Setting):
    run_id = await at.ledger.trigger(NAME, "someone")
    before = (await at.task()).slot
    with pytest.raises(Conflict) as caught:
        await at.ledger.trigger(NAME, "someone else")
    assert caught.value.reason == "TASK_RUNNING"
    run = await at.run_now()
    assert (run.id, run.trigger, run.triggered_by, run.made_up) == (run_id, "manual", "someone", False)
    assert (await at.task()).slot == before
    at.wait(60)
    assert (await at.run_now()).trigger == "schedule"


async def test_a_trigger_can_be_withdrawn_until_a_worker_has_it(at: Setting):
    await at.ledger.withdraw(NAME, await at.ledger.trigger(NAME, "someone"))
    assert (await at.task()).status == "idle"
    run_id = await at.ledger.trigger(NAME, "someone")
    task = await at.claimed()
    await at.ledger.withdraw(NAME, run_id)
    assert (await at.done(task)).id == run_id


async def test_only_what_waits_wants_a_worker(at: Setting):
    assert not at.ledger.is_waiting(await at.task())
    at.wait(60)
    assert at.ledger.is_waiting(await at.task())
    task = await at.claimed()
    assert not at.ledger.is_waiting(await at.task())
    await at.done(task)
    await at.ledger.trigger(NAME, "someone")
    assert at.ledger.is_waiting(await at.task())


async def test_what_a_crash_left_between_end_and_history_is_entered(at: Setting):
    at.wait(60)
    task = await at.claimed()
    assert task is not None
    assert task.active is not None
    run = FinishedRun(
        task.active.id, NAME, "schedule", task.active.due, started=task.active.started or "",
        finished=task.active.started or "", status="succeeded", duration_ms=1, fence=task.fence,
    )  # fmt: skip
    assert await at.store.swap(task, active=None, closing=run) is not None
    await at.ledger.look()
    assert await at.runs() == [run]
    left = await at.task()
    assert left.closing is None
    assert await at.store.swap(left, closing=replace(run, id="next", due="next")) is not None
    page, total = await at.history.page(NAME, 10, 0)
    assert ({each.id for each in page}, total) == ({run.id, "next"}, 2)


async def test_a_second_run_for_one_due_time_never_gets_into_the_history(at: Setting):
    at.wait(60)
    run = await at.run_now()
    assert not await at.store.enter(replace(run, id="another"))
    assert await at.runs() == [run]


async def test_a_clock_set_forward_makes_up_once(at: Setting):
    at.wait(60)
    await at.run_now()
    at.step(3600)
    run = await at.run_now()
    assert (run.made_up, run.missed) == (True, 59)
    assert await at.claimed() is None


async def test_an_interval_goes_on_when_the_clock_is_set_back(at: Setting):
    at.wait(60)
    await at.run_now()
    at.step(-3600)
    assert at.ledger.is_waiting(await at.task())
    assert await at.claimed() is None
    for _ in range(3):
        at.wait(59)
        assert await at.claimed() is None
        at.wait(1)
        assert not (await at.run_now()).made_up
    runs = await at.runs()
    assert len({run.due for run in runs}) == len(runs) == 4


async def test_a_cron_line_is_not_due_a_second_time_when_the_clock_is_set_back(tmp_path: Path):
    async with ledger_setting(tmp_path, "0 * * * *") as at:
        at.wait(3600)
        await at.run_now()
        at.step(-1800)
        assert await at.claimed() is None
        at.wait(1800)
        assert await at.claimed() is None
        at.wait(3600)
        assert not (await at.run_now()).made_up


async def test_stepping_the_clock_neither_ends_nor_prolongs_a_lease(at: Setting):
    at.wait(60)
    await at.claimed("a")
    await at.ledger.look()
    at.step(3600)
    assert await at.claimed("b") is None
    at.step(-7200)
    at.wait(31)
    assert await at.claimed("b") is not None


async def test_a_disabled_task_is_not_due_but_can_be_triggered(at: Setting):
    assert await at.store.swap(await at.task(), enabled=False) is not None
    at.wait(3600)
    assert (await at.task()).status == "disabled"
    assert await at.claimed() is None
    await at.ledger.trigger(NAME, "someone")
    assert (await at.run_now()).trigger == "manual"


async def test_unknown_tasks_are_not_found(at: Setting):
    for call in (
        at.ledger.claim("nonesuch", "w"),
        at.ledger.trigger("nonesuch", "w"),
        at.history.page("nonesuch", 1, 0),
    ):
        with pytest.raises(NotFound):
            await call


async def test_old_runs_are_forgotten_by_age_and_by_number(tmp_path: Path):
    async with ledger_setting(tmp_path, run_history_days=1, run_history_runs=3) as at:
        for _ in range(5):
            at.wait(60)
            await at.run_now()
        await at.history.prune()
        assert len(await at.runs()) == 3
        at.wait(86400 + 120)
        await at.history.prune()
        assert await at.runs() == []
