"""The beat: RedBeat's schedule in Redis, one beat in charge of it, and a message for each task that is due.

What differs from RedBeat as it comes:

- Due times are those of `schedules.py`, points on a grid. Celery's own count from the last run, and so drift, and stand
  still for an hour when the clock is set back by one.
- The lock is taken and kept in `tick`: a beat that stands by can be stopped, and one that lost the lock (Redis was
  restarted, the machine slept) stands by again instead of crashing.
- All entries are looked at in each tick, in one round trip: there are tens of them, and the order by due time that
  RedBeat keeps goes wrong with the clock.
- Entries come from the ledger and are put right every few seconds. A task that waits for a worker though its message
  must have been read by now gets another one: so a message that was lost costs seconds, not a run.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import kombu.exceptions
import redis.exceptions
from celery import Celery
from celery.schedules import BaseSchedule
from redbeat.decoder import RedBeatJSONDecoder, RedBeatJSONEncoder
from redbeat.schedulers import RedBeatScheduler, RedBeatSchedulerEntry, get_redis

from fastcms_common import redis_keys
from fastcms_common.errors import DomainError
from fastcms_common.logs import get_logger
from scheduler_service.celery_app import QUEUE, RUN, send
from scheduler_service.schedules import parse_interval

# Messages on the queue from which on it is not made longer: nobody reads it, and who comes back is reminded. (Celery's
# own way, messages that expire, would have the clocks of two machines agree.)
_FULL = 200
# Seconds after which a task that still waits gets another message, at first and at most.
_REMIND_FIRST, _REMIND_LAST = 4.0, 60.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """A task's schedule as the ledger has it."""

    task: str
    interval: str
    anchor: datetime | None
    enabled: bool
    waiting: bool


class Slots(BaseSchedule):  # type: ignore[misc]
    """A schedule of ours as Celery wants it."""

    def __init__(self, interval: str, anchor: datetime | None, app: Celery | None = None) -> None:
        super().__init__(app=app)
        self.interval = interval
        self.anchor = anchor
        self._schedule = parse_interval(interval, anchor)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        remaining: timedelta = self._schedule.following(last_run_at) - self.now()
        return remaining

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        now = self.now()
        # Unequal rather than later: after the clock was set back, the ledger wants to hear of it.
        is_due = self._schedule.previous(now) != self._schedule.previous(last_run_at)
        return is_due, (self._schedule.following(now) - now).total_seconds()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and (self.interval, self.anchor) == (other.interval, other.anchor)

    def __hash__(self) -> int:
        return hash((self.interval, self.anchor))


class SlotEntry(RedBeatSchedulerEntry):  # type: ignore[misc]
    """An entry of RedBeat whose schedule is `Slots`."""

    @staticmethod
    def decode_definition(definition: str) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(definition, cls=RedBeatJSONDecoder)
        fields["schedule"] = Slots(**fields["schedule"])
        return fields

    @property
    def due_at(self) -> datetime:
        due: datetime = self.schedule.now() + self.schedule.remaining_estimate(self.last_run_at)
        return due

    def save(self) -> SlotEntry:
        """Writes the definition; when the task ran last is left as it is."""
        definition = {
            "name": self.name,
            "task": self.task,
            "args": None,
            "kwargs": self.kwargs,
            "options": self.options,
            "schedule": {"interval": self.schedule.interval, "anchor": self.schedule.anchor},
            "enabled": self.enabled,
        }
        with get_redis(self.app).pipeline() as pipe:
            pipe.hset(self.key, "definition", json.dumps(definition, cls=RedBeatJSONEncoder))
            pipe.hsetnx(self.key, "meta", json.dumps({"last_run_at": self.last_run_at}, cls=RedBeatJSONEncoder))
            pipe.zadd(self.app.redbeat_conf.schedule_key, {self.key: self.score})
            pipe.execute()
        return self


