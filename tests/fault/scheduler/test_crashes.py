"""Whatever dies: every due time once, effects once, nothing lost, no burst. Real processes, real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fastcms.scheduler.v1 import scheduler_pb2
from fastcms_common.redis_connection import connect
from tests.contract.scheduler.system import IP_RULES, TOKENS, Process, System, until
from tests.redis_process import RedisProcess

SECOND = 1_000_000_000


def slots(runs: list[scheduler_pb2.TaskRun]) -> list[int]:
    """The due times of scheduled runs in seconds."""
    assert all(run.scheduled_at.nanos == 0 for run in runs)
    return [run.scheduled_at.seconds for run in runs]


def assert_every_due_time_once(runs: list[scheduler_pb2.TaskRun], period: int) -> None:
    """From the first to the last: each due time has one run, or is one that a made-up run stands for as well."""
    covered = [
        slot - period * back for run, slot in zip(runs, slots(runs), strict=True) for back in range(run.missed + 1)
    ]
    assert sorted(covered) == list(range(min(covered), max(covered) + 1, period))
    assert all(run.made_up for run in runs if run.missed)


async def in_charge(*beats: Process) -> Process:
    async def one() -> Process | None:
        return next((beat for beat in beats if "in charge of the schedule" in beat.log), None)

    return await until(one, "a beat is in charge")


async def called(system: System, calls: int = 1) -> None:
    async def enough() -> bool:
        return system.owners.tokens.calls >= calls

    await until(enough, f"the owner is called {calls} times")


async def test_two_beats_and_three_workers_run_every_due_time_once(system: System):
    await system.start_service({TOKENS: "1s", IP_RULES: "2s"})
    for _ in range(2):
        system.start_worker("beat")
    for _ in range(3):
        system.start_worker("worker")
    tokens = await system.finished(TOKENS, 10)
    rules = await system.finished(IP_RULES, 4)
    assert_every_due_time_once(tokens, 1)
    assert_every_due_time_once(rules, 2)
    assert {run.attempts for run in tokens} == {1}
    await asyncio.gather(*(process.stop() for process in system.processes[1:]))
    done = await system.runs(TOKENS)
    assert len(system.owners.tokens.effects) == len(done)


async def test_the_run_of_a_killed_worker_is_taken_over_once(system: System):
    await system.start_service()
    system.start_worker("beat")
    doomed = system.start_worker("worker")
    gate = system.owners.tokens.hold()
    run_id = (await system.trigger(TOKENS)).run_id
    await called(system)
    others = [system.start_worker("worker") for _ in range(2)]
    doomed.kill()
    await called(system, 2)
    gate.set()
    (run,) = await system.finished(TOKENS)
    assert (run.id, run.status, run.attempts) == (run_id, "succeeded", 2)
    assert system.owners.tokens.effects == sorted(set(system.owners.tokens.effects))
    assert all(worker.process.poll() is None for worker in others)
    assert len(await system.runs(TOKENS)) == 1


async def test_a_message_that_is_delivered_twice_does_no_harm(system: System):
    await system.start_service(LEASE_SECONDS="30")
    workers = [system.start_worker("worker", VISIBILITY_TIMEOUT_SECONDS="1") for _ in range(2)]
    gate = system.owners.tokens.hold()
    run_id = (await system.trigger(TOKENS)).run_id
    await called(system)
    redis = connect(system.redis_url)

    async def delivered_again() -> bool:
        # The second delivery is acknowledged at once, as there is nothing to be done: nothing is left of the message.
        return not await redis.exists("celery:unacked")

    await until(delivered_again, "the message is delivered again")
    await redis.aclose()
    gate.set()
    (run,) = await system.finished(TOKENS)
    assert (run.id, run.attempts) == (run_id, 1)
    assert (system.owners.tokens.calls, len(system.owners.tokens.effects)) == (1, 1)
    assert [await worker.stop() for worker in workers] == [0, 0]
    assert [item.id for item in await system.runs(TOKENS)] == [run_id]


async def test_a_worker_that_was_frozen_and_replaced_leaves_no_second_effect(system: System):
    await system.start_service()
    system.start_worker("beat")
    frozen = system.start_worker("worker", WORKER_CONCURRENCY="1")
    gate = system.owners.tokens.hold()
    await system.trigger(TOKENS)
    await called(system)
    os.kill(frozen.process.pid, signal.SIGSTOP)
    system.start_worker("worker")
    await called(system, 2)
    gate.set()
    (run,) = await system.finished(TOKENS)
    os.kill(frozen.process.pid, signal.SIGCONT)
    await frozen.says("lease lost")
    assert (run.status, run.attempts) == ("succeeded", 2)
    assert len(system.owners.tokens.effects) == 1
    assert [item.id for item in await system.runs(TOKENS)] == [run.id]


async def test_a_killed_beat_leaves_no_gap_and_no_burst(system: System):
    await system.start_service({TOKENS: "1s"})
    system.start_worker("worker")
    beats = [system.start_worker("beat") for _ in range(2)]
    first = await in_charge(*beats)
    await system.finished(TOKENS, 3)
    first.kill()
    (other,) = [beat for beat in beats if beat is not first]
    await other.says("in charge of the schedule")
    before = len(await system.finished(TOKENS))
    runs = await system.finished(TOKENS, before + 4)
    assert_every_due_time_once(runs, 1)
    assert len(slots(runs)) == len(set(slots(runs)))


async def test_a_lone_beat_that_is_started_again_goes_on_where_it_was(system: System):
    await system.start_service({TOKENS: "1s"})
    system.start_worker("worker")
    first = system.start_worker("beat")
    await system.finished(TOKENS, 2)
    assert await first.stop() == 0
    system.start_worker("beat")
    before = len(await system.finished(TOKENS))
    assert_every_due_time_once(await system.finished(TOKENS, before + 3), 1)


async def test_a_restarted_redis_costs_neither_schedule_nor_history(system: System, redis_server: RedisProcess):
    await system.start_service({TOKENS: "1s"})
    worker = system.start_worker()
    before = await system.finished(TOKENS, 2)
    redis_server.kill()
    await worker.says("the beat waits for Redis")
    redis_server.start()
    seen = len(before)
    runs = await system.finished(TOKENS, seen + 4)
    assert runs[:seen] == before
    assert_every_due_time_once(runs, 1)
    assert "Traceback" not in worker.log
    assert worker.process.poll() is None


async def test_a_redis_that_lost_everything_is_filled_again(system: System, redis_server: RedisProcess):
    await system.start_service({TOKENS: "1s"})
    system.start_worker()
    await system.finished(TOKENS, 2)
    redis_server.flush()
    await system.sign_in()
    before = len(await system.finished(TOKENS))
    assert_every_due_time_once(await system.finished(TOKENS, before + 3), 1)


async def test_a_killed_scheduler_service_is_waited_for(system: System):
    service = await system.start_service({TOKENS: "1s"})
    worker = system.start_worker()
    gate = system.owners.tokens.hold()
    await called(system)
    service.kill()
    gate.set()
    await system.start_service({TOKENS: "1s"})
    runs = await system.finished(TOKENS, 4)
    assert_every_due_time_once(runs, 1)
    assert len(system.owners.tokens.effects) >= len(runs)
    assert "Traceback" not in worker.log


async def test_a_stopped_suite_makes_up_what_it_missed_once(system: System):
    service = await system.start_service({TOKENS: "1s"})
    worker = system.start_worker()
    await system.finished(TOKENS, 2)
    await worker.stop()
    before = await system.finished(TOKENS)
    await service.stop()
    last = slots(before)[-1]

    async def passed() -> bool:
        return time.time() > last + 4

    await until(passed, "some due times pass")
    await system.start_service({TOKENS: "1s"})
    system.start_worker()
    runs = await system.finished(TOKENS, len(before) + 3)
    assert_every_due_time_once(runs, 1)
    assert runs[: len(before)] == before
    first = runs[len(before)]
    assert first.made_up
    # It stands for all that passed meanwhile, and what came after it for nothing of that.
    assert first.missed >= 3
    assert slots([first])[0] - first.missed == last + 1


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_clock_that_is_stepped_by_an_hour_neither_stops_nor_floods(system: System, tmp_path: Path, step: int):
    offset = tmp_path / "offset"
    offset.write_text("0")
    shifted = [str(Path(__file__).with_name("shifted.py")), str(offset)]
    await system.start_service({TOKENS: "1s"}, launcher=shifted)
    system.start_worker(launcher=shifted)
    before = await system.finished(TOKENS, 2)
    offset.write_text(str(step))
    turn = before[-1].scheduled_at.ToNanoseconds() + step * SECOND // 2
    new: list[scheduler_pb2.TaskRun] = []

    async def some_after_the_step() -> bool:
        nonlocal new
        runs = await system.finished(TOKENS)
        due = [run.scheduled_at.ToNanoseconds() for run in runs]
        assert len(due) == len(set(due))
        new = sorted(
            (run for run in runs if (run.scheduled_at.ToNanoseconds() > turn) == (step > 0)),
            key=lambda run: run.scheduled_at.ToNanoseconds(),
        )
        return len(new) >= 3

    await until(some_after_the_step, "runs that are due after the step")
    first, *others = new
    # Forward, an hour of due times passes in an instant, and one run stands for them; back, the interval goes on.
    assert first.missed in (range(3540, 3660) if step > 0 else range(60))
    assert first.made_up or step < 0
    for last, newest in pairwise(new):
        passed = newest.scheduled_at.ToNanoseconds() - last.scheduled_at.ToNanoseconds()
        assert passed == SECOND * (1 + newest.missed)
    assert all(run.missed < 60 for run in others)
