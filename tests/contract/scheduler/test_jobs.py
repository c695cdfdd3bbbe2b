"""Jobs of one's own and schedules that change, through the service and a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fastcms.scheduler.v1 import scheduler_pb2
from fastcms_common.errors import Conflict, Invalid, NotFound
from tests.contract.scheduler.hook import Hook
from tests.contract.scheduler.system import ADMIN, TOKENS, System, until
from tests.contract.scheduler.test_tasks import audit_events

# Due in years only: no test runs across such a moment.
LEAP_DAY = "0 3 29 2 *"


async def create(system: System, **fields: Any) -> scheduler_pb2.Task:
    return await system.as_admin(system.scheduler.CreateTask, scheduler_pb2.CreateTaskRequest(**fields))


async def update(system: System, task: str, *null: str, **fields: Any) -> scheduler_pb2.Task:
    request = scheduler_pb2.UpdateTaskRequest(task=task, **fields, update_mask=FieldMask(paths=[*fields, *null]))
    return await system.as_admin(system.scheduler.UpdateTask, request)


async def delete(system: System, task: str) -> None:
    await system.as_admin(system.scheduler.DeleteTask, scheduler_pb2.DeleteTaskRequest(task=task))


async def test_an_http_job_is_added_run_on_time_and_removed(system: System):
    await system.start_service(HTTP_JOB_ALLOWED_HOSTS="127.0.0.1")
    system.start_worker(HTTP_JOB_ALLOWED_HOSTS="127.0.0.1")
    async with Hook(answers=[500, 200]) as hook:
        job = await create(
            system, name="ping", interval="1s", method="POST", url=f"{hook.url}/x?key=v", body="hello", retries=1,
            headers={"Authorization": "Bearer s3cret"},
        )  # fmt: skip
        assert (job.type, job.method, job.timeout, job.retries, job.created_by) == ("http", "POST", 30, 1, ADMIN)
        assert dict(job.headers) == {"Authorization": "***"}
        run = (await system.finished("ping"))[0]
    assert (run.status, run.trigger, run.result) == ("succeeded", "schedule", b'{"status":200,"bytes":2,"attempts":2}')
    assert hook.requests[0].headers["authorization"] == "Bearer s3cret"
    assert hook.requests[0].headers["idempotency-key"] == run.id
    await update(system, "ping", enabled=False)
    await system.idle("ping")
    await delete(system, "ping")
    with pytest.raises(NotFound):
        await system.runs("ping")
    events = {event.event_action: event for event in await audit_events(system.redis_url)}
    assert set(events) == {"cron_created", "cron_updated", "cron_deleted"}
    assert "s3cret" not in str(events)
    assert "key=v" not in str(events)
    assert all("s3cret" not in process.log for process in system.processes)


async def test_a_job_that_leads_inside_is_refused_where_it_is_added_and_where_it_is_run(system: System):
    await system.start_service(HTTP_JOB_ALLOWED_HOSTS="127.0.0.1")
    system.start_worker("worker")
    with pytest.raises(Invalid) as caught:
        await create(system, name="inner", interval="1h", url="http://169.254.169.254/latest")
    assert [problem.field for problem in caught.value.fields] == ["url"]
    await create(system, name="local", interval=LEAP_DAY, url="http://127.0.0.1:1/")
    await system.trigger("local")
    (run,) = await system.finished("local")
    assert run.error == "127.0.0.1 is at 127.0.0.1, which is not a public address"


async def test_a_truncate_job_empties_its_collection(system: System):
    await system.start_service()
    system.start_worker("worker")
    job = await create(system, name="empty_events", type="truncate", interval=LEAP_DAY, collection="events")
    assert (job.type, job.collection, job.interval) == ("truncate", "events", LEAP_DAY)
    assert not job.HasField("url")
    await system.trigger("empty_events")
    (run,) = await system.finished("empty_events")
    assert run.result == b'{"deleted":7}'
    (asked,) = system.owners.jobs.truncated
    assert (asked.collection, asked.job, asked.run_id) == ("events", "empty_events", run.id)
    # Tokens begin at the time in milliseconds.
    assert asked.fencing_token > 1_700_000_000_000


async def test_an_export_job_writes_a_file_each_time_and_keeps_the_newest(system: System):
    await system.start_service()
    system.start_worker("worker")
    job = await create(system, name="backup", type="export", interval=LEAP_DAY, collection="posts", keep=2)
    assert (job.type, job.collection, job.format, job.keep) == ("export", "posts", "ndjson", 2)
    written = []
    for number in range(1, 4):
        await system.trigger("backup")
        run = (await system.finished("backup", number))[-1]
        result = orjson.loads(run.result)
        assert result["bytes"] == 22
        written.append(result["file"])
    files = sorted(path.name for path in (system.folder / "exports").iterdir())
    assert files == sorted(written)[1:]
    assert (system.folder / "exports" / files[0]).read_bytes() == b'{"id":"1"}\n{"id":"2"}\n'
    assert system.owners.records.exported == [("posts", "ndjson")] * 3


async def test_an_export_whose_worker_dies_is_done_again_into_the_same_file(system: System):
    await system.start_service()
    system.start_worker("beat")
    doomed = system.start_worker("worker")
    await create(system, name="backup", type="export", interval=LEAP_DAY, collection="posts", format="csv")
    system.owners.records.held = asyncio.Event()
    await system.trigger("backup")
    exports = system.folder / "exports"

    async def begun() -> list[Path]:
        return list(exports.glob("*.part"))

    await until(begun, "a file is being written")
    doomed.kill()
    system.owners.records.held.set()
    system.start_worker("worker")
    (run,) = await system.finished("backup")
    assert (run.status, run.attempts) == ("succeeded", 2)
    (file,) = exports.iterdir()
    assert file.name == orjson.loads(run.result)["file"]
    assert file.read_bytes() == b'{"id":"1"}\n{"id":"2"}\n'


async def test_an_export_that_cannot_be_written_says_so(system: System):
    await system.start_service()
    (system.folder / "exports").write_text("in the way")
    system.start_worker("worker")
    await create(system, name="backup", type="export", interval=LEAP_DAY, collection="posts")
    await system.trigger("backup")
    (run,) = await system.finished("backup")
    assert run.status == "failed"
    assert "cannot be written" in run.error


async def test_a_schedule_changes_at_run_time_and_survives_a_restart(system: System):
    service = await system.start_service()
    system.start_worker()
    task = await update(system, TOKENS, interval="1s")
    assert (task.interval, task.enabled) == ("1s", True)
    runs = await system.finished(TOKENS, 2)
    # What passed before the change is not made up, only what passes while the worker is still starting.
    assert all(run.missed < 60 for run in runs)
    task = await update(system, TOKENS, enabled=False)
    assert task.status in ("disabled", "running")
    assert not task.HasField("next_run")
    await system.idle(TOKENS)
    count = len(await system.runs(TOKENS))
    await service.stop()
    await system.start_service()
    task = await system.task(TOKENS)
    assert (task.interval, task.status) == ("1s", "disabled")
    assert len(await system.runs(TOKENS)) == count
    assert (await update(system, TOKENS, "interval")).interval == "366d"


async def test_a_change_is_audited_with_old_and_new(system: System):
    await system.start_service()
    await update(system, TOKENS, interval="2h", enabled=False)
    await update(system, TOKENS, interval="2h", enabled=False)
    (event,) = await audit_events(system.redis_url)
    assert (event.event_action, event.user_id, event.resource_id) == ("cron_updated", ADMIN, TOKENS)
    assert b'"interval":{"old":"366d","new":"2h"}' in event.details
    assert b'"enabled":{"old":true,"new":false}' in event.details


async def test_null_gives_a_job_its_default_back(system: System):
    await system.start_service()
    await create(system, name="ping", interval="1h", method="POST", url="https://x.example/", body="b", retries=0,
                 headers={"Accept": "a/b"}, description="d")  # fmt: skip
    job = await update(system, "ping", "method", "body", "retries", "headers", "description")
    assert (job.method, job.retries, dict(job.headers), job.description) == ("GET", 3, {}, "")
    assert not job.HasField("body")
    for field in ("url", "interval", "enabled"):
        with pytest.raises(Invalid) as caught:
            await update(system, "ping", field)
        assert [problem.field for problem in caught.value.fields] == [field]


async def test_what_cannot_be_is_refused(system: System):
    await system.start_service()
    with pytest.raises(Conflict):
        await delete(system, TOKENS)
    with pytest.raises(NotFound):
        await update(system, "nonesuch", enabled=True)
    with pytest.raises(NotFound):
        await delete(system, "nonesuch")
    with pytest.raises(Invalid) as caught:
        await create(system, url="https://x.example")
    assert {problem.field for problem in caught.value.fields} == {"name", "interval"}
    with pytest.raises(Conflict):
        await create(system, name=TOKENS, interval="1h", url="https://x.example")
