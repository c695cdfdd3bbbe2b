"""What happened to each request, told off the hot path: one line in the log, one count in the metrics.

A request leaves a tuple behind; a few times a second all that have gathered become log lines and counts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from fastcms_common.logs import get_logger

_EVERY: Final = 0.25
# Requests that may wait to be logged; past it the oldest are counted and not written, rather than memory eaten.
_CAPACITY: Final = 50_000
# Asked every few seconds by whoever watches over the gateway: counted, not written.
_PROBES: Final = frozenset({"/health", "/health/ready"})

log = get_logger("gateway.access")

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


class AccessLog:
    """Gathers entries; `run` writes them."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._waiting: deque[Entry] = deque(maxlen=_CAPACITY)
        self._quiet = quiet
        self.add = self._waiting.append
        self.open = 0

    async def run(self) -> None:
        """Writes what has gathered until it is cancelled, and the rest then."""
        try:
            while True:
                await asyncio.sleep(_EVERY)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes what has gathered."""
        in_flight.set(self.open)
        waiting = self._waiting
        while waiting:
            entry = waiting.popleft()
            requests_total.labels(entry.method, entry.route, entry.status).inc()
            request_seconds.labels(entry.route).observe(entry.seconds)
            if not self._quiet and entry.route not in _PROBES:
                _write(entry)


def _write(entry: Entry) -> None:
    log.info(
        "request",
        method=entry.method,
        path=entry.path,
        status=entry.status,
        milliseconds=round(entry.seconds * 1000, 1),
        bytes=entry.size,
        request_id=entry.request_id,
        client=entry.client,
        caller=entry.caller_id,
        agent=entry.agent,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at)),
    )
