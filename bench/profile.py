"""`make profile`: where the time of one kind of request goes, process by process. `--help` tells the rest.

py-spy looks at each process a few hundred times a second while wrk asks; it stops nothing and changes nothing, so the
shares are those of real use. The stacks stay in .build/bench/profile, for any flame graph viewer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# `bench`, and from `tests` what starts the suite.
sys.path.insert(0, str(ROOT))

from bench.loads import KINDS, find_wrk, run_load  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.report import table  # noqa: E402
from bench.systems.suite import FastCms  # noqa: E402
from bench.systems.system import BUILD  # noqa: E402

FOLDER = BUILD / "profile"
# Looks a second.
RATE = 250
PROCESSES = ("gateway", "auth-service", "collections-service", "admin-service")
# A process that did less than this share of the looks has nothing to tell.
_LEAST = 0.02

# A frame's file is enough to say what it works on; the first that fits, from the innermost frame outwards.
AREAS: Mapping[str, str] = {
    "fastcms_common/multiplex/": "multiplexed channel",
    "fastcms_common/storage/": "storage",
    "fastcms_common/serving": "around each rpc",
    "fastcms_common/": "common",
    "gateway/": "gateway",
    "_service/": "the service's rules",
    "grpc/": "grpc.aio",
    "uvicorn/": "uvicorn, HTTP",
    "redis/": "redis client",
    "prometheus_client/": "metrics",
    "structlog/": "logs",
    "argon2/": "argon2",
    "apsw": "storage",
}
# What only holds a loop up is not what is worked on.
_HOLDERS = frozenset({"run", "serve", "main", "application", "<module>"})
OTHER = "event loop and the rest"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench/profile.py", description="Where the time of a request goes.")
    parser.add_argument("--kind", choices=tuple(KINDS), default="get", help="what is asked")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--records", type=int, default=10_000)
    asked = parser.parse_args(arguments)
    wrk = find_wrk()
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Of several gateway workers only the parent could be looked at.
    suite = FastCms(workers=1)
    suite.install()
    try:
        suite.start()
        suite.fill(asked.records)
        _profile(wrk, suite, asked.kind, asked.seconds)
    finally:
        suite.stop()


def _profile(wrk: str, suite: FastCms, kind: str, seconds: float) -> None:
    load = suite.load(kind)
    assert load is not None
    run_load(wrk, suite.url, load, 2, BUILD)
    say(f"{kind}: {seconds:g} s under py-spy")
    watching = {name: _watch(name, pid, seconds) for name, pid in suite.pids(PROCESSES).items()}
    outcome = run_load(wrk, suite.url, load, seconds + 1, BUILD)
    print(f"# {KINDS[kind].format(n='the records')}: {outcome.rate:,.0f} requests/s while watched\n")
    for name, process in watching.items():
        _, complaint = process.communicate(timeout=60)
        if process.returncode != 0:
            raise SystemExit(f"py-spy cannot look at {name}: {complaint.strip()[-300:]} (it may have to run as root)")
        _tell(name, stacks_of(_file(name).read_text()), RATE * seconds)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.stacks"


def _watch(name: str, pid: int, seconds: float) -> subprocess.Popen[str]:
    program = Path(sys.executable).with_name("py-spy")
    options = [
        "--rate",
        str(RATE),
        "--duration",
        str(round(seconds)),
        "--format",
        "raw",
        "--full-filenames",
        "--nonblocking",
    ]
    command = [str(program), "record", "--pid", str(pid), *options, "--output", str(_file(name))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stacks_of(raw: str) -> Counter[tuple[str, ...]]:
    """Looks by stack, outermost frame first, from py-spy's raw format: frames with `;` between, a space, the looks."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in raw.splitlines():
        stack, _, looks = line.rpartition(" ")
        if stack:
            stacks[tuple(stack.split(";"))] += int(looks)
    return stacks


def area_of(stack: Sequence[str]) -> str:
    """What a stack works on."""
    for frame in reversed(stack):
        if frame.partition(" ")[0].rpartition(".")[2] in _HOLDERS:
            continue
        for part, area in AREAS.items():
            if part in frame:
                return area
    return OTHER


def _tell(name: str, stacks: Counter[tuple[str, ...]], looks: float) -> None:
    busy = sum(stacks.values())
    if busy < looks * _LEAST:
        print(f"## {name}: idle\n")
        return
    areas: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        areas[area_of(stack)] += count
        functions[_short(stack[-1])] += count
    print(f"## {name}: busy {busy / looks:.0%} of the time\n")
    print(table(["Area", "Share"], [(area, f"{count / busy:.1%}") for area, count in areas.most_common()]) + "\n")
    print(
        table(["Function", "Share"], [(one, f"{count / busy:.1%}") for one, count in functions.most_common(12)]) + "\n"
    )


def _short(frame: str) -> str:
    """`function (package/file.py:12)` instead of the whole path."""
    function, _, place = frame.partition(" (")
    return f"{function} ({'/'.join(place.rstrip(')').split('/')[-2:])})" if place else frame


if __name__ == "__main__":
    main()
