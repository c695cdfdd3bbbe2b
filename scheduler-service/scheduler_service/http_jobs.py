"""Doing an HTTP job: one request at a scheduled time, tried again where that may help."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from scheduler_service.executions import JobFailed
from scheduler_service.http_targets import Target, choose, literal_address, parse_url

# Bytes of an answer that are read; what it says is not kept, only how much there was.
MAX_ANSWER = 1024 * 1024
_MAX_REDIRECTS = 5
# Seconds after which httpx gives up by itself; the job's own timeout comes before.
_LONGEST = 300.0
# Seconds before the first, and at most before any further attempt.
_PAUSE_FIRST, _PAUSE_LAST = 1.0, 60.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# RFC 9110, 15.5.9 and RFC 6585, 4: the client may try again.
_TRY_AGAIN = frozenset({408, 425, 429})


class TryAgain(Exception):
    """An attempt failed in a way that may pass."""


@dataclass(frozen=True, slots=True)
class HttpJob:
    """What to request. `timeout` in seconds for each attempt, `retries` after the first."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None
    timeout: float
    retries: int

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> HttpJob:
        return cls(**parameters)


@dataclass(frozen=True, slots=True)
class Marks:
    """What a receiver is told of the run, so that it can do its part of "once": every request carries it."""

    task: str
    run_id: str
    fencing_token: int

    def headers(self, attempt: int) -> dict[str, str]:
        """`attempt` counts the requests of this worker for this run; redirects are part of the request."""
        return {
            # The same for every attempt at this run: a receiver that looks at it does the work once.
            "Idempotency-Key": self.run_id,
            "FastCMS-Task": self.task,
            "FastCMS-Run-Id": self.run_id,
            "FastCMS-Fencing-Token": str(self.fencing_token),
            "FastCMS-Attempt": str(attempt),
        }


class HttpJobs:
    """Sends the requests of jobs. `allowed` are hosts that may have private addresses and may be redirected to."""

    def __init__(self, allowed: frozenset[str], tls: ssl.SSLContext, pause: float = _PAUSE_FIRST) -> None:
        self._allowed = allowed
        self._tls = tls
        self._pause = pause

    async def run(self, job: HttpJob, marks: Marks) -> dict[str, Any]:
        """The status, the bytes and the attempts it took. Raises JobFailed where it did not work out."""
        attempts = 0
        while True:
            attempts += 1
            try:
                async with asyncio.timeout(job.timeout):
                    status, size = await self._attempt(job, marks.headers(attempts))
                return {"status": status, "bytes": size, "attempts": attempts}
            except TimeoutError:
                problem = f"no answer within {job.timeout:g} s"
            except TryAgain as error:
                problem = str(error)
            if attempts > job.retries:
                raise JobFailed(f"{problem} (attempt {attempts} of {job.retries + 1})")
            pause = min(self._pause * 2 ** (attempts - 1), _PAUSE_LAST)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

    async def _attempt(self, job: HttpJob, marks: Mapping[str, str]) -> tuple[int, int]:
        target, headers = _target(job.url), {**job.headers, **marks}
        method, body = job.method, job.body
        for _ in range(_MAX_REDIRECTS + 1):
            status, size, location = await self._send(target, method, headers, body)
            if status not in _REDIRECTS or location is None:
                return self._judge(status, size)
            following = _target(urljoin(f"{target.scheme}://{target.authority}{target.path}", location))
            if following.host not in self._allowed:
                raise JobFailed(f"redirected to {following.host}, which is not an allowed host")
            if (following.scheme, following.authority) != (target.scheme, target.authority):
                # What was meant for one host is not told to another.
                headers = dict(marks)
            if status == 303 or (status in (301, 302) and method == "POST"):
                method, body = "GET", None
            target = following
        raise JobFailed(f"redirected more than {_MAX_REDIRECTS} times")

    @staticmethod
    def _judge(status: int, size: int) -> tuple[int, int]:
        if status >= 500 or status in _TRY_AGAIN:
            raise TryAgain(f"answered {status}")
        if status >= 300:
            raise JobFailed(f"answered {status}")
        return status, size

    async def _send(
        self, target: Target, method: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, int, str | None]:
        address = await self._address(target)
        host = f"[{address}]" if ":" in address else address
        url = httpx.URL(f"{target.scheme}://{host}:{target.port}{target.path}")
        sent = httpx.Headers({"User-Agent": "FastCMS-Scheduler"})
        sent.update(headers)
        sent.update({"Host": target.authority, "Accept-Encoding": "identity"})
        # A client of its own for each request: no cookies, no proxies of the environment, no connection kept that was
        # judged at another time. The certificate has to be that of the name, not of the address.
        try:
            async with (
                httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=_LONGEST) as client,
                client.stream(
                    method,
                    url,
                    headers=sent,
                    content=None if body is None else body.encode(),
                    extensions={"sni_hostname": target.host},
                ) as response,
            ):
                size = 0
                async for chunk in response.aiter_raw():
                    size += len(chunk)
                    if size > MAX_ANSWER:
                        raise JobFailed(f"the answer is larger than {MAX_ANSWER} bytes")
                return response.status_code, size, response.headers.get("location")
        except httpx.HTTPError as error:
            raise TryAgain(f"{type(error).__name__} at {target.authority}") from error

    async def _address(self, target: Target) -> str:
        literal = literal_address(target.host)
        if literal is not None:
            found = [literal]
        else:
            loop = asyncio.get_running_loop()
            try:
                answers = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise TryAgain(f"{target.host} cannot be resolved") from error
            found = [ip_address(answer[4][0]) for answer in answers]
        try:
            return str(choose(target.host, found, self._allowed))
        except ValueError as error:
            raise JobFailed(str(error)) from error


@cache
def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """TLS that believes the public certificate authorities, and those in `ca_file`. Made once: it takes a while."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _target(url: str) -> Target:
    try:
        return parse_url(url)
    except ValueError as error:
        raise JobFailed(f"the URL {error}") from error
