"""How long Celery's queue is."""

from __future__ import annotations

from typing import Any

from prometheus_client import Gauge
from redis.asyncio import Redis

from fastcms_common import redis_keys
from fastcms_common.measures import Measure, set_all

_waiting = Gauge("fastcms_queue_messages", "Messages in the queue of jobs that no worker has taken.")
_taken = Gauge("fastcms_queue_taken_messages", "Messages that a worker has taken and not finished.")


def queue_measure(redis: Redis) -> Measure:
    """Counts the messages, as kombu keeps them in Redis."""

    async def measure() -> None:
        set_all(float("nan"), _waiting, _taken)
        async with redis.pipeline(transaction=False) as pipe:
            pipe.llen(redis_keys.CELERY_QUEUE)
            pipe.hlen(redis_keys.CELERY_TAKEN)
            lengths: Any = await pipe.execute()
        _waiting.set(lengths[0])
        _taken.set(lengths[1])

    return measure
