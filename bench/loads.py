"""One load: wrk with a file of requests, and what it says afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 32
SCRIPT = Path(__file__).with_name("load.lua")
MISSING = "wrk is not installed: it is what makes the requests (Debian: apt install wrk; macOS: brew install wrk)"

# What is asked, in the order of the report.
KINDS: Final = {
    "health": "GET /health",
    "me": "GET /auth/me",
    "get": "GET one record",
    "list": "list 30 of {n}, filter and sort, no index",
    "list_uncounted": "the same, without the total",
    "indexed": "list 30 of {n}, filter and sort, indexed",
    "indexed_uncounted": "the same, without the total",
    "create": "create a record",
    "login": "login",
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: str = ""


@dataclass(frozen=True)
class Load:
    """What a system is asked for one kind: the requests, in turn, and the headers of all."""

    requests: list[Request]
    headers: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """Of one load: seconds that it took, requests answered, of them errors (not 2xx, and broken connections),
    milliseconds of the 50th and 99th percentile."""

    seconds: float
    requests: int
    errors: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests a second that were answered well."""
        return max(0, self.requests - self.errors) / self.seconds if self.seconds else 0.0


def find_wrk() -> str:
    """The wrk of the path. Exits with a clear line where there is none."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit(MISSING)
    return found


def run_load(wrk: str, base_url: str, load: Load, seconds: float, folder: Path) -> Outcome:
    """Asks for `seconds`, over CONNECTIONS connections. Raises RuntimeError where wrk fails."""
    file = folder / "requests.tsv"
    file.write_text(as_lines(load.requests))
    headers = [part for name, value in load.headers.items() for part in ("-H", f"{name}: {value}")]
    command = [
        *(wrk, "-t2", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(SCRIPT)),
        *(*headers, base_url, "--", str(file)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return outcome_of(done.stdout)


def as_lines(requests: list[Request]) -> str:
    """One request a line: method, path, body, with tabs between; JSON has no tabs or line ends of its own."""
    for request in requests:
        if any(sign in part for part in (request.path, request.body) for sign in "\t\n"):
            raise ValueError(f"a tab or line end in a request: {request}")
    return "".join(f"{one.method}\t{one.path}\t{one.body}\n" for one in requests)


def outcome_of(output: str) -> Outcome:
    """What the script printed last. Raises ValueError where it printed nothing."""
    lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise ValueError(f"wrk said nothing of the outcome: {output[-500:]}")
    said = json.loads(lines[-1])
    return Outcome(
        seconds=said["microseconds"] / 1e6,
        requests=said["requests"],
        errors=said["status"] + said["connect"] + said["read"] + said["write"] + said["timeout"],
        p50=said["p50"] / 1000,
        p99=said["p99"] / 1000,
    )
