"""What admins see and do, on a real scheduler-service with a real worker."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms.scheduler.v1 import scheduler_pb2
from fastcms_common.audit import EVENT_FIELD
from fastcms_common.errors import Conflict, NotFound, Unauthenticated
from fastcms_common.redis_connection import connect
from fastcms_common.redis_keys import AUDIT_EVENTS
from tests.contract.scheduler.owners import DOWN
from tests.contract.scheduler.system import ADMIN, IP_RULES, TOKENS, System, until


async def audit_events(url: str) -> list[AuditEvent]:
    redis: Redis = connect(url)
    entries = await redis.xrange(AUDIT_EVENTS)
    await redis.aclose()
    return [AuditEvent.FromString(fields[EVENT_FIELD.encode()]) for _, fields in entries]


async def test_the_tasks_are_listed_by_name_with_their_schedule(system: System):
    await system.start_service({TOKENS: "1h", IP_RULES: "24h"})
    answer = await system.as_admin(system.scheduler.ListTasks, scheduler_pb2.ListTasksRequest())
    names = [task.name for task in answer.tasks]
    assert names == sorted(names)
    assert answer.total == len(names)
    task = await system.task(TOKENS)
    assert (task.interval, task.status, task.enabled) == ("1h", "idle", True)
    assert task.next_run.seconds % 3600 == 0
    assert task.description
    assert not task.HasField("last_run")
    assert not task.HasField("last_status")


async def test_a_trigger_runs_the_task_now_and_leaves_its_schedule_alone(system: System):
    await system.start_service()
    system.start_worker("worker")
    before = await system.task(TOKENS)
    answer = await system.trigger(TOKENS)
    assert answer.message == "Task 'cleanup_expired_tokens' triggered successfully"
    (run,) = await system.finished(TOKENS)
    assert run.id == answer.run_id
    assert (run.status, run.trigger, run.triggered_by, run.made_up) == ("succeeded", "manual", ADMIN, False)
    assert run.result == b'{"deleted":1}'
    assert not run.HasField("scheduled_at")
    assert run.started.ToNanoseconds() <= run.finished.ToNanoseconds()
    after = await system.task(TOKENS)
    assert after.next_run == before.next_run
    assert after.last_run == run.started
    assert (after.last_status, after.last_duration_ms, after.status) == ("succeeded", run.duration_ms, "idle")
    assert len(system.owners.tokens.effects) == 1


async def test_a_trigger_is_audited_with_who(system: System):
    await system.start_service()
    answer = await system.trigger(TOKENS)
    (event,) = await audit_events(system.redis_url)
    assert (event.event_type, event.event_action, event.user_id) == ("admin", "cron_triggered", ADMIN)
    assert (event.resource_id, event.ip_address) == (TOKENS, "10.0.0.9")
    assert answer.run_id in event.details.decode()


async def test_a_task_that_runs_cannot_be_triggered(system: System):
    await system.start_service()
    system.start_worker("worker")
    gate = system.owners.tokens.hold()
    first = await system.trigger(TOKENS)
    with pytest.raises(Conflict) as caught:
        await system.trigger(TOKENS)
    assert caught.value.reason == "TASK_RUNNING"
    assert (await system.task(TOKENS)).status == "running"
    (run,) = await system.runs(TOKENS)
    assert (run.id, run.status, run.HasField("finished")) == (first.run_id, "running", False)
    gate.set()
    await system.finished(TOKENS)
    assert (await system.trigger(TOKENS)).run_id != first.run_id


async def test_other_tasks_go_on_while_one_runs(system: System):
    await system.start_service()
    system.start_worker("worker")
    gate = system.owners.tokens.hold()
    await system.trigger(TOKENS)
    await system.trigger(IP_RULES)
    await system.finished(IP_RULES)
    gate.set()
    await system.finished(TOKENS)


async def test_a_task_that_does_not_exist_is_not_found(system: System):
    await system.start_service()
    for call in (system.trigger, system.runs):
        with pytest.raises(NotFound):
            await call("nonesuch")


async def test_a_failed_run_says_why_and_is_looked_up_like_any_other(system: System):
    await system.start_service()
    system.start_worker("worker")
    system.owners.tokens.failure = DOWN
    await system.trigger(TOKENS)
    (run,) = await system.finished(TOKENS)
    assert (run.status, run.error) == ("failed", "DEPENDENCY_UNAVAILABLE: The owner is down.")
    assert run.result == b""
    assert (await system.task(TOKENS)).last_status == "failed"


async def test_the_history_is_paged_newest_first(system: System):
    await system.start_service()
    system.start_worker("worker")
    started = []
    for number in range(3):
        started.append((await system.trigger(IP_RULES)).run_id)
        await system.finished(IP_RULES, number + 1)
    assert [run.id for run in await system.runs(IP_RULES)] == started[::-1]
    assert [run.id for run in await system.runs(IP_RULES, limit=1, offset=1)] == [started[1]]
    request = scheduler_pb2.ListTaskRunsRequest(task=IP_RULES, limit=2, offset=2)
    page = await system.as_admin(system.scheduler.ListTaskRuns, request)
    assert (page.total, page.limit, page.offset, len(page.items)) == (3, 2, 2, 1)


async def test_a_running_task_stands_at_the_head_of_its_history_on_the_first_page_only(system: System):
    await system.start_service()
    system.start_worker("worker")
    done = (await system.trigger(TOKENS)).run_id
    await system.finished(TOKENS)
    gate = system.owners.tokens.hold()
    running = (await system.trigger(TOKENS)).run_id
    assert [run.id for run in await system.runs(TOKENS)] == [running, done]
    assert [run.id for run in await system.runs(TOKENS, offset=1)] == [done]
    gate.set()
    await system.finished(TOKENS, 2)


async def test_a_scheduled_run_names_its_due_time(system: System):
    await system.start_service({TOKENS: "1s"})
    system.start_worker()
    runs = await system.finished(TOKENS, 2)
    assert all(run.trigger == "schedule" and not run.HasField("triggered_by") for run in runs)
    assert all(run.scheduled_at.nanos == 0 for run in runs)


async def test_nobody_gets_in_without_a_token(system: System):
    await system.start_service()
    with pytest.raises(Unauthenticated):
        await system.scheduler.ListTasks(scheduler_pb2.ListTasksRequest())


async def test_a_worker_started_first_waits_for_the_service_without_a_word_of_alarm(system: System):
    worker = system.start_worker()
    await worker.says("in charge of the schedule")
    await system.start_service({TOKENS: "1s"})
    await system.finished(TOKENS)
    assert "Traceback" not in worker.log
    assert await worker.stop() == 0


async def test_a_stopped_worker_finishes_what_it_is_doing(system: System):
    await system.start_service()
    worker = system.start_worker("worker")
    gate = system.owners.tokens.hold()
    await system.trigger(TOKENS)

    async def called() -> bool:
        return system.owners.tokens.calls == 1

    await until(called, "the worker calls the owner")
    worker.process.terminate()
    gate.set()
    (run,) = await system.finished(TOKENS)
    assert (run.status, run.attempts) == ("succeeded", 1)
    assert await worker.stop() == 0


async def test_what_a_stopped_worker_cannot_finish_it_hands_back(system: System):
    await system.start_service()
    worker = system.start_worker("worker", DRAIN_SECONDS="2")
    gate = system.owners.tokens.hold()
    await system.trigger(TOKENS)

    async def called() -> bool:
        return system.owners.tokens.calls == 1

    await until(called, "the worker calls the owner")
    assert await worker.stop() == 0
    assert (await system.task(TOKENS)).status == "running"
    gate.set()
    system.start_worker()
    (run,) = await system.finished(TOKENS)
    assert (run.status, run.attempts) == ("succeeded", 1)
