"""The ledger: which run is to be done, who does it, and what became of it.

A task has at most one run at a time. Each decision reads the task's document, and is written only if nobody changed
it meanwhile: of any number of claims or triggers at once one wins, on any number of replicas. What a worker is told by
a message is only that it may be worth asking; so a message that comes twice, late or not at all does no harm.

A run that was claimed has a fencing token, greater than that of any claim of this task before. A worker that was taken
for dead and comes back is refused here and, as it passes the token on, by the services whose data it would change.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

from fastcms_common.errors import Conflict, DomainError, NotFound, Stale, Unavailable
from fastcms_common.ids import new_id
from fastcms_common.logs import get_logger
from fastcms_common.times import from_text, to_text
from fastcms_common.times import now as wall_clock
from scheduler_service.config import ServiceSettings
from scheduler_service.leases import LeaseWatch
from scheduler_service.models import ActiveRun, FinishedRun, Task
from scheduler_service.schedules import Every
from scheduler_service.store import LedgerStore

# With 50 callers at one document the last one has been overtaken 49 times.
_ATTEMPTS = 200

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """A due time that nobody has dealt with, and how many before it passed unnoticed."""

    slot: datetime
    missed: int
    late: float


def due(task: Task, now: datetime) -> Due | None:
    """The newest due time of `task` that is still to be dealt with; None where there is none."""
    dealt_with = from_text(task.slot)
    schedule = task.schedule
    slot = schedule.previous(now)
    if not task.enabled or slot <= dealt_with:
        return None
    return Due(slot, schedule.between(dealt_with, slot), (now - slot).total_seconds())


def set_back(task: Task, now: datetime) -> bool:
    """Whether the clock was set back so far that an interval would be skipped.

    What was due once is not due again when the clock shows its time for the second time. For a cron line that is all
    there is to it. An interval promises something every so often: it goes on from now on a grid of its own.
    """
    schedule = task.schedule
    return isinstance(schedule, Every) and from_text(task.slot) - now > schedule.period


class Ledger:
    """Claims, renewals, endings and triggers of runs."""

    def __init__(
        self,
        store: LedgerStore,
        watch: LeaseWatch,
        settings: ServiceSettings,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings
        self._clock = clock

    async def task(self, name: str) -> Task:
        """The task of this name. Raises NotFound."""
        task = await self._store.task(name)
        if task is None:
            raise NotFound(f"There is no task '{name}'.", reason="TASK_NOT_FOUND")
        return task

    async def claim(self, name: str, worker: str) -> Task | None:
        """Gives the run that waits to `worker`: the task with that run active. None: nothing to do. Raises NotFound.

        Idempotent for a worker: each claim is made under a name of its own.
        """
        for attempt in range(_ATTEMPTS):
            task = await self.task(name)
            if task.closing is not None:
                await self._enter(task)
                continue
            if task.active is not None and task.active.claimed and task.active.worker == worker:
                # Its answer was lost on the way.
                return task
            now = self._clock()
            if set_back(task, now):
                log.warning("the clock was set back", task=name, slot=task.slot)
                await self._store.swap(task, anchor=to_text(now), slot=to_text(now))
                continue
            if task.active is not None and task.active.attempts >= self._settings.max_attempts:
                if not self._free(task):
                    return None
                await self._give_up(task)
                continue
            active = self._next_run(task, now)
            if active is None:
                return None
            active = replace(
                active, claimed=True, worker=worker, started=to_text(now), attempts=active.attempts + 1, beats=0
            )
            slot = active.due if active.trigger == "schedule" else task.slot
            claimed = await self._store.swap(task, active=active, slot=slot, fence=_next_fence(task, now))
            if claimed is not None:
                self._log_claim(claimed, active)
                return claimed
            await _stand_back(attempt)
        raise _crowded()

    def is_waiting(self, task: Task) -> bool:
        """Whether a worker that asks now would be given a run of `task`."""
        if task.active is not None:
            return self._free(task)
        now = self._clock()
        return due(task, now) is not None or set_back(task, now)

    async def renew(self, name: str, run_id: str, fence: int) -> None:
        """Raises Stale (LEASE_LOST) where the run is not this worker's any more."""
        if not await self._store.beat(name, run_id, fence):
            raise _lease_lost()

    async def finish(
        self, name: str, run_id: str, fence: int, *, succeeded: bool, result: Any, error: str | None
    ) -> FinishedRun:
        """Enters how the run ended. Idempotent. Raises Stale (LEASE_LOST) where it is not this worker's any more."""
        for attempt in range(_ATTEMPTS):
            task = await self.task(name)
            closing = task.closing
            if closing is not None and closing.id == run_id and closing.fence == fence:
                await self._enter(task)
                return closing
            active = task.active
            if active is None or active.id != run_id or task.fence != fence or not active.claimed:
                return await self._finished_before(name, run_id, fence)
            closed = await self._close(task, active, succeeded=succeeded, result=result, error=error)
            if closed is not None:
                return closed
            await _stand_back(attempt)
        raise _crowded()

    async def release(self, name: str, run_id: str, fence: int) -> None:
        """Hands a run back for another worker. Raises Stale (LEASE_LOST) where it is not this worker's any more."""
        for attempt in range(_ATTEMPTS):
            task = await self.task(name)
            active = task.active
            if active is None or active.id != run_id or task.fence != fence or not active.claimed:
                raise _lease_lost()
            # A worker that was told to stop did not fail at the run: it does not count as an attempt.
            back = replace(active, claimed=False, worker=None, attempts=max(0, active.attempts - 1))
            if await self._store.swap(task, active=back) is not None:
                log.info("run handed back", task=name, run=run_id)
                return
            await _stand_back(attempt)
        raise _crowded()

    async def trigger(self, name: str, by: str) -> str:
        """Lets a run of the task wait for a worker; its id. Raises NotFound, Conflict (TASK_RUNNING)."""
        for attempt in range(_ATTEMPTS):
            task = await self.task(name)
            if task.active is not None:
                raise Conflict(f"Task '{name}' is running.", reason="TASK_RUNNING")
            run_id = new_id()
            active = ActiveRun(run_id, "manual", to_text(self._clock()), due=run_id, triggered_by=by)
            if await self._store.swap(task, active=active) is not None:
                return run_id
            await _stand_back(attempt)
        raise _crowded()

    async def withdraw(self, name: str, run_id: str) -> None:
        """Takes a trigger back, unless a worker was faster."""
        for attempt in range(_ATTEMPTS):
            task = await self._store.task(name)
            if task is None or task.active is None or task.active.id != run_id or task.active.claimed:
                return
            if await self._store.swap(task, active=None) is not None:
                return
            await _stand_back(attempt)

    async def look(self) -> None:
        """Takes note of who is alive, and enters what a crash has left between a run's end and the history."""
        tasks = await self._store.tasks()
        self._watch.look(tasks)
        for task in tasks:
            if task.closing is not None:
                await self._enter(task)

    async def keep_watching(self) -> NoReturn:
        """Looks several times in the length of a lease."""
        while True:
            try:
                await self.look()
            except DomainError as error:
                log.warning("leases not watched", error=error.detail)
            await asyncio.sleep(self._settings.lease_seconds / 5)

    def _next_run(self, task: Task, now: datetime) -> ActiveRun | None:
        if task.active is not None:
            return task.active if self._free(task) else None
        found = due(task, now)
        if found is None:
            return None
        made_up = found.missed > 0 or found.late > self._settings.made_up_after_seconds
        return ActiveRun(
            new_id(), "schedule", to_text(now), due=to_text(found.slot), made_up=made_up, missed=found.missed
        )

    def _free(self, task: Task) -> bool:
        return task.active is not None and (not task.active.claimed or self._watch.is_lost(task))

    async def _close(
        self, task: Task, active: ActiveRun, *, succeeded: bool, result: Any, error: str | None
    ) -> FinishedRun | None:
        started, finished = from_text(active.started or active.created), self._clock()
        run = FinishedRun(
            id=active.id,
            task=task.id,
            trigger=active.trigger,
            due=active.due,
            started=to_text(started),
            finished=to_text(max(started, finished)),
            status="succeeded" if succeeded else "failed",
            duration_ms=max(0, int((finished - started).total_seconds() * 1000)),
            fence=task.fence,
            triggered_by=active.triggered_by,
            made_up=active.made_up,
            missed=active.missed,
            attempts=active.attempts,
            result=result,
            error=error,
        )
        closed = await self._store.swap(
            task,
            active=None,
            closing=run,
            last_started=run.started,
            last_status=run.status,
            last_duration_ms=run.duration_ms,
        )
        if closed is None:
            return None
        await self._enter(closed)
        routine = task.kind == "system" and active.trigger == "schedule" and not active.made_up
        say = log.warning if not succeeded else log.debug if routine else log.info
        say("run finished", task=task.id, run=run.id, status=run.status, milliseconds=run.duration_ms, error=error)
        return run

    async def _give_up(self, task: Task) -> None:
        active = task.active
        if active is not None:
            error = f"Given up: {active.attempts} workers were lost while they did it."
            await self._close(task, active, succeeded=False, result=None, error=error)

    async def _enter(self, task: Task) -> None:
        closing = task.closing
        if closing is not None and not await self._store.settle(task):
            log.error("a due time was run twice", task=task.id, run=closing.id, due=closing.due)

    async def _finished_before(self, name: str, run_id: str, fence: int) -> FinishedRun:
        run = await self._store.run(run_id)
        if run is None or run.task != name or run.fence != fence:
            raise _lease_lost()
        return run

    @staticmethod
    def _log_claim(task: Task, active: ActiveRun) -> None:
        say = log.info if task.kind != "system" or active.trigger == "manual" or active.made_up else log.debug
        if active.attempts > 1:
            say = log.warning
        say("run claimed", task=task.id, run=active.id, worker=active.worker, made_up=active.made_up,
            attempt=active.attempts)  # fmt: skip


def _next_fence(task: Task, now: datetime) -> int:
    # Milliseconds, so that the owners of the work, who remember the highest token, go on believing a ledger that was
    # restored from a backup or begun anew.
    return max(task.fence + 1, int(now.timestamp() * 1000))


async def _stand_back(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0, min(0.002 * 2 ** min(attempt, 5), 0.05)))  # noqa: S311


def _lease_lost() -> Stale:
    return Stale("The run has gone to another worker.", reason="LEASE_LOST")


def _crowded() -> Unavailable:
    return Unavailable("Too many callers at one task.", reason="TASK_CONTENDED")
