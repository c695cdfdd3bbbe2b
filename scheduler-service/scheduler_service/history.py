"""Runs that can be looked up afterwards, and how long they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

from fastcms_common.errors import DomainError, NotFound
from fastcms_common.logs import get_logger
from fastcms_common.times import now as wall_clock
from fastcms_common.times import to_text
from scheduler_service.config import ServiceSettings
from scheduler_service.models import FinishedRun, Task
from scheduler_service.store import LedgerStore

_PRUNE_SECONDS = 600.0

log = get_logger(__name__)


class History:
    """The runs of each task: the one that is going on, then those that are over, the newest first."""

    def __init__(
        self, store: LedgerStore, settings: ServiceSettings, clock: Callable[[], datetime] = wall_clock
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def page(self, name: str, limit: int, offset: int) -> tuple[list[FinishedRun | Task], int]:
        """One page, and how many there are in all. The run that is going on comes as its task. Raises NotFound.

        Each run is there once, also where it ends while the page is made.
        """
        task = await self._store.task(name)
        if task is None:
            raise NotFound(f"There is no task '{name}'.", reason="TASK_NOT_FOUND")
        await self._store.settle(task)
        if task.active is not None:
            rows, total = await self._store.runs(name, limit, max(0, offset - 1))
            if await self._store.run(task.active.id) is None:
                head: list[FinishedRun | Task] = [task]
                return [*head[offset:], *rows][:limit], total + 1
        # Nothing is going on, or what was has ended meanwhile and may be among those rows or not.
        rows, total = await self._store.runs(name, limit, offset)
        return [*rows], total

    async def prune(self) -> None:
        """Forgets runs that are too old or too many."""
        oldest = to_text(self._clock() - timedelta(days=self._settings.run_history_days))
        gone = await self._store.forget_runs_before(oldest)
        for task in await self._store.tasks():
            gone += await self._store.forget_runs_beyond(task.id, self._settings.run_history_runs)
        if gone:
            log.info("old runs forgotten", runs=gone)

    async def keep_pruning(self) -> NoReturn:
        """Prunes every ten minutes."""
        while True:
            try:
                await self.prune()
            except DomainError as error:
                log.warning("old runs not forgotten", error=error.detail)
            await asyncio.sleep(_PRUNE_SECONDS)
