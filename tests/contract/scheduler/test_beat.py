"""The beat on a real Redis, tick by tick."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis

from fastcms_common.errors import Unavailable
from scheduler_service.beat import Beat, Plan, keep_time
from scheduler_service.celery_app import make_app
from tests.suite import wait_until

ANCHOR = datetime(2026, 3, 2, 12, 0, 7, tzinfo=UTC)


class Ledger:
    """What the beat is told."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = list(plans)
        self.away = False

    def __call__(self) -> list[Plan]:
        if self.away:
            raise Unavailable("The ledger is away.")
        return self.plans


def plan(task: str, interval: str = "366d", *, enabled: bool = True, waiting: bool = False) -> Plan:
    return Plan(task, interval, None, enabled, waiting)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def beat(url: str, ledger: Ledger, lock_seconds: float = 5.0) -> Beat:
    # It looks at the ledger in every tick.
    return Beat(make_app(url), ledger, 0.0, lock_seconds)


def entries(redis: Redis) -> set[str]:
    return {str(key).removeprefix("redbeat:") for key in redis.zrange("redbeat::schedule", 0, -1)}


def test_entries_follow_the_ledger(redis: Redis, redis_url: str):
    ledger = Ledger(plan("a"), plan("b"), plan("off", enabled=False))
    subject = beat(redis_url, ledger)
    subject.tick()
    assert entries(redis) == {"a", "b"}
    ledger.plans = [plan("b", "24h"), Plan("c", "60s", ANCHOR, enabled=True, waiting=False)]
    subject.tick()
    assert entries(redis) == {"b", "c"}
    assert '"interval": "24h"' in str(redis.hget("redbeat:b", "definition"))
    subject.close()


def test_without_the_ledger_the_entries_stay(redis: Redis, redis_url: str):
    ledger = Ledger(plan("a"))
    subject = beat(redis_url, ledger)
    subject.tick()
    ledger.away = True
    subject.tick()
    assert entries(redis) == {"a"}
    subject.close()


def test_what_cannot_be_read_is_replaced(redis: Redis, redis_url: str):
    redis.zadd("redbeat::schedule", {"redbeat:a": 1, "redbeat:gone": 1})
    redis.hset("redbeat:a", "definition", '{"name": "a", "schedule": {"__type__": "interval", "every": 5}}')
    subject = beat(redis_url, Ledger(plan("a")))
    subject.tick()
    assert '"interval": "366d"' in str(redis.hget("redbeat:a", "definition"))
    subject.close()


def test_one_is_in_charge_and_the_other_takes_over_when_it_goes(redis: Redis, redis_url: str):
    first, second = beat(redis_url, Ledger(plan("a"))), beat(redis_url, Ledger(plan("b")))
    first.tick()
    second.tick()
    assert entries(redis) == {"a"}
    first.close()
    second.tick()
    assert entries(redis) == {"b"}
    second.close()
    assert not redis.exists("redbeat::lock")


def test_one_that_lost_its_lock_stands_by(redis: Redis, redis_url: str):
    first, second = beat(redis_url, Ledger(plan("a"))), beat(redis_url, Ledger(plan("b")))
    first.tick()
    redis.delete("redbeat::lock")
    second.tick()
    first.tick()
    assert entries(redis) == {"b"}
    second.close()
    first.close()


def test_a_task_that_waits_gets_a_message_and_not_one_with_every_tick(redis: Redis, redis_url: str):
    subject = beat(redis_url, Ledger(plan("a", waiting=True)))
    for _ in range(5):
        subject.tick()
    assert redis.llen("celery:runs") == 1
    subject.close()


def test_a_queue_that_nobody_reads_does_not_grow_for_ever(redis: Redis, redis_url: str):
    redis.rpush("celery:runs", *["x"] * 200)
    subject = beat(redis_url, Ledger(plan("a", waiting=True)))
    subject.tick()
    assert redis.llen("celery:runs") == 200
    subject.close()


class Counted(Beat):
    """A beat that counts its ticks."""

    ticks = 0

    def tick(self, **options: object) -> float:
        self.ticks += 1
        return super().tick(**options)


def test_the_loop_outlives_a_redis_that_is_not_there_and_ends_when_told():
    subject = Counted(make_app("redis://127.0.0.1:1/0"), Ledger(), 0.1, 5.0)
    stopping = threading.Event()
    thread = threading.Thread(target=keep_time, args=(subject, stopping))
    thread.start()
    wait_until(lambda: subject.ticks >= 2, "it has tried again")
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()
