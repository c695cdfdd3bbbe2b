"""Tasks and runs as messages."""

from __future__ import annotations

from datetime import datetime

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from fastcms.scheduler.v1 import scheduler_pb2
from fastcms_common.times import from_text, now
from scheduler_service.models import ActiveRun, FinishedRun, Task
from scheduler_service.own_jobs import OwnJobs


def task_message(task: Task, own_jobs: OwnJobs) -> scheduler_pb2.Task:
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
    message.type = task.kind
    if task.kind == "http":
        for name in ("method", "url", "body", "timeout", "retries"):
            if task.parameters[name] is not None:
                setattr(message, name, task.parameters[name])
        message.headers.update(own_jobs.to_show(task.id, task.parameters))
    elif task.kind != "system":
        for name, value in task.parameters.items():
            setattr(message, name, value)
    if task.created_by is not None:
        message.created_by = task.created_by
    if task.last_started is not None:
        message.last_run.CopyFrom(timestamp(from_text(task.last_started)))
    if task.enabled:
        following = task.schedule.following(max(now(), from_text(task.slot)))
        message.next_run.CopyFrom(timestamp(following))
    return message


def run_message(run: FinishedRun | Task) -> scheduler_pb2.TaskRun:
    """A run as admins see it: one of the history, or the active one of a task."""
    if isinstance(run, FinishedRun):
        message = scheduler_pb2.TaskRun(
            id=run.id,
            started=timestamp(from_text(run.started)),
            finished=timestamp(from_text(run.finished)),
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
            id=active.id, started=timestamp(from_text(active.started or active.created)), status="running"
        )
        details = active
    message.trigger = details.trigger
    message.made_up = details.made_up
    message.missed = details.missed
    message.attempts = details.attempts
    if details.triggered_by is not None:
        message.triggered_by = details.triggered_by
    if details.trigger == "schedule":
        message.scheduled_at.CopyFrom(timestamp(from_text(details.due)))
    return message


def timestamp(moment: datetime) -> Timestamp:
    """A moment on the wire."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
