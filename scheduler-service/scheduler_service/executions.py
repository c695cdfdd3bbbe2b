"""Doing runs: claim, work, renew the lease meanwhile, say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from prometheus_client import Counter, Histogram

from fastcms.scheduler.v1 import ledger_pb2, ledger_pb2_grpc
from fastcms.scheduler.v1.ledger_pb2 import ClaimedRun
from fastcms_common.errors import DomainError, TimedOut, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger

# Seconds that a claim or an ending is tried for while the ledger is away. For a claim there will be another message.
_CLAIM_SECONDS = 30.0
_FINISH_SECONDS = 300.0
_RETRY_SECONDS = 0.5
_LEDGER_DEADLINE = 5.0

Work = Callable[[ClaimedRun], Coroutine[Any, Any, Any]]
"""Does a run; what it returns is the result, what it raises the reason why it failed."""

log = get_logger(__name__)

_runs = Counter("fastcms_runs", "Runs of tasks that this worker has ended.", ["task", "outcome"])
_seconds = Histogram(
    "fastcms_run_seconds", "Seconds that runs took.", ["task"], buckets=(0.01, 0.1, 0.5, 1, 5, 30, 120, 600, 3600)
)


class JobFailed(Exception):
    """A job did what it could and it was not enough; the text is for a person."""


class Executions:
    """The runs that this worker is doing."""

    def __init__(self, ledger: ledger_pb2_grpc.LedgerServiceAsyncStub, work: Work, worker: str) -> None:
        self._ledger = ledger
        self._work = work
        self._worker = worker
        self._stopping = False
        self._running: set[asyncio.Task[Any]] = set()

    async def drain(self, task: str) -> None:
        """Does what the task has to be done, one run after the other, until nothing waits."""
        while not self._stopping:
            run = await self._claim(task)
            if run is None:
                return
            await self._execute(run)

    async def stop(self, grace: float) -> None:
        """Takes on nothing more; what is not done after `grace` seconds is handed back."""
        self._stopping = True
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        for work in self._running:
            work.cancel()

    async def _claim(self, task: str) -> ClaimedRun | None:
        # The same name for every attempt: an answer that got lost is given again.
        request = ledger_pb2.ClaimRunRequest(task=task, worker=f"{self._worker}/{new_id()[-8:]}")

        async def ask() -> ClaimedRun | None:
            answer = await self._ledger.ClaimRun(request, timeout=_LEDGER_DEADLINE)
            return answer.run if answer.HasField("run") else None

        try:
            run: ClaimedRun | None = await self._insist(ask, _CLAIM_SECONDS)
            return run
        except DomainError as error:
            log.warning("no run claimed", task=task, error=error.detail)
            return None

    async def _execute(self, run: ClaimedRun) -> None:
        started = time.perf_counter()
        work: asyncio.Task[Any] = asyncio.create_task(self._work(run))
        lease = asyncio.create_task(self._keep_lease(run))
        self._running.add(work)
        try:
            await asyncio.wait((work, lease), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                _lease_lost(run)
                work.cancel()
                await asyncio.wait((work,))
                return
            if work.cancelled():
                _runs.labels(run.task, "handed back").inc()
                await self._release(run)
                return
            _seconds.labels(run.task).observe(time.perf_counter() - started)
            await self._finish(run, work)
        finally:
            self._running.discard(work)
            lease.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lease

    async def _keep_lease(self, run: ClaimedRun) -> None:
        """Renews until it is cancelled; returns when the lease is lost, or may be for all that can be known here.

        It may be from the moment on at which it has not been renewed for its whole length.
        """
        loop = asyncio.get_running_loop()
        lease = run.lease_ms / 1000
        request = ledger_pb2.RenewRunRequest(task=run.task, run_id=run.run_id, fencing_token=run.fencing_token)
        renewed = loop.time()
        while loop.time() < renewed + lease:
            await asyncio.sleep(lease / 4 if loop.time() < renewed + lease / 2 else lease / 20)
            try:
                asked = loop.time()
                await self._ledger.RenewRun(request, timeout=lease / 4)
                renewed = asked
            except (Unavailable, TimedOut):
                log.debug("lease not renewed", task=run.task)
            except DomainError:
                return

    async def _finish(self, run: ClaimedRun, work: asyncio.Task[Any]) -> None:
        request = ledger_pb2.FinishRunRequest(task=run.task, run_id=run.run_id, fencing_token=run.fencing_token)
        problem = work.exception()
        if problem is None:
            request.succeeded = True
            request.result = orjson.dumps(work.result())
        else:
            request.error = _told(problem)
            if not isinstance(problem, DomainError | JobFailed):
                log.error("task failed", task=run.task, run=run.run_id, exc_info=problem)
        if isinstance(problem, DomainError) and problem.reason == "LEASE_LOST":
            # Another worker's token has been seen where the work is done: this run is not ours to end.
            _lease_lost(run)
            return

        _runs.labels(run.task, "succeeded" if request.succeeded else "failed").inc()

        async def tell() -> None:
            await self._ledger.FinishRun(request, timeout=_LEDGER_DEADLINE)

        try:
            await self._insist(tell, _FINISH_SECONDS)
        except DomainError as error:
            log.warning("run not finished", task=run.task, run=run.run_id, error=error.detail)

    async def _release(self, run: ClaimedRun) -> None:
        request = ledger_pb2.ReleaseRunRequest(task=run.task, run_id=run.run_id, fencing_token=run.fencing_token)
        try:
            await self._ledger.ReleaseRun(request, timeout=_LEDGER_DEADLINE)
        except DomainError as error:
            log.warning("run not handed back", task=run.task, run=run.run_id, error=error.detail)

    async def _insist(self, call: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        """Calls again while the ledger is away. Every call made so is idempotent."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return await call()
            except (Unavailable, TimedOut):
                if self._stopping or asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)


def _lease_lost(run: ClaimedRun) -> None:
    _runs.labels(run.task, "lease lost").inc()
    log.warning("lease lost", task=run.task, run=run.run_id)


def _told(problem: BaseException) -> str:
    if isinstance(problem, DomainError):
        return f"{problem.reason}: {problem.detail}"
    if isinstance(problem, JobFailed):
        return str(problem)
    return f"INTERNAL: {type(problem).__name__}"
