"""What happened to each request, told off the hot path: one line in the log, one count in the metrics.

A request leaves a tuple behind; a few times a second all that have gathered become log lines and counts. The lines are
written here and not by structlog, which takes a hundred microseconds for each: more than the request itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson
from prometheus_client import Counter, Gauge, Histogram

_EVERY: Final = 0.25
# Requests that become lines before others get their turn: about a millisecond's worth.
_AT_ONCE: Final = 200
# Requests that may wait to be logged; past it the oldest are dropped, rather than memory eaten.
_CAPACITY: Final = 50_000
# Asked every few seconds by whoever watches over the gateway: counted, not written.
_PROBES: Final = frozenset({"/health", "/health/ready"})

requests_total = Counter("fastcms_http_requests", "Requests answered.", ["method", "route", "status"])
request_seconds = Histogram(
    "fastcms_http_request_seconds",
    "Seconds from a request's head to the end of its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
in_flight = Gauge("fastcms_http_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")


class Entry(NamedTuple):
    """One request. `route` is the template that matched, `seconds` how long the answer took, `at` Unix time."""

    method: str
    route: str
    path: str
    status: int
    seconds: float
    size: int
    request_id: str
    client: str | None
    caller_id: str | None
    agent: str | None
    at: float


def json_line(entry: Entry) -> bytes:
    """An entry as the other logs of the process are written in JSON."""
    line = {
        "method": entry.method,
        "path": entry.path,
        "status": entry.status,
        "milliseconds": round(entry.seconds * 1000, 1),
        "bytes": entry.size,
        "client": entry.client,
        "caller": entry.caller_id,
        "agent": entry.agent,
        "event": "request",
        "logger": "gateway.access",
        "level": "info",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.at)) + f".{int(entry.at % 1 * 1e6):06d}Z",
        "request_id": entry.request_id,
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def console_line(entry: Entry) -> bytes:
    """An entry for a person. What the client calls itself is left out: it could hold anything."""
    at = time.strftime("%H:%M:%S", time.gmtime(entry.at))
    who = f" caller={entry.caller_id}" if entry.caller_id else ""
    return (
        f"{at} [info     ] {entry.method} {entry.path} {entry.status} {entry.seconds * 1000:.1f}ms"
        f" client={entry.client}{who} request_id={entry.request_id}\n"
    ).encode("ascii", "backslashreplace")


Form = Callable[[Entry], bytes]
Write = Callable[[bytes], object]


def write_to_stderr(lines: bytes) -> None:
    """Where the logs of a process go."""
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()


class AccessLog:
    """Gathers entries; `run` writes them. Without a `form` they are only counted."""

    def __init__(self, form: Form | None, write: Write = write_to_stderr) -> None:
        self._waiting: deque[Entry] = deque(maxlen=_CAPACITY)
        self._form = form
        self._write = write
        self.add = self._waiting.append
        self.open = 0

    async def run(self) -> None:
        """Writes what has gathered until it is cancelled, and the rest then."""
        try:
            while True:
                await asyncio.sleep(_EVERY)
                while lines := self._take():
                    # A reader that has stopped reading stops a thread, and not the requests.
                    await asyncio.to_thread(self._write, lines)
        finally:
            while lines := self._take():
                self._write(lines)

    def _take(self) -> bytes:
        """The lines of the entries that are next; empty where none wait, or all that did are only counted."""
        in_flight.set(self.open)
        lines = b""
        while not lines and self._waiting:
            entries = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            for (method, route, status), count in Tally((one.method, one.route, one.status) for one in entries).items():
                requests_total.labels(method, route, status).inc(count)
            for entry in entries:
                request_seconds.labels(entry.route).observe(entry.seconds)
            if self._form is not None:
                lines = b"".join(self._form(entry) for entry in entries if entry.route not in _PROBES)
        return lines
