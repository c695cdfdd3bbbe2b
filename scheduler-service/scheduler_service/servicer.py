"""Admins' messages in, messages out."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.empty_pb2 import Empty

from fastcms.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from fastcms_common.audit import AuditLog
from fastcms_common.context import Caller, current
from fastcms_common.errors import DomainError, Unauthenticated
from scheduler_service.catalog import Catalog, Patch
from scheduler_service.conversions import run_message, task_message
from scheduler_service.history import History
from scheduler_service.messages import Messages
from scheduler_service.models import Kind, Task
from scheduler_service.own_jobs import (
    DEFAULT_FORMAT,
    DEFAULT_KEEP,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Draft,
    OwnJobs,
)
from scheduler_service.runs import Ledger
from scheduler_service.store import LedgerStore

# What a field of a job is where a PATCH says null.
_ABSENT = {
    "method": "GET",
    "url": "",
    "body": "",
    "timeout": DEFAULT_TIMEOUT,
    "retries": DEFAULT_RETRIES,
    "collection": "",
    "format": DEFAULT_FORMAT,
    "keep": DEFAULT_KEEP,
}


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """What admins see and do."""

    def __init__(
        self,
        store: LedgerStore,
        catalog: Catalog,
        ledger: Ledger,
        own_jobs: OwnJobs,
        history: History,
        messages: Messages,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._ledger = ledger
        self._own_jobs = own_jobs
        self._history = history
        self._messages = messages
        self._audit = audit

    async def ListTasks(self, request: scheduler_pb2.ListTasksRequest, context: Any) -> scheduler_pb2.ListTasksResponse:
        tasks = await self._store.tasks()
        return scheduler_pb2.ListTasksResponse(tasks=[self._message(task) for task in tasks], total=len(tasks))

    async def UpdateTask(self, request: scheduler_pb2.UpdateTaskRequest, context: Any) -> scheduler_pb2.Task:
        patch = _patch(request)
        before, after = await self._catalog.update(request.task, patch)
        if after.revision != before.revision:
            details = {
                name: {"old": getattr(before, name), "new": getattr(after, name)}
                for name in ("enabled", "interval", "description")
                if getattr(before, name) != getattr(after, name)
            }
            if after.parameters != before.parameters:
                # Which of them, and never what is in them: headers are secrets.
                details["parameters"] = {"changed": sorted(patch.fields - {"enabled", "interval", "description"})}
            await self._record("cron_updated", f"Task '{after.id}' was changed", after, details)
        return self._message(after)

    async def CreateTask(self, request: scheduler_pb2.CreateTaskRequest, context: Any) -> scheduler_pb2.Task:
        kind = cast(Kind, request.type or "http")
        task = await self._catalog.create(
            request.name,
            kind,
            request.interval,
            _new_draft(request),
            enabled=request.enabled if request.HasField("enabled") else True,
            description=request.description,
            by=_caller().id,
        )
        details = {"type": kind, "interval": task.interval}
        if kind == "http":
            # Without the query, which may hold a key.
            details["request"] = f"{task.parameters['method']} {task.parameters['url'].partition('?')[0]}"
        else:
            details["collection"] = task.parameters["collection"]
        await self._record("cron_created", f"Job '{task.id}' was added", task, details)
        return self._message(task)

    async def DeleteTask(self, request: scheduler_pb2.DeleteTaskRequest, context: Any) -> Empty:
        task = await self._catalog.delete(request.task)
        await self._record("cron_deleted", f"Job '{task.id}' was removed", task, {"type": task.kind})
        return Empty()

    async def TriggerTask(
        self, request: scheduler_pb2.TriggerTaskRequest, context: Any
    ) -> scheduler_pb2.TriggerTaskResponse:
        run_id = await self._ledger.trigger(request.task, _caller().id)
        try:
            task = await self._ledger.task(request.task)
            await self._record("cron_triggered", f"Task '{task.id}' was triggered by hand", task, {"run_id": run_id})
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

    def _message(self, task: Task) -> scheduler_pb2.Task:
        return task_message(task, self._own_jobs)

    async def _record(self, action: str, description: str, task: Task, details: dict[str, Any]) -> None:
        await self._audit.record(
            "admin",
            action,
            description=description,
            resource_type="cron_task",
            resource_id=task.id,
            details=details,
        )


def _caller() -> Caller:
    caller = current().caller
    if caller is None:
        raise Unauthenticated
    return caller


def _patch(request: scheduler_pb2.UpdateTaskRequest) -> Patch:
    if request.HasField("update_mask"):
        fields = frozenset(request.update_mask.paths) - {"task"}
    else:
        fields = frozenset(field.name for field, _ in request.ListFields()) - {"task"}

    def value(name: str) -> Any:
        if name not in fields:
            return None
        return getattr(request, name) if request.HasField(name) else _ABSENT.get(name)  # type: ignore[arg-type]

    return Patch(
        fields=fields,
        enabled=value("enabled"),
        interval=value("interval"),
        description=value("description"),
        draft=Draft(
            method=value("method"),
            url=value("url"),
            headers=dict(request.headers) if "headers" in fields else None,
            body=value("body"),
            timeout=value("timeout"),
            retries=value("retries"),
            collection=value("collection"),
            format=value("format"),
            keep=value("keep"),
        ),
    )


def _new_draft(request: scheduler_pb2.CreateTaskRequest) -> Draft:
    def value(name: str) -> Any:
        return getattr(request, name) if request.HasField(name) else None  # type: ignore[arg-type]

    return Draft(
        method=value("method"),
        url=value("url"),
        headers=dict(request.headers) or None,
        body=value("body"),
        timeout=value("timeout"),
        retries=value("retries"),
        collection=value("collection"),
        format=value("format"),
        keep=value("keep"),
    )
