"""Who among the workers is still alive.

A lease is held by renewing it: each renewal moves a counter. A watcher that has seen the counter stand still for the
length of a lease, by its own monotonic clock, knows that the holder is gone (Kubernetes' leader election reasons the
same way). No two clocks are ever compared, so stepping one of them neither ends a lease nor prolongs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from scheduler_service.models import Task

Mark = tuple[str, int, int]


class LeaseWatch:
    """Remembers for each task since when its lease has not moved."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[Mark, float]] = {}

    def is_lost(self, task: Task) -> bool:
        """Whether the run of `task` has a worker that has not been heard of for the length of a lease."""
        active = task.active
        if active is None or not active.claimed:
            self._seen.pop(task.id, None)
            return False
        mark = (active.id, task.fence, active.beats)
        now = self._clock()
        seen = self._seen.get(task.id)
        if seen is None or seen[0] != mark:
            self._seen[task.id] = (mark, now)
            return False
        return now - seen[1] >= self._lease_seconds

    def look(self, tasks: Iterable[Task]) -> None:
        """Takes note of all tasks, and forgets those that are no more."""
        names = set()
        for task in tasks:
            names.add(task.id)
            self.is_lost(task)
        for gone in self._seen.keys() - names:
            del self._seen[gone]
