"""Reading what processes tell Prometheus (text exposition format)."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from fastcms_common.logs import get_logger

# Seconds that a process has for its answer, and the bytes of it that are read.
_TIMEOUT = 3.0
_MAX_ANSWER = 8 * 1024 * 1024

log = get_logger(__name__)


@dataclass(slots=True)
class Reading:
    """Counts of one process since it was started. `buckets` counts requests by the upper bound of their seconds."""

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    buckets: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Reading:
        return cls(**document)

    def document(self) -> dict[str, Any]:
        return asdict(self)

    def since(self, before: Reading | None) -> Reading:
        """What has been counted since `before`. A count that is lower now began anew: the process was restarted."""
        old = before or Reading()
        if self.requests < old.requests or self.cpu_seconds < old.cpu_seconds:
            old = Reading()
        return Reading(
            requests=self.requests - old.requests,
            client_errors=self.client_errors - old.client_errors,
            server_errors=self.server_errors - old.server_errors,
            cpu_seconds=max(0.0, self.cpu_seconds - old.cpu_seconds),
            memory_bytes=self.memory_bytes,
            buckets={bound: count - old.buckets.get(bound, 0) for bound, count in self.buckets.items()},
        )


def parse(text: str) -> Reading:
    """The reading in an exposition. ValueError where it is none."""
    reading = Reading()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            value = sample.value
            if sample.name == "fastcms_http_requests_total":
                status = sample.labels.get("status", "")
                reading.requests += int(value)
                reading.client_errors += int(value) if status.startswith("4") else 0
                reading.server_errors += int(value) if status.startswith("5") else 0
            elif sample.name == "fastcms_http_request_seconds_bucket":
                bound = sample.labels["le"]
                reading.buckets[bound] = reading.buckets.get(bound, 0) + int(value)
            elif sample.name == "process_cpu_seconds_total":
                reading.cpu_seconds += value
            elif sample.name == "process_resident_memory_bytes":
                reading.memory_bytes += int(value)
    return reading


def parse_targets(text: str) -> dict[str, str]:
    """`name=host:port` pairs, separated by commas. ValueError where one is not."""
    targets: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = pair.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and equals and host and colon and port.isdigit()):
            raise ValueError(f"{pair!r} is not name=host:port")
        targets[name] = address
    return targets


async def scrape(targets: Mapping[str, str]) -> dict[str, dict[str, Reading | None]]:
    """The readings by process name and address; None for one that did not answer.

    A target whose host name has several addresses is a process with as many replicas.
    """
    places = [(name, place) for name, target in targets.items() for place in await _places(target)]
    readings = await asyncio.gather(*(asyncio.to_thread(_read, host, port) for _, (host, port) in places))
    answer: dict[str, dict[str, Reading | None]] = {name: {} for name in targets}
    for (name, (host, port)), reading in zip(places, readings, strict=True):
        answer[name][f"{host}:{port}"] = reading
    return answer


async def _places(target: str) -> Iterable[tuple[str, int]]:
    host, _, port = target.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError:
        return [(host, int(port))]
    return sorted({(str(place[4][0]), int(port)) for place in found})


def _read(host: str, port: int) -> Reading | None:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read(_MAX_ANSWER).decode()
        return parse(text) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        log.debug("no metrics", target=f"{host}:{port}", error=type(error).__name__)
        return None
    finally:
        connection.close()
