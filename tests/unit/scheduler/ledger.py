"""A ledger on a database of its own, with clocks that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastcms_common.storage import open_store
from fastcms_common.times import from_text
from scheduler_service.catalog import Catalog
from scheduler_service.config import ServiceSettings
from scheduler_service.history import History
from scheduler_service.leases import LeaseWatch
from scheduler_service.models import FinishedRun, Task
from scheduler_service.own_jobs import OwnJobs
from scheduler_service.runs import Ledger
from scheduler_service.sealing import Seal
from scheduler_service.store import LedgerStore
from scheduler_service.tasks import SystemTask

NOON = "2026-03-02T12:00:00Z"
NAME = "sweep"


async def nothing(*_: Any) -> dict[str, Any]:
    return {}


class Setting:
    """One replica, and what its clocks say."""

    def __init__(self, store: LedgerStore, **settings: Any) -> None:
        self.now = from_text(NOON)
        self.ticks = 0.0
        self.settings = ServiceSettings(**settings)
        self.store = store
        self.ledger = self.replica()
        self.history = History(store, self.settings, self._clock)

    def _clock(self) -> datetime:
        return self.now

    def replica(self) -> Ledger:
        return Ledger(self.store, LeaseWatch(30.0, lambda: self.ticks), self.settings, self._clock)

    def catalog(self, interval: str = "1m", name: str = NAME) -> Catalog:
        own_jobs = OwnJobs(Seal(b"k" * 32), frozenset({"allowed.example"}))
        tasks = {name: SystemTask(name, interval, "Sweeps.", nothing)}
        return Catalog(self.store, tasks, own_jobs, self.settings, self._clock)

    def wait(self, seconds: float) -> None:
        """Both clocks go on."""
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds

    def step(self, seconds: float) -> None:
        """The clock on the wall is set; that of the processor knows nothing of it."""
        self.now += timedelta(seconds=seconds)

    async def task(self) -> Task:
        return await self.ledger.task(NAME)

    async def claimed(self, worker: str = "w") -> Task | None:
        return await self.ledger.claim(NAME, worker)

    async def done(self, task: Task | None, **outcome: Any) -> FinishedRun:
        assert task is not None
        assert task.active is not None
        told = {"succeeded": True, "result": None, "error": None} | outcome
        return await self.ledger.finish(NAME, task.active.id, task.fence, **told)

    async def run_now(self) -> FinishedRun:
        """Claims what is due and does it."""
        return await self.done(await self.claimed())

    async def runs(self) -> list[FinishedRun]:
        return (await self.store.runs(NAME, 1000, 0))[0][::-1]


@asynccontextmanager
async def ledger_setting(place: Path | str, interval: str = "1m", **settings: Any) -> AsyncIterator[Setting]:
    """With the task NAME in it, in a SQLite file in the folder `place` or at the STORAGE_URL that it is."""
    url = f"sqlite:///{place}/scheduler.db" if isinstance(place, Path) else place
    database = await open_store(url, "scheduler")
    store = LedgerStore(database)
    try:
        await store.prepare()
        setting = Setting(store, **settings)
        await setting.catalog(interval).install()
        yield setting
    finally:
        await store.close()
