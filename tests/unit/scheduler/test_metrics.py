"""What is made of the counts of processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from fastcms_common.errors import Stale
from fastcms_common.times import from_text
from scheduler_service.metrics import TASK, Metrics, Point
from scheduler_service.models import Task
from scheduler_service.scraping import Reading, parse, parse_targets
from tests.unit.scheduler.ledger import Setting, ledger_setting

EXPOSITION = """
# TYPE fastcms_http_requests_total counter
fastcms_http_requests_total{method="GET",route="/a",status="200"} 5.0
fastcms_http_requests_total{method="GET",route="/a",status="404"} 2.0
fastcms_http_requests_total{method="GET",route="/b",status="503"} 1.0
# TYPE fastcms_http_request_seconds histogram
fastcms_http_request_seconds_bucket{le="0.1",route="/a"} 4.0
fastcms_http_request_seconds_bucket{le="0.1",route="/b"} 3.0
fastcms_http_request_seconds_bucket{le="+Inf",route="/b"} 1.0
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1000.0
# TYPE something_else gauge
something_else 7.0
"""


class Gateway:
    """A process that tells of its requests."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("fastcms_http_requests", "x", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram("fastcms_http_request_seconds", "x", ["route"], buckets=(0.1, 1), registry=registry)
        self.start()

    def start(self, port: int = 0) -> None:
        self._server, self._thread = start_http_server(port, "127.0.0.1", self._registry)
        self.port = self._server.server_port
        self.target = f"127.0.0.1:{self.port}"

    def answer(self, status: int = 200, count: int = 1, seconds: float = 0.05) -> None:
        self.requests.labels("GET", "/", str(status)).inc(count)
        for _ in range(count):
            self.seconds.labels("/").observe(seconds)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def gateway() -> Iterator[Gateway]:
    running = Gateway()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Setting]:
    async with ledger_setting(tmp_path) as setting:
        await setting.store.add_task(Task(TASK, "system", "1m", "2026-03-02T12:00:00.000000Z", fence=1))
        yield setting


def metrics(at: Setting, **targets: str) -> Metrics:
    return Metrics(at.store, targets, days=1, clock=lambda: at.now)


def test_the_counts_are_found_among_everything_else():
    assert parse(EXPOSITION) == Reading(8, 2, 1, 1.5, 1000, {"0.1": 7, "+Inf": 1})


def test_a_process_that_was_restarted_counts_from_nothing():
    before, after = Reading(requests=10, cpu_seconds=5.0), Reading(requests=3, cpu_seconds=0.5)
    assert after.since(before).requests == 3
    assert Reading(requests=12, cpu_seconds=6.0).since(before).requests == 2


def test_percentiles_lie_where_the_histogram_says():
    point = Point(from_text("2026-03-02T12:00:00Z"), buckets={"0.1": 50, "0.2": 100, "+Inf": 100})
    assert point.milliseconds(0.5) == pytest.approx(100)
    assert point.milliseconds(0.75) == pytest.approx(150)
    assert point.milliseconds(0.99) == pytest.approx(198)
    assert Point(point.time, buckets={"0.1": 0, "+Inf": 0}).milliseconds(0.5) is None
    assert Point(point.time, buckets={"0.1": 0, "+Inf": 4}).milliseconds(0.5) == pytest.approx(100)


def test_targets_are_names_with_addresses():
    assert parse_targets("gateway=127.0.0.1:1, auth-service=[::1]:2,") == {
        "gateway": "127.0.0.1:1", "auth-service": "[::1]:2"
    }  # fmt: skip
    for bad in ("gateway", "=a:1", "gateway=a", "gateway=a:x"):
        with pytest.raises(ValueError, match="name=host:port"):
            parse_targets(bad)


async def test_a_point_holds_what_was_counted_since_the_last(at: Setting):
    with gateway() as process:
        process.answer(200, 100)
        subject = metrics(at, gateway=process.target, gone="127.0.0.1:9")
        assert await subject.collect(1) == (1, 1)
        at.wait(60)
        process.answer(200, 5)
        process.answer(404, 2)
        process.answer(500, 1, seconds=0.5)
        await subject.collect(1)
        first, second = await subject.points(None, None, 1)
        assert (first.requests, first.seconds) == (0, 0)
        assert (second.requests, second.client_errors, second.server_errors, second.seconds) == (8, 2, 1, 60)
        assert second.buckets == {"0.1": 7, "1.0": 8, "+Inf": 8}
        assert second.processes["gateway"].up == 1
        assert second.processes["gone"].up == 0


async def test_collecting_twice_in_a_minute_counts_once(at: Setting):
    with gateway() as process:
        subject = metrics(at, gateway=process.target)
        await subject.collect(1)
        at.wait(60)
        process.answer(200, 3)
        await subject.collect(1)
        at.wait(20)
        process.answer(200, 1)
        await subject.collect(1)
        assert [point.requests for point in await subject.points(None, None, 1)] == [0, 4]


async def test_what_a_process_counted_while_it_could_not_be_asked_is_in_the_next_point(at: Setting):
    with gateway() as process:
        subject = metrics(at, gateway=process.target)
        await subject.collect(1)
        at.wait(60)
        process.stop()
        process.answer(200, 3)
        assert await subject.collect(1) == (0, 1)
        at.wait(60)
        process.start(process.port)
        await subject.collect(1)
        assert [point.requests for point in await subject.points(None, None, 1)] == [0, 0, 3]


async def test_points_are_added_up_in_steps(at: Setting):
    with gateway() as process:
        subject = metrics(at, gateway=process.target)
        for _ in range(10):
            await subject.collect(1)
            at.wait(60)
            process.answer()
        begin = from_text("2026-03-02T12:00:00Z")
        steps = await subject.points(begin, begin + timedelta(minutes=9), 5)
        assert [point.requests for point in steps] == [4, 5]
        assert [point.seconds for point in steps] == [240, 300]


async def test_old_points_are_forgotten(at: Setting):
    subject = metrics(at)
    await subject.collect(1)
    at.wait(86400 + 60)
    await subject.collect(1)
    assert len(await subject.points(from_text("2026-03-01T00:00:00Z"), None, 1)) == 1


async def test_a_job_that_lost_its_lease_collects_nothing(at: Setting):
    with pytest.raises(Stale):
        await metrics(at).collect(2)
    assert await metrics(at).points(None, None, 1) == []
