"""Workers' and beats' messages in, messages out."""

from __future__ import annotations

from typing import Any

import orjson

from fastcms.scheduler.v1 import ledger_pb2, ledger_pb2_grpc
from fastcms_common.errors import Conflict
from fastcms_common.times import from_text
from scheduler_service.conversions import timestamp
from scheduler_service.own_jobs import OwnJobs
from scheduler_service.runs import Ledger
from scheduler_service.store import LedgerStore


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """What workers and beats ask."""

    def __init__(self, store: LedgerStore, ledger: Ledger, own_jobs: OwnJobs, lease_seconds: float) -> None:
        self._store = store
        self._own_jobs = own_jobs
        self._ledger = ledger
        self._lease_ms = int(lease_seconds * 1000)

    async def ClaimRun(self, request: ledger_pb2.ClaimRunRequest, context: Any) -> ledger_pb2.ClaimRunResponse:
        task = await self._ledger.claim(request.task, request.worker)
        if task is None or task.active is None:
            return ledger_pb2.ClaimRunResponse()
        active = task.active
        try:
            parameters = self._own_jobs.to_run(task.id, task.kind, task.parameters)
        except Conflict as error:
            await self._ledger.finish(
                task.id, active.id, task.fence, succeeded=False, result=None, error=f"{error.reason}: {error.detail}"
            )
            return ledger_pb2.ClaimRunResponse()
        run = ledger_pb2.ClaimedRun(
            run_id=active.id,
            task=task.id,
            kind=task.kind,
            parameters=orjson.dumps(parameters),
            fencing_token=task.fence,
            lease_ms=self._lease_ms,
            attempt=active.attempts,
        )
        if active.trigger == "schedule":
            run.scheduled_at.CopyFrom(timestamp(from_text(active.due)))
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
                schedule.anchor.CopyFrom(timestamp(from_text(task.anchor)))
        return answer
