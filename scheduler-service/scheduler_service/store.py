"""Every query of scheduler-service: `tasks`, guarded by a revision, `runs`, the history, and `metrics`, by minute."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from fastcms_common.storage import And, Change, Duplicate, Index, Store, Table, eq, ge, le, lt
from fastcms_common.storage.migrations import migrate
from scheduler_service.migrations import MIGRATIONS
from scheduler_service.models import FinishedRun, Task

TASKS = Table("tasks", scalars=("revision", "active.id", "fence"))
RUNS = Table(
    "runs",
    indexes=(
        # Once means once, even if everything above it were wrong.
        Index(("task", "due"), unique=True, required=True),
        Index(("task", ("started", -1))),
        Index("finished"),
    ),
)
POINTS = Table("metrics")
# All of a point but the counts that the next one is made from.
_SHOWN = ("seconds", "requests", "client_errors", "server_errors", "buckets", "processes")


class LedgerStore:
    """Tasks and runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self) -> None:
        """Makes the tables, and the data what this release works on. Idempotent. DataTooNew."""
        await self._store.ensure(TASKS)
        await self._store.ensure(RUNS)
        await self._store.ensure(POINTS)
        await migrate(self._store, MIGRATIONS)

    async def ping(self) -> None:
        """Unavailable unless the database answers."""
        await self._store.ping()

    async def close(self) -> None:
        await self._store.close()

    async def tasks(self) -> list[Task]:
        """All tasks, by name."""
        return [Task.of(document) for document in await self._store.find("tasks")]

    async def task(self, name: str) -> Task | None:
        document = await self._store.get("tasks", name)
        return None if document is None else Task.of(document)

    async def add_task(self, task: Task) -> bool:
        """False where there is one of this name."""
        try:
            await self._store.insert("tasks", task.document())
        except Duplicate:
            return False
        return True

    async def swap(self, before: Task, **changes: Any) -> Task | None:
        """Changes the task if nobody has changed it since `before` was read; the task after, or None."""
        after = replace(before, **changes, revision=before.revision + 1)
        values = {name: value if isinstance(value, str | int | float | bool | None) else _plain(value)
                  for name, value in ((name, getattr(after, name)) for name in (*changes, "revision"))}  # fmt: skip
        done = await self._store.update("tasks", before.id, Change(set=values), eq("revision", before.revision))
        return None if done is None else after

    async def beat(self, task: str, run: str, fence: int) -> bool:
        """Counts a sign of life of the worker that holds this lease; False where it holds it no more."""
        mine = And(eq("active.id", run), eq("fence", fence), eq("active.claimed", True))
        # The revision stays: a renewal changes nothing that a decision is made on.
        return await self._store.update("tasks", task, Change(inc={"active.beats": 1}), mine) is not None

    async def remove_task(self, before: Task) -> bool:
        """False where somebody has changed it since `before` was read."""
        gone = await self._store.delete("tasks", before.id, eq("revision", before.revision))
        return gone is not None

    async def remove_runs(self, task: str) -> None:
        await self._store.delete_many("runs", eq("task", task))

    async def enter(self, run: FinishedRun) -> bool:
        """Puts a finished run into the history; False where another run stands there for the same due time."""
        try:
            await self._store.upsert("runs", run.document())
        except Duplicate:
            return False
        return True

    async def settle(self, task: Task) -> bool:
        """Puts the run that `task` finished last into the history, and forgets the copy in the task.

        Idempotent, for any number at once. False where another run stands in the history for the same due time.
        """
        if task.closing is None:
            return True
        entered = await self.enter(task.closing)
        await self._store.update(
            "tasks", task.id, Change(set={"closing": None}, inc={"revision": 1}), eq("revision", task.revision)
        )
        return entered

    async def run(self, id: str) -> FinishedRun | None:
        document = await self._store.get("runs", id)
        return None if document is None else FinishedRun.of(document)

    async def runs(self, task: str, limit: int, offset: int) -> tuple[list[FinishedRun], int]:
        """One page of a task's finished runs, the newest first, and how many there are."""
        where = eq("task", task)
        found = await self._store.find("runs", where, sort=[("started", -1)], limit=limit, offset=offset)
        return [FinishedRun.of(document) for document in found], await self._store.count("runs", where)

    async def forget_runs_before(self, finished: str) -> int:
        return await self._store.delete_many("runs", lt("finished", finished))

    async def forget_runs_beyond(self, task: str, keep: int) -> int:
        """Removes all but the newest `keep` runs of a task."""
        oldest = await self._store.find("runs", eq("task", task), sort=[("started", -1)], limit=1, offset=keep)
        if not oldest:
            return 0
        return await self._store.delete_many("runs", And(eq("task", task), le("started", oldest[0]["started"])))

    async def point_before(self, minute: str) -> dict[str, Any] | None:
        """The newest point of metrics before that of `minute`."""
        return await self._store.first("metrics", lt("id", minute), sort=[("id", -1)])

    async def put_point(self, point: dict[str, Any]) -> None:
        await self._store.upsert("metrics", point)

    async def points(self, begin: str, end: str, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` points from `begin` to `end`, the oldest first."""
        where = And(ge("id", begin), le("id", end))
        return (await self._store.find("metrics", where, sort=[("id", -1)], limit=limit, fields=_SHOWN))[::-1]

    async def forget_points_before(self, minute: str) -> int:
        return await self._store.delete_many("metrics", lt("id", minute))


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
