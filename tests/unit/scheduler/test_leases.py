"""Who is taken for dead, and when."""

from __future__ import annotations

from dataclasses import replace

from scheduler_service.leases import LeaseWatch
from scheduler_service.models import ActiveRun, Task

RUN = ActiveRun("r1", "manual", "2026-03-02T10:00:00.000000Z", due="r1", claimed=True)
TASK = Task("t", "system", "1h", "2026-03-02T10:00:00.000000Z", fence=3, active=RUN)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def watch() -> tuple[LeaseWatch, Clock]:
    clock = Clock()
    return LeaseWatch(30, clock), clock


def test_a_lease_that_stands_still_for_its_length_is_lost():
    leases, clock = watch()
    assert not leases.is_lost(TASK)
    clock.now += 29.9
    assert not leases.is_lost(TASK)
    clock.now += 0.1
    assert leases.is_lost(TASK)


def test_a_renewal_begins_the_wait_anew():
    leases, clock = watch()
    leases.look([TASK])
    clock.now += 29
    renewed = replace(TASK, active=replace(RUN, beats=1))
    assert not leases.is_lost(renewed)
    clock.now += 29
    assert not leases.is_lost(renewed)


def test_a_new_claim_of_the_same_run_has_its_own_time():
    leases, clock = watch()
    leases.look([TASK])
    clock.now += 31
    assert not leases.is_lost(replace(TASK, fence=4))


def test_a_watcher_that_has_just_come_believes_in_life():
    leases, clock = watch()
    clock.now += 1000
    assert not leases.is_lost(TASK)


def test_a_run_that_waits_for_a_worker_has_no_lease_to_lose():
    leases, clock = watch()
    waiting = replace(TASK, active=replace(RUN, claimed=False))
    leases.look([waiting])
    clock.now += 1000
    assert not leases.is_lost(waiting)


def test_tasks_that_are_gone_are_forgotten():
    leases, clock = watch()
    leases.look([TASK])
    leases.look([])
    clock.now += 1000
    assert not leases.is_lost(TASK)