class Beat(RedBeatScheduler):  # type: ignore[misc]
    """The scheduler of one process: in charge, or standing by until the one in charge is gone."""

    Entry = SlotEntry

    def __init__(self, app: Celery, ask: Callable[[], list[Plan]], beat_seconds: float, lock_seconds: float) -> None:
        self._ask = ask
        self._beat_seconds = beat_seconds
        self._asked = float("-inf")
        self._reminded: dict[str, tuple[float, float]] = {}
        super().__init__(app, max_interval=beat_seconds, lock_timeout=lock_seconds, lazy=True)
        # What RedBeat does with its lock when Celery's beat service starts blocks until it has it.
        self.lock_key = None
        self._lock: Any = None

    def tick(self, **_: Any) -> float:
        """One look at the schedule; seconds until the next. Raises RedisError where Redis is away."""
        if not self._take_charge():
            return min(self._beat_seconds, float(self.lock_timeout) / 3)
        if time.monotonic() - self._asked >= self._beat_seconds:
            self._follow_ledger()
        waits = [self._beat_seconds]
        for entry in self._load().values():
            waits.append(self.maybe_due(entry, producer=None))
        return max(0.0, min(waits))

    def maybe_due(self, entry: SlotEntry, **_: Any) -> float:
        is_due, wait = entry.is_due()
        if is_due:
            # First the note, then the message: for one that is lost in between the reminder is there.
            self.reserve(entry)
            self._send(entry.name)
        return float(wait)

    def close(self) -> None:
        """Gives the lock to whoever stands by."""
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                lock.release()
            except redis.exceptions.RedisError:
                log.debug("the lock is left to expire")

    def _take_charge(self) -> bool:
        client = get_redis(self.app)
        if self._lock is not None:
            try:
                self._lock.extend(self.lock_timeout, replace_ttl=True)
            except redis.exceptions.LockError:
                log.warning("the schedule has gone to another beat")
                self._lock = None
            else:
                return True
        lock = client.lock(self.app.redbeat_conf.lock_key, timeout=self.lock_timeout, thread_local=False)
        if not lock.acquire(blocking=False):
            return False
        self._lock = lock
        self._asked = float("-inf")
        log.info("in charge of the schedule")
        return True

    def _follow_ledger(self) -> None:
        """Puts the entries right and reminds workers of what waits. Without the ledger the entries stay as they are."""
        try:
            plans = self._ask()
        except DomainError as error:
            log.debug("schedules not read", error=error.detail)
            return
        self._asked = time.monotonic()
        wanted = {plan.task: self._entry_of(plan) for plan in plans if plan.enabled}
        stored = self._load()
        for name, entry in wanted.items():
            if name not in stored or not stored[name].editable_fields_equal(entry):
                entry.save()
        for name in stored.keys() - wanted.keys():
            stored[name].delete()
        self._remind({plan.task for plan in plans if plan.waiting})

    def _remind(self, waiting: set[str]) -> None:
        now = time.monotonic()
        self._reminded = {task: when for task, when in self._reminded.items() if task in waiting}
        for task in sorted(waiting):
            due, wait = self._reminded.get(task, (now, _REMIND_FIRST))
            if now >= due:
                self._reminded[task] = (now + wait, min(2 * wait, _REMIND_LAST))
                self._send(task)

    def _entry_of(self, plan: Plan) -> SlotEntry:
        schedule = Slots(plan.interval, plan.anchor, app=self.app)
        return SlotEntry(
            name=plan.task,
            task=RUN,
            schedule=schedule,
            kwargs={"task": plan.task},
            last_run_at=schedule.now(),
            app=self.app,
        )

    def _load(self) -> dict[str, SlotEntry]:
        client = get_redis(self.app)
        keys = client.zrange(self.app.redbeat_conf.schedule_key, 0, -1)
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, "definition", "meta")
            found = pipe.execute()
        entries = [self._decode(*one) for one in found]
        return {entry.name: entry for entry in entries if entry is not None}

    def _decode(self, definition: str | None, meta: str | None) -> SlotEntry | None:
        if not definition:
            return None
        try:
            fields: Mapping[str, Any] = SlotEntry.decode_definition(definition)
            last = SlotEntry.decode_meta(meta)["last_run_at"] if meta else None
        except (ValueError, KeyError, TypeError):
            # Another version wrote it, or somebody else: the ledger's own takes its place.
            return None
        fields["schedule"].app = self.app
        return SlotEntry(app=self.app, **{**fields, "last_run_at": last or self.app.now()})

    def _send(self, task: str) -> None:
        if get_redis(self.app).llen(redis_keys.CELERY_PREFIX + QUEUE) < _FULL:
            send(self.app, task)
            log.debug("message sent", task=task)


def keep_time(beat: Beat, stopping: threading.Event) -> None:
    """Ticks until `stopping` is set. A Redis that is away is waited for, with one line in the log."""
    away = False
    while not stopping.is_set():
        try:
            wait = beat.tick()
            away = False
        except (redis.exceptions.RedisError, kombu.exceptions.OperationalError, OSError) as error:
            if not away:
                log.warning("the beat waits for Redis", error=type(error).__name__)
            away, wait = True, 0.5
        stopping.wait(wait)
    beat.close()
