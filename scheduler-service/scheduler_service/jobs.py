"""What a worker does for each kind of task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from fastcms.collections.v1 import jobs_pb2, jobs_pb2_grpc
from fastcms.scheduler.v1.ledger_pb2 import ClaimedRun
from scheduler_service.executions import JobFailed, Work
from scheduler_service.exports import Exports
from scheduler_service.tasks import DEADLINE, TASKS, Services


@dataclass(frozen=True, slots=True)
class HttpRules:
    """Hosts that HTTP jobs may call wherever they are, and a file of authorities that they trust beside the public."""

    allowed_hosts: frozenset[str]
    ca_file: Path | None = None


def work_with(services: Services, http_rules: HttpRules, export_dir: Path) -> Work:
    """The work of this worker's runs, done through `services`. Exports go into the folder `export_dir`."""
    exports = Exports(services, export_dir)

    async def work(run: ClaimedRun) -> Any:
        if run.kind == "system":
            return await _system(services, run)
        if run.kind == "http":
            return await _http(run, http_rules)
        if run.kind == "truncate":
            return await _truncate(services, run)
        if run.kind == "export":
            return await exports.run(run, orjson.loads(run.parameters))
        raise JobFailed(f"This worker does not know jobs of the type '{run.kind}'.")

    return work


async def _system(services: Services, run: ClaimedRun) -> dict[str, Any]:
    task = TASKS.get(run.task)
    if task is None:
        raise JobFailed(f"This worker does not know the task '{run.task}'.")
    return await task.call(services, run.fencing_token)


async def _http(run: ClaimedRun, rules: HttpRules) -> dict[str, Any]:
    # Loaded with the first HTTP job: most workers never see one.
    from scheduler_service.http_jobs import HttpJob, HttpJobs, Marks, trusted

    sender = HttpJobs(rules.allowed_hosts, trusted(rules.ca_file))
    marks = Marks(run.task, run.run_id, run.fencing_token)
    return await sender.run(HttpJob.of(orjson.loads(run.parameters)), marks)


async def _truncate(services: Services, run: ClaimedRun) -> dict[str, Any]:
    request = jobs_pb2.TruncateForJobRequest(
        collection=orjson.loads(run.parameters)["collection"],
        job=run.task,
        run_id=run.run_id,
        fencing_token=run.fencing_token,
    )
    jobs = jobs_pb2_grpc.JobsServiceStub(services.collections)
    answer = await jobs.TruncateForJob(request, timeout=DEADLINE)
    return {"deleted": answer.deleted_count}
