"""Which tasks there are, and how admins change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fastcms_common.errors import Conflict, FieldError, Invalid, NotFound, Unavailable
from fastcms_common.times import from_text, to_text
from fastcms_common.times import now as wall_clock
from scheduler_service.config import ServiceSettings
from scheduler_service.models import Kind, Task
from scheduler_service.own_jobs import NAME, Draft, OwnJobs
from scheduler_service.schedules import parse_interval, shortest_gap
from scheduler_service.store import LedgerStore
from scheduler_service.tasks import SystemTask

_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Patch:
    """What an admin changes of a task: the named fields only. An `interval` of None is the one that it came with."""

    fields: frozenset[str]
    enabled: bool | None = None
    interval: str | None = None
    description: str | None = None
    draft: Draft = field(default_factory=Draft)


class Catalog:
    """The tasks and their schedules."""

    def __init__(
        self,
        store: LedgerStore,
        tasks: Mapping[str, SystemTask],
        own_jobs: OwnJobs,
        settings: ServiceSettings,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._own_jobs = own_jobs
        self._settings = settings
        self._clock = clock

    async def install(self) -> None:
        """Brings the suite's own tasks into the store: new ones, changed defaults, and those that are no more."""
        for system in self._tasks.values():
            await self._install(system)
        for task in await self._store.tasks():
            if task.kind == "system" and task.id not in self._tasks:
                await self._store.remove_task(task)

    async def create(
        self, name: str, kind: Kind, interval: str, draft: Draft, *, enabled: bool, description: str, by: str
    ) -> Task:
        """Adds a job. Raises Invalid, Conflict (TASK_EXISTS)."""
        problems = [] if NAME.fullmatch(name) else [FieldError("name", f"It must match ^{NAME.pattern}$.")]
        parameters: dict[str, Any] = {}
        try:
            parameters = self._own_jobs.parameters(name, kind, draft)
        except Invalid as error:
            problems += error.fields
        try:
            self._check_interval(interval)
        except Invalid as error:
            problems += error.fields
        if problems:
            raise Invalid(problems)
        task = Task(
            name,
            kind,
            parse_interval(interval).text,
            self._first_slot(interval),
            enabled=enabled,
            own_interval=True,
            description=description,
            parameters=parameters,
            created_by=by,
        )
        if not await self._store.add_task(task):
            raise Conflict(f"There is a task '{name}' already.", reason="TASK_EXISTS")
        return task

    async def update(self, name: str, patch: Patch) -> tuple[Task, Task]:
        """Changes a task; it before and after. Raises NotFound, Invalid."""
        for _ in range(_ATTEMPTS):
            before = await self._task(name)
            changes = self._changes(before, patch)
            after = await self._store.swap(before, **changes) if changes else before
            if after is not None:
                return before, after
        raise Unavailable("Too many callers at one task.", reason="TASK_CONTENDED")

    async def delete(self, name: str) -> Task:
        """Removes a job with its history. Raises NotFound, Conflict (SYSTEM_TASK, TASK_RUNNING)."""
        for _ in range(_ATTEMPTS):
            task = await self._task(name)
            if task.kind == "system":
                raise Conflict("The suite's own tasks stay; this one can be disabled.", reason="SYSTEM_TASK")
            if task.active is not None:
                raise Conflict(f"Task '{name}' is running.", reason="TASK_RUNNING")
            if await self._store.remove_task(task):
                await self._store.remove_runs(name)
                return task
        raise Unavailable("Too many callers at one task.", reason="TASK_CONTENDED")

    async def _task(self, name: str) -> Task:
        task = await self._store.task(name)
        if task is None:
            raise NotFound(f"There is no task '{name}'.", reason="TASK_NOT_FOUND")
        return task

    def _changes(self, task: Task, patch: Patch) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        problems: list[FieldError] = []
        if "enabled" in patch.fields:
            if patch.enabled is None:
                problems.append(FieldError("enabled", "It must be true or false."))
            elif patch.enabled != task.enabled:
                changes["enabled"] = patch.enabled
        if "interval" in patch.fields:
            self._change_interval(task, patch.interval, changes, problems)
        rest = patch.fields - {"enabled", "interval"}
        if task.kind == "system":
            problems += [FieldError(name, "Only own jobs have this to change.") for name in sorted(rest)]
        else:
            if "description" in rest:
                changes["description"] = patch.description or ""
            if rest - {"description"}:
                try:
                    changes["parameters"] = self._own_jobs.parameters(task.id, task.kind, patch.draft, task.parameters)
                except Invalid as error:
                    problems += error.fields
        if problems:
            raise Invalid(problems)
        if changes.get("enabled") or "interval" in changes:
            # A schedule that is new, or on again, begins with its next due time.
            interval = changes.get("interval", task.interval)
            anchor = changes.get("anchor", task.anchor)
            changes["slot"] = self._first_slot(interval, replace(task, interval=interval, anchor=anchor))
        return changes

    def _change_interval(
        self, task: Task, interval: str | None, changes: dict[str, Any], problems: list[FieldError]
    ) -> None:
        system = self._tasks.get(task.id)
        if interval is None:
            if system is None:
                problems.append(FieldError("interval", "This field is required."))
                return
            wanted, own = self._settings.task_intervals.get(task.id, system.interval), False
        else:
            try:
                self._check_interval(interval)
            except Invalid as error:
                problems += error.fields
                return
            wanted, own = parse_interval(interval).text, True
        if own != task.own_interval:
            changes["own_interval"] = own
        if wanted != task.interval:
            changes["interval"], changes["anchor"] = wanted, None

    def _check_interval(self, interval: str) -> None:
        try:
            schedule = parse_interval(interval)
        except ValueError as error:
            raise Invalid.field("interval", f"It {error}.") from error
        least = self._settings.min_interval_seconds
        if shortest_gap(schedule).total_seconds() < least:
            raise Invalid.field("interval", f"It must be at least {least:g}s.")

    def _first_slot(self, interval: str, task: Task | None = None) -> str:
        if task is None:
            return to_text(parse_interval(interval).previous(self._clock()))
        return to_text(max(task.schedule.previous(self._clock()), from_text(task.slot)))

    async def _install(self, system: SystemTask) -> None:
        while True:
            task = await self._store.task(system.name)
            if task is None:
                interval = self._settings.task_intervals.get(system.name, system.interval)
                slot = self._first_slot(interval)
                if await self._store.add_task(
                    Task(system.name, "system", interval, slot, description=system.description)
                ):
                    return
                continue
            patch = Patch(frozenset() if task.own_interval else frozenset({"interval"}))
            changes = self._changes(task, patch)
            if task.description != system.description:
                changes["description"] = system.description
            if not changes or await self._store.swap(task, **changes) is not None:
                return
