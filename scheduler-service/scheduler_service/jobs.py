"""What a worker does for each kind of task."""

from __future__ import annotations

from typing import Any

from fastcms.scheduler.v1.ledger_pb2 import ClaimedRun
from scheduler_service.executions import JobFailed, Work
from scheduler_service.tasks import TASKS, Services


def work_with(services: Services) -> Work:
    """The work of this worker's runs, done through `services`."""

    async def work(run: ClaimedRun) -> Any:
        task = TASKS.get(run.task)
        if task is None:
            raise JobFailed(f"This worker does not know the task '{run.task}'.")
        return await task.call(services, run.fencing_token)

    return work
