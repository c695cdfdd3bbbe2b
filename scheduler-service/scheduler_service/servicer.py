"""Messages in, messages out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from fastcms.scheduler.v1 import ledger_pb2, ledger_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc
from fastcms_common.audit import AuditLog
from fastcms_common.context import current
from fastcms_common.errors import DomainError, Unauthenticated
from fastcms_common.times import from_text, now
from scheduler_service.history import History
from scheduler_service.messages import Messages
from scheduler_service.models import ActiveRun, FinishedRun, Task
from scheduler_service.runs import Ledger
from scheduler_service.store import LedgerStore


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """What admins see and do."""

    def __init__(
        self, store: LedgerStore, ledger: Ledger, history: History, messages: Messages, audit: AuditLog
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._history = history
        self._messages = messages
        self._audit = audit

    async def ListTasks(self, request: scheduler_pb2.ListTasksRequest, context: Any) -> scheduler_pb2.ListTasksResponse:
        tasks = await self._store.tasks()
        return scheduler_pb2.ListTasksResponse(tasks=[task_message(task) for task in tasks], total=len(tasks))

    async def TriggerTask(
        self, request: scheduler_pb2.TriggerTaskRequest, context: Any
    ) -> scheduler_pb2.TriggerTaskResponse:
        caller = current().caller
        if caller is None:
            raise Unauthenticated
        run_id = await self._ledger.trigger(request.task, caller.id)
        try:
            await self._audit.record(
                "admin",
                "cron_triggered",
                description=f"Task '{request.task}' was triggered by hand",
                resource_type="cron_task",
                resource_id=request.task,
                details={"run_id": run_id},
            )
        except DomainError:
            await self._ledger.withdraw(request.task, run_id)
            raise
        await self._messages.wake(request.task)
        return scheduler_pb2.TriggerTaskResponse(message=f"Task '{request.task}' triggered successfully", run_id=run_id)

    async def ListTaskRuns(
        self, request: scheduler_pb2.ListTaskRunsRequest, context: Any
    ) -> scheduler_pb2.ListTaskRunsResponse:
        limit = request.limit if request.HasField("limit") else 100
        page, total = await self._history.page(request.task, limit, request.offset)
        return scheduler_pb2.ListTaskRunsResponse(
            items=[run_message(run) for run in page], total=total, limit=limit, offset=request.offset
        )


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """What workers and beats ask."""

    def __init__(self, store: LedgerStore, ledger: Ledger, lease_seconds: float) -> None:
        self._store = store
        self._ledger = ledger
        self._lease_ms = int(lease_seconds * 1000)

    async def ClaimRun(self, request: ledger_pb2.ClaimRunRequest, context: Any) -> ledger_pb2.ClaimRunResponse:
        task = await self._ledger.claim(request.task, request.worker)
        if task is None or task.active is None:
            return ledger_pb2.ClaimRunResponse()
        active = task.active
        run = ledger_pb2.ClaimedRun(
            run_id=active.id,
            task=task.id,
            kind=task.kind,
            parameters=orjson.dumps(task.parameters),
            fencing_token=task.fence,
            lease_ms=self._lease_ms,
            attempt=active.attempts,
        )
        if active.trigger == "schedule":
            run.scheduled_at.CopyFrom(_timestamp(from_text(active.due)))
        return ledger_pb2.ClaimRunResponse(run=run)

    async def RenewRun(self, request: ledger_pb2.RenewRunRequest, context: Any) -> ledger_pb2.RenewRunResponse:
        await self._ledger.renew(request.task, request.run_id, request.fencing_token)
        return ledger_pb2.RenewRunResponse()

    async def FinishRun(self, request: ledger_pb2.FinishRunRequest, context: Any) -> ledger_pb2.FinishRunResponse:
        await self._ledger.finish(
            request.task,
            request.run_id,
            request.fencing_token,
            succeeded=request.succeeded,
            result=orjson.loads(request.result) if request.result else None,
            error=request.error if request.HasField("error") else None,
        )
        return ledger_pb2.FinishRunResponse()

    async def ReleaseRun(self, request: ledger_pb2.ReleaseRunRequest, context: Any) -> ledger_pb2.ReleaseRunResponse:
        await self._ledger.release(request.task, request.run_id, request.fencing_token)
        return ledger_pb2.ReleaseRunResponse()

    async def ListSchedules(
        self, request: ledger_pb2.ListSchedulesRequest, context: Any
    ) -> ledger_pb2.ListSchedulesResponse:
        answer = ledger_pb2.ListSchedulesResponse()
        for task in await self._store.tasks():
            schedule = answer.schedules.add(
                task=task.id,
                interval=task.interval,
                disabled=not task.enabled,
                waiting=self._ledger.is_waiting(task),
            )
            if task.anchor is not None:
                schedule.anchor.CopyFrom(_timestamp(from_text(task.anchor)))
        return answer


def task_message(task: Task) -> scheduler_pb2.Task:
    """A task as admins see it."""
    message = scheduler_pb2.Task(
        name=task.id,
        interval=task.interval,
        status=task.status,
        last_status=task.last_status,
        last_duration_ms=task.last_duration_ms,
        description=task.description,
        enabled=task.enabled,
    )
    if task.last_started is not None:
        message.last_run.CopyFrom(_timestamp(from_text(task.last_started)))
    if task.enabled:
        following = task.schedule.following(max(now(), from_text(task.slot)))
        message.next_run.CopyFrom(_timestamp(following))
    return message


def run_message(run: FinishedRun | Task) -> scheduler_pb2.TaskRun:
    """A run as admins see it: one of the history, or the active one of a task."""
    if isinstance(run, FinishedRun):
        message = scheduler_pb2.TaskRun(
            id=run.id,
            started=_timestamp(from_text(run.started)),
            finished=_timestamp(from_text(run.finished)),
            status=run.status,
            duration_ms=run.duration_ms,
            error=run.error,
            result=b"" if run.result is None else orjson.dumps(run.result),
        )
        details: FinishedRun | ActiveRun = run
    else:
        active = run.active
        if active is None:
            raise ValueError(f"{run.id} is not running")
        message = scheduler_pb2.TaskRun(
            id=active.id, started=_timestamp(from_text(active.started or active.created)), status="running"
        )
        details = active
    message.trigger = details.trigger
    message.made_up = details.made_up
    message.missed = details.missed
    message.attempts = details.attempts
    if details.triggered_by is not None:
        message.triggered_by = details.triggered_by
    if details.trigger == "schedule":
        message.scheduled_at.CopyFrom(_timestamp(from_text(details.due)))
    return message


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
