"""What was measured, as tables: on the terminal and in RESULTS.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.loads import KINDS, Outcome

NOTHING = "–"
# The sections of RESULTS.md that `make bench` leaves alone: one is written by hand, one by `make costs`.
TRIED = "## What was tried"
COSTS = "## Costs by the number of records"


@dataclass
class Measurement:
    """All rounds of one kind of request on one system."""

    outcomes: list[Outcome] = field(default_factory=list)
    cpu_seconds: float = 0.0
    memory_mib: float = 0.0

    def add(self, outcome: Outcome, cpu_seconds: float, memory_mib: float) -> None:
        self.outcomes.append(outcome)
        self.cpu_seconds += cpu_seconds
        self.memory_mib = max(self.memory_mib, memory_mib)

    @property
    def rate(self) -> float:
        """Requests a second; the median of the rounds, as of p50 and p99 (milliseconds) below."""
        return median(outcome.rate for outcome in self.outcomes)

    @property
    def p50(self) -> float:
        return median(outcome.p50 for outcome in self.outcomes)

    @property
    def p99(self) -> float:
        return median(outcome.p99 for outcome in self.outcomes)

    @property
    def errors(self) -> int:
        return sum(outcome.errors for outcome in self.outcomes)

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds of all its processes for a thousand requests."""
        requests = sum(outcome.requests for outcome in self.outcomes)
        return self.cpu_seconds * 1000 / requests if requests else 0.0


Measurements = dict[tuple[str, str], Measurement]
"""By system and kind of request. Where a system has no such request there is none."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned, so that it reads as well on a terminal. Numbers go to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(lines[0]), line(rule), *map(line, lines[1:])])


def rates(measured: Measurements, systems: Sequence[str], count: int) -> str:
    """Requests a second, and how many times those of each peer the first system's are."""
    first, *peers = systems
    head = ["Requests/s", *systems, *(f"to {peer}" for peer in peers)]
    rows = []
    for kind in _kinds(measured):
        own = measured.get((first, kind))
        found = [measured.get((system, kind)) for system in systems]
        ratios = [_ratio(own, measured.get((peer, kind))) for peer in peers]
        rows.append([title(kind, count), *(_number(one.rate) if one else NOTHING for one in found), *ratios])
    return table(head, rows)


def ratios(measured: Measurements, system: str, peer: str, count: int) -> list[tuple[str, float]]:
    """How many times the peer's rate the system's is, for each kind that both have."""
    both = ((kind, measured.get((system, kind)), measured.get((peer, kind))) for kind in _kinds(measured))
    return [(title(kind, count), own.rate / other.rate) for kind, own, other in both if own and other and other.rate]


def missed(found: Sequence[tuple[str, float]], peer: str) -> str:
    """Which requests are behind the peer, and by how much."""
    behind = ", ".join(f"{name} ({ratio:.2f})" for name, ratio in found if ratio < 1)
    return f"Behind {peer} in this run: {behind}." if behind else f"Ahead of {peer} on every row of this run."


def details(measured: Measurements, systems: Sequence[str], count: int) -> str:
    """Latency, errors, CPU and memory of each system for each kind."""
    head = ["Request", "System", "p50 ms", "p99 ms", "Errors", "CPU s/1000", "MiB"]
    rows = []
    for kind in _kinds(measured):
        for system in systems:
            one = measured.get((system, kind))
            if one is not None:
                numbers = [f"{one.p50:.1f}", f"{one.p99:.1f}", f"{one.errors:,}", f"{one.cpu_per_thousand:.3f}"]
                rows.append([title(kind, count), system, *numbers, f"{one.memory_mib:,.0f}"])
    return table(head, rows)


def memory(by_process: Mapping[str, float]) -> str:
    """What each process of the suite takes."""
    rows = [[name, f"{mib:,.0f}"] for name, mib in by_process.items()]
    return table(["Process, idle with the records", "MiB"], rows)


def _kinds(measured: Measurements) -> list[str]:
    return [kind for kind in KINDS if any(one == kind for _, one in measured)]


def title(kind: str, count: int) -> str:
    """What a kind of request is called where there are `count` records."""
    return KINDS[kind].format(n=f"{count:,}")


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _ratio(own: Measurement | None, peer: Measurement | None) -> str:
    if own is None or peer is None or not peer.rate:
        return NOTHING
    return f"{own.rate / peer.rate:.2f}"


def section(results: str, heading: str) -> str:
    """One section of RESULTS.md; empty where there is none."""
    found = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", results, flags=re.DOTALL | re.MULTILINE)
    return found[0].rstrip() if found else ""
