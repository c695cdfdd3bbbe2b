"""One line for each request."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from gateway.access_log import AccessLog, Entry, console_line, json_line


def entry(**facts: Any) -> Entry:
    plain = {
        "method": "GET",
        "route": "/things/{id}",
        "path": "/things/1",
        "status": 200,
        "seconds": 0.0123,
        "size": 5,
        "request_id": "r1",
        "client": "192.0.2.1",
        "caller_id": "u1",
        "agent": 'cu"rl\x1b[31m',
        "at": 1_800_000_000.25,
    }
    return Entry(**(plain | facts))


def test_a_line_says_what_was_asked_and_what_became_of_it():
    assert orjson.loads(json_line(entry())) == {
        "method": "GET",
        "path": "/things/1",
        "status": 200,
        "milliseconds": 12.3,
        "bytes": 5,
        "client": "192.0.2.1",
        "caller": "u1",
        "agent": 'cu"rl\x1b[31m',
        "event": "request",
        "logger": "gateway.access",
        "level": "info",
        "timestamp": "2027-01-15T08:00:00.250000Z",
        "request_id": "r1",
    }


def test_a_line_for_people_holds_nothing_that_a_terminal_obeys():
    line = console_line(entry(path="/thi\u00e4ngs"))
    assert line == b"08:00:00 [info     ] GET /thi\\xe4ngs 200 12.3ms client=192.0.2.1 caller=u1 request_id=r1\n"


async def test_all_are_counted_and_written_and_probes_only_counted():
    written: list[bytes] = []
    log = AccessLog(json_line, written.append)
    before = REGISTRY.get_sample_value("fastcms_http_request_seconds_count", {"route": "/health"}) or 0
    for number in range(1000):
        log.add(entry(path=f"/things/{number}"))
        log.add(entry(route="/health"))
    running = asyncio.create_task(log.run())
    async with asyncio.timeout(10):
        while len(b"".join(written).splitlines()) < 1000:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [orjson.loads(line)["path"] for line in b"".join(written).splitlines()] == [
        f"/things/{n}" for n in range(1000)
    ]
    assert REGISTRY.get_sample_value("fastcms_http_request_seconds_count", {"route": "/health"}) == before + 1000


async def test_what_has_gathered_is_written_at_the_end():
    written: list[bytes] = []
    log = AccessLog(json_line, written.append)
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    log.add(entry())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(written) == 1


async def test_a_reader_that_does_not_read_stops_no_request():
    stuck = threading.Event()
    log = AccessLog(json_line, lambda lines: stuck.wait(20))
    log.add(entry())
    running = asyncio.create_task(log.run())
    async with asyncio.timeout(10):
        while log._waiting:
            await asyncio.sleep(0.01)
    # The loop goes on: this very line runs while the writer waits.
    stuck.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_without_a_form_nothing_is_written():
    written: list[bytes] = []
    log = AccessLog(None, written.append)
    log.add(entry())
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert written == []
