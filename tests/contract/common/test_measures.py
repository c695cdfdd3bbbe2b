"""Lengths of streams, as Prometheus is told of them."""

from __future__ import annotations

import asyncio
import math

from prometheus_client import REGISTRY

from fastcms_common import measures, redis_keys
from fastcms_common.cancelling import end
from fastcms_common.events import EventStream
from fastcms_common.measures import keep_measuring, stream_measure
from fastcms_common.redis_connection import connect

NAME = "events:measured"


def told(metric: str) -> float | None:
    return REGISTRY.get_sample_value(f"fastcms_stream_{metric}", {"stream": NAME})


async def test_a_stream_tells_how_many_events_wait_and_for_how_long(redis_url):
    redis = connect(redis_url)
    measure = stream_measure(redis, NAME)
    await measure()
    assert (told("events"), told("oldest_seconds"), told("refused_events")) == (0, 0, 0)
    # An id begins with milliseconds: this event is of the seventies.
    await redis.xadd(NAME, {"a": "b"}, id="1000-0")
    await EventStream(redis, NAME).publish({"a": "b"})
    await redis.xadd(redis_keys.refused(NAME), {"a": "b"})
    await measure()
    assert (told("events"), told("refused_events")) == (2, 1)
    assert (told("oldest_seconds") or 0) > 365 * 86400
    await redis.aclose()


async def test_what_cannot_be_looked_at_is_not_what_it_was(redis_url, monkeypatch):
    monkeypatch.setattr(measures, "EVERY", 0.01)
    redis = connect(redis_url)
    await stream_measure(redis, NAME)()
    assert told("events") == 0
    away = connect("redis://127.0.0.1:1/0")
    task = asyncio.create_task(keep_measuring(stream_measure(away, NAME)))
    async with asyncio.timeout(10):
        while not math.isnan(told("events") or 0):
            await asyncio.sleep(0.01)
    assert not task.done()
    await end([task])
    await redis.aclose()
    await away.aclose()
