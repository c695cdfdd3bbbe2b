"""Lengths that no request passes by: they are looked at now and then, for Prometheus.

What is measured is in Redis or in a database and not of one process: all replicas of a service tell the same, so take
`max` over them. Where it cannot be looked at a gauge is NaN, rather than what it was.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from prometheus_client import Gauge
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.errors import Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import DOWN

# Seconds between two looks.
EVERY = 15.0

Measure = Callable[[], Awaitable[None]]
"""Looks, and sets its gauges. Raises Unavailable, or what a Redis that is away raises, where it cannot."""

_waiting = Gauge("fastcms_stream_events", "Events that a stream holds: not handled yet.", ["stream"])
_oldest = Gauge("fastcms_stream_oldest_seconds", "Age of the oldest event in a stream; 0 without one.", ["stream"])
_refused = Gauge("fastcms_stream_refused_events", "Events set aside: their consumer cannot take them.", ["stream"])

log = get_logger(__name__)


async def keep_measuring(*measures: Measure) -> NoReturn:
    """Takes the measures every `EVERY` seconds until it is cancelled."""
    while True:
        for measure in measures:
            try:
                await measure()
            except (Unavailable, *DOWN) as error:
                log.warning("not measured", error=type(error).__name__)
        await asyncio.sleep(EVERY * random.uniform(0.9, 1.1))  # noqa: S311 - not for secrets


def set_all(value: float, *gauges: Gauge) -> None:
    """Sets gauges, such as to NaN for "not known"."""
    for gauge in gauges:
        gauge.set(value)


def stream_measure(redis: Redis, stream: str) -> Measure:
    """How far the consumer of a stream is behind, and what it could not take."""
    waiting, oldest, refused = (gauge.labels(stream) for gauge in (_waiting, _oldest, _refused))

    async def measure() -> None:
        set_all(float("nan"), waiting, oldest, refused)
        async with redis.pipeline(transaction=False) as pipe:
            # What has been handled is removed: all that is there waits.
            pipe.xlen(stream)
            pipe.xlen(redis_keys.refused(stream))
            pipe.xrange(stream, count=1)
            length, set_aside, first = await pipe.execute()
        waiting.set(length)
        refused.set(set_aside)
        oldest.set(_age(first))

    return measure


def _age(entries: list[Any]) -> float:
    """Seconds since the first entry was appended: its id begins with Redis's clock in milliseconds."""
    if not entries:
        return 0.0
    return max(0.0, time.time() - int(entries[0][0].partition(b"-")[0]) / 1000)
