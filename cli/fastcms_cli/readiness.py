"""Is the suite up? What the gateway says under `/health/ready`, and what that means for a person."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

PROBE_TIMEOUT = 2.0
PROBE_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 0 where nobody answered in time."""

    status: int
    body: bytes = b""

    @property
    def ready(self) -> bool:
        return self.status == HTTPStatus.OK

    def missing(self) -> str:
        """What is not ready, as far as the answer tells."""
        if self.status == 0:
            return "the gateway does not answer"
        try:
            names = sorted(_not_ready(json.loads(self.body)))
        except ValueError:
            names = []
        return f"not ready: {', '.join(names)}" if names else f"/health/ready answers {self.status}"


def _not_ready(body: Any) -> set[str]:
    """The names of the `dependencies` (each a name, a status, an error) whose status is another than `ok`."""
    dependencies = body.get("dependencies") if isinstance(body, dict) else None
    return {each["name"] for each in dependencies or () if each["status"] != "ok"}


async def get(url: str) -> Answer:
    """One GET, given up after PROBE_TIMEOUT seconds; never through a proxy, for the suite is on this machine."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
                return _parse(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return Answer(0)


def _parse(answer: bytes) -> Answer:
    """HTTP/1.0 has no chunks and ends with the connection: a status line, headers, an empty line, the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    return Answer(int(words[1]), body) if len(words) > 1 and words[1].isdigit() else Answer(0)


async def ready(base_url: str) -> Answer:
    """Probe until the answer is 200. Cancel it, or bound it, to stop asking."""
    while True:
        answer = await get(f"{base_url}/health/ready")
        if answer.ready:
            return answer
        await asyncio.sleep(PROBE_EVERY)
