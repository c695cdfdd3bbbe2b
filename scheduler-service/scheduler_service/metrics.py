"""How the suite has been doing, minute by minute.

A point holds what was counted since the one before it, and the counts as they were, for the next. So it can be made
again within its minute, and a process that was restarted or was away costs no more than its own share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from fastcms_common.errors import Stale
from fastcms_common.times import from_text, to_text
from fastcms_common.times import now as wall_clock
from scheduler_service.scraping import Reading, scrape
from scheduler_service.store import LedgerStore

TASK = "collect_metrics"
# More than a chart can show; a week in ten-minute steps fits.
MAX_POINTS = 1500


@dataclass(slots=True)
class ProcessPoint:
    """One kind of process in a span of time."""

    up: int = 0
    memory_bytes: int = 0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class Point:
    """What happened in a span of `seconds` that ended at `time`."""

    time: datetime
    seconds: int = 0
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    buckets: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessPoint] = field(default_factory=dict)

    def add(self, document: Mapping[str, Any]) -> None:
        """Takes in a point of storage, a later one than all before it."""
        self.time = from_text(document["id"])
        self.seconds += document["seconds"]
        for name in ("requests", "client_errors", "server_errors"):
            setattr(self, name, getattr(self, name) + document[name])
        for bound, count in document["buckets"]:
            self.buckets[bound] = self.buckets.get(bound, 0) + count
        for process in document["processes"]:
            kept = self.processes.setdefault(process["name"], ProcessPoint())
            kept.up, kept.memory_bytes = process["up"], process["memory_bytes"]
            kept.cpu_seconds += process["cpu_seconds"]

    def milliseconds(self, share: float) -> float | None:
        """Within how many milliseconds that share of the requests was answered; None where there were none.

        Within a bucket the requests are taken to be spread evenly, as Prometheus' histogram_quantile takes them.
        """
        cumulated = [(0.0, 0), *sorted((float(bound), count) for bound, count in self.buckets.items())]
        rank = share * cumulated[-1][1]
        if rank <= 0:
            return None
        for (low, below), (high, upto) in pairwise(cumulated):
            if upto >= rank:
                if high == float("inf"):
                    return low * 1000
                return (low + (high - low) * (rank - below) / (upto - below)) * 1000
        return None


class Metrics:
    """Collects points and reads them back."""

    def __init__(
        self,
        store: LedgerStore,
        targets: Mapping[str, str],
        days: float,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._store = store
        self._targets = targets
        self._days = days
        self._clock = clock

    async def collect(self, fence: int) -> tuple[int, int]:
        """Makes the point of this minute; how many processes answered, and how many did not.

        Raises Stale (LEASE_LOST) where the job has gone to somebody else.
        """
        task = await self._store.task(TASK)
        if task is None or task.fence != fence:
            raise Stale("Another run of this job has taken over.", reason="LEASE_LOST")
        now = self._clock()
        minute = to_text(now.replace(second=0, microsecond=0))
        before = await self._store.point_before(minute)
        found = await scrape(self._targets)
        await self._store.put_point(self._point(minute, now, found, before))
        await self._store.forget_points_before(to_text(now - timedelta(days=self._days)))
        readings = [reading for replicas in found.values() for reading in replicas.values()]
        up = sum(reading is not None for reading in readings)
        return up, len(readings) - up

    async def points(self, begin: datetime | None, end: datetime | None, step: int) -> list[Point]:
        """The points of a span, each of `step` minutes; of too many the newest."""
        until = end or self._clock()
        since = begin or until - timedelta(hours=1)
        documents = await self._store.points(to_text(since), to_text(until), MAX_POINTS * step)
        width = timedelta(minutes=step)
        points: list[Point] = []
        for document in documents:
            moment = from_text(document["id"])
            start = moment - (moment - since) % width
            if not points or points[-1].time < start:
                points.append(Point(moment))
            points[-1].add(document)
        return points[-MAX_POINTS:]

    @staticmethod
    def _point(
        minute: str, now: datetime, found: Mapping[str, Mapping[str, Reading | None]], before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        old = {place: Reading.of(reading) for place, reading in before["raw"]} if before else {}
        raw = dict(old)
        total = Reading()
        processes = []
        for name, replicas in found.items():
            point = ProcessPoint()
            for place, reading in replicas.items():
                if reading is None:
                    continue
                # The very first point has nothing to be compared with.
                part = reading.since(old.get(place, reading if before is None else None))
                raw[place] = reading
                point.up += 1
                point.memory_bytes += part.memory_bytes
                point.cpu_seconds += part.cpu_seconds
                _add(total, part)
            processes.append({"name": name, "up": point.up, "memory_bytes": point.memory_bytes,
                              "cpu_seconds": round(point.cpu_seconds, 3)})  # fmt: skip
        places = {place for replicas in found.values() for place in replicas}
        return {
            "id": minute,
            "taken": to_text(now),
            "seconds": max(0, round((now - from_text(before["taken"])).total_seconds())) if before else 0,
            "requests": total.requests,
            "client_errors": total.client_errors,
            "server_errors": total.server_errors,
            "buckets": [[bound, count] for bound, count in total.buckets.items()],
            "processes": processes,
            "raw": [[place, reading.document()] for place, reading in raw.items() if place in places],
        }


def _add(total: Reading, part: Reading) -> None:
    total.requests += part.requests
    total.client_errors += part.client_errors
    total.server_errors += part.server_errors
    for bound, count in part.buckets.items():
        total.buckets[bound] = total.buckets.get(bound, 0) + count
