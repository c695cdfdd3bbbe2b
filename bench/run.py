"""`make bench`: this suite beside two peers, under the same load, in turn. `--help` tells the rest.

Every system runs the whole time and is asked in turn, so that what else the machine does hits all alike. The load comes
from the same cores: figures are for comparing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
# `bench`, and from `tests` what starts the suite.
sys.path.insert(0, str(ROOT))

from bench import report  # noqa: E402
from bench.loads import CONNECTIONS, KINDS, find_wrk, run_load  # noqa: E402
from bench.plot import picture  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.report import Measurement, Measurements  # noqa: E402
from bench.systems.pocketbase import PocketBase  # noqa: E402
from bench.systems.pyfastcms import PyFastCms  # noqa: E402
from bench.systems.suite import FastCms  # noqa: E402
from bench.systems.system import BUILD, System  # noqa: E402

RESULTS = ROOT / "bench" / "RESULTS.md"
PLOT = ROOT / "docs" / "images" / "speed.svg"
SCALES = (1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Plan:
    """How long and how much."""

    seconds: float
    rounds: int
    records: int
    kinds: tuple[str, ...]

    def seconds_of(self, kind: str) -> float:
        """A password takes so long that a short load would see only the beginning."""
        return max(6.0, self.seconds * 2) if kind == "login" else self.seconds

    @property
    def warm_up(self) -> float:
        return min(2.0, self.seconds / 2)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parse(arguments)
    plan = _plan(asked)
    BUILD.mkdir(parents=True, exist_ok=True)
    systems: list[System] = [FastCms(asked.workers)]
    if not (asked.alone or asked.memory):
        systems += [PocketBase(), PyFastCms()]
    # Before anything is started: what else keeps the machine busy.
    busy = os.getloadavg()[0]
    if asked.memory:
        print(_memory(systems, plan))
        return
    wrk = find_wrk()
    measured, idle, by_process = _measure(wrk, systems, plan)
    ratios = report.ratios(measured, FastCms.name, PocketBase.name, plan.records)
    parts = [_heading(plan, busy, asked.workers), _compared(measured, idle, by_process, plan)]
    if ratios:
        parts.insert(1, report.missed(ratios, PocketBase.name))
    if asked.scale:
        parts += [_by_workers(wrk, plan), _by_records(wrk, plan, asked.most)]
    # Written by hand, and measured by `make costs`.
    parts += [
        part for heading in (report.TRIED, report.COSTS) if (part := report.section(RESULTS.read_text(), heading))
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if asked.write:
        RESULTS.write_text(text)
        PLOT.write_text(picture(ratios, PocketBase.name))
        say(f"written to {RESULTS.relative_to(ROOT)} and {PLOT.relative_to(ROOT)}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure this suite beside two peers.")
    parser.add_argument("--quick", action="store_true", help="one short round, in under three minutes; writes nothing")
    parser.add_argument("--scale", action="store_true", help="also 1 and 2 gateway workers, and 1,000 records and more")
    parser.add_argument("--most", type=int, default=SCALES[-1], help="records at most with --scale")
    parser.add_argument("--memory", action="store_true", help="only the memory of this suite's processes; no load")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--workers", type=int, default=2, help="gateway workers")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of request, with commas between")
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--rounds", type=int, help="of all loads")
    asked = parser.parse_args(arguments)
    unknown = set(asked.kinds.split(",")) - KINDS.keys()
    if unknown:
        parser.error(f"unknown kinds: {', '.join(sorted(unknown))}")
    # What is written down is the whole thing, measured as it should be.
    asked.write = not (asked.quick or asked.alone or asked.seconds or asked.rounds) and asked.kinds == ",".join(KINDS)
    return asked


def _plan(asked: argparse.Namespace) -> Plan:
    seconds, rounds = (2.0, 1) if asked.quick else (6.0, 3)
    kinds = tuple(kind for kind in KINDS if kind in asked.kinds.split(","))
    return Plan(asked.seconds or seconds, asked.rounds or rounds, 10_000, kinds)


def _compared(measured: Measurements, idle: dict[str, float], by_process: dict[str, float], plan: Plan) -> str:
    names = list(idle)
    memory = report.table(["MiB, idle with the records", *names], [["", *(f"{idle[name]:,.0f}" for name in names)]])
    tables = [report.rates(measured, names, plan.records), memory, report.memory(by_process)]
    return "\n\n".join([*tables, report.details(measured, names, plan.records)])


def _memory(systems: Sequence[System], plan: Plan) -> str:
    """What the processes take with the records in them and nothing to do."""
    return report.memory(_measure("", systems, replace(plan, kinds=()))[2])


def _measure(
    wrk: str, systems: Sequence[System], plan: Plan
) -> tuple[Measurements, dict[str, float], dict[str, float]]:
    """Starts and fills the systems, asks them in turn, round by round, and stops them.

    Beside the measurements: the idle MiB of each system, and those of each process of one that is several.
    """
    with ExitStack() as stack:
        for system in systems:
            system.install()
        for system in systems:
            stack.callback(system.stop)
            say(f"{system.name}: starting")
            system.start()
        with ThreadPoolExecutor(len(systems)) as pool:
            list(pool.map(lambda system: system.fill(plan.records), systems))
        idle = {system.name: system.memory_mib() for system in systems}
        by_process = {name: mib for system in systems for name, mib in system.memory_parts().items()}
        measured: Measurements = {}
        for number in range(1, plan.rounds + 1):
            for kind in plan.kinds:
                for system in systems:
                    _ask(wrk, system, kind, plan, measured, f"round {number} of {plan.rounds}")
        return measured, idle, by_process


def _ask(wrk: str, system: System, kind: str, plan: Plan, measured: Measurements, where: str) -> None:
    load = system.load(kind)
    if load is None:
        return
    key = (system.name, kind)
    if key not in measured:
        measured[key] = Measurement()
        if kind != "login":
            run_load(wrk, system.url, load, plan.warm_up, BUILD)
        _wait_until_idle(system)
    cpu = system.cpu_seconds()
    outcome = run_load(wrk, system.url, load, plan.seconds_of(kind), BUILD)
    measured[key].add(outcome, system.cpu_seconds() - cpu, system.memory_mib())
    _wait_until_idle(system)
    errors = f", {outcome.errors} errors" if outcome.errors else ""
    say(f"{where}: {kind:18} {system.name:11} {outcome.rate:9,.1f}/s  p99 {outcome.p99:7.1f} ms{errors}")


def _wait_until_idle(system: System) -> None:
    """Lets it finish what the load before it has left behind when it hung up, such as passwords half hashed."""
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        before = system.cpu_seconds()
        time.sleep(0.25)
        if system.cpu_seconds() - before < 0.05:
            return


def _by_workers(wrk: str, plan: Plan) -> str:
    """How more gateway workers change things. More than cores changes nothing for the better."""
    once = replace(plan, rounds=1)
    columns = {workers: _measure(wrk, [FastCms(workers)], once)[0] for workers in (1, 2)}
    name = FastCms.name
    rows = [
        [report.title(kind, plan.records), *(f"{columns[n][name, kind].rate:,.0f}" for n in columns)]
        for kind in plan.kinds
    ]
    return "## Gateway workers\n\n" + report.table(["Requests/s", *(f"{n} workers" for n in columns)], rows)


def _by_records(wrk: str, plan: Plan, most: int) -> str:
    """How the number of records changes the reads."""
    kinds = tuple(kind for kind in ("get", "list", "indexed", "indexed_uncounted", "create") if kind in plan.kinds)
    makers: tuple[Callable[[], System], ...] = (FastCms, PocketBase)
    columns: dict[tuple[str, int], Measurements] = {}
    for count in (scale for scale in SCALES if scale <= most):
        for make in makers:
            system = make()
            columns[system.name, count] = _measure(wrk, [system], Plan(plan.seconds, 1, count, kinds))[0]
    rows = [
        [
            f"{report.title(kind, 0).replace(' of 0', '')}, {name}",
            *(f"{columns[name, n][name, kind].rate:,.0f}" for n in _counts(columns)),
        ]
        for kind in kinds
        for name in (make().name for make in makers)
    ]
    return "## Records\n\n" + report.table(["Requests/s", *(f"{n:,}" for n in _counts(columns))], rows)


def _counts(columns: dict[tuple[str, int], Measurements]) -> list[int]:
    return sorted({count for _, count in columns})


def _heading(plan: Plan, busy: float, workers: int) -> str:
    commit = _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain", "-uno") else "")
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    each = f"{plan.rounds} × {plan.seconds:g} s"
    return f"""# Results

`make bench` at commit {commit}, on {cores} cores and {memory:.0f} GiB; load average before the start {busy:.1f}.

- Load: wrk with {CONNECTIONS} connections on the same cores; {each} of each kind, the systems in turn; medians.
- FastCMS: {workers} gateway workers (`docker-compose.yml` starts two), SQLite, everything else as `make run` has it.
- Peers: PocketBase {PocketBase.version} and pyfastcms {PyFastCms.version} from PyPI, each started as its makers say.
- Everybody is signed in; the collections may be read by anyone. The index is on (category, views), the filter takes a
  tenth of the records. PocketBase has no /auth/me: there it is the user's own record. A dash: there is no such thing.
- CPU is that of all processes of a system, and so is memory. What counts are the ratios: figures differ from machine to
  machine."""


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
