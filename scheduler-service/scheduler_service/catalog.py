"""Which tasks there are, and how admins change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from fastcms_common.logs import get_logger
from fastcms_common.times import from_text, to_text
from fastcms_common.times import now as wall_clock
from scheduler_service.config import ServiceSettings
from scheduler_service.models import Task
from scheduler_service.schedules import parse_interval
from scheduler_service.store import LedgerStore
from scheduler_service.tasks import SystemTask

log = get_logger(__name__)


def slot_for(interval: str, now: datetime, dealt_with: str | None = None) -> str:
    """Where a task begins whose schedule is new: at the next due time, never with one that is past."""
    previous = parse_interval(interval).previous(now)
    if dealt_with is not None:
        previous = max(previous, from_text(dealt_with))
    return to_text(previous)


class Catalog:
    """The tasks and their schedules."""

    def __init__(
        self,
        store: LedgerStore,
        tasks: Mapping[str, SystemTask],
        settings: ServiceSettings,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._settings = settings
        self._clock = clock

    async def install(self) -> None:
        """Brings the suite's own tasks into the store: new ones, changed defaults, and those that are no more."""
        for system in self._tasks.values():
            await self._install(system)
        for task in await self._store.tasks():
            if task.kind == "system" and task.id not in self._tasks:
                await self._store.remove_task(task)

    async def _install(self, system: SystemTask) -> None:
        interval = self._settings.task_intervals.get(system.name, system.interval)
        while True:
            task = await self._store.task(system.name)
            if task is None:
                slot = slot_for(interval, self._clock())
                new = Task(system.name, "system", interval, slot, description=system.description)
                if await self._store.add_task(new):
                    return
                continue
            if task.own_interval or task.interval == interval:
                interval, anchor, slot = task.interval, task.anchor, task.slot
            else:
                anchor, slot = None, slot_for(interval, self._clock(), task.slot)
            if (interval, system.description) == (task.interval, task.description):
                return
            changed = await self._store.swap(
                task, interval=interval, anchor=anchor, slot=slot, description=system.description
            )
            if changed is not None:
                return
