"""A small supervisor: start processes, start them again when they die, stop them in order, leave nothing behind.

ADR 0007 says why it is our own. Each process leads a process group, so that a Ctrl-C in the terminal reaches the
supervisor alone, and so that what a process has started goes when it goes. Should the supervisor itself be killed,
`lifeline.py` ends the groups; on Linux the kernel ends the processes as well (PR_SET_PDEATHSIG), which holds even when
the lifeline was killed with the supervisor. macOS has no such thing: there the lifeline alone does it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from fastcms_cli.console import Console, LineReader

FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0
STEADY_AFTER = 10.0
"""Seconds of life after which a death counts as the first one again."""

STOP_WITHIN = 10.0
"""Seconds that a process has to drain after SIGTERM before it is killed."""

REFUSED = 2
"""The exit code of a process that will not run with the settings it was given."""

SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. Processes of a lower `stop_rank` are stopped first, those of one rank together.

    `descriptors` are inherited; lines in which `unheard` finds something are not worth anybody's time and not printed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_rank: int = 0
    descriptors: tuple[int, ...] = ()
    unheard: re.Pattern[bytes] | None = None


class Refused(Exception):
    """A process ended with code 2 before the suite was up: starting it again would change nothing."""


class Child:
    """One supervised process, through all its lives."""

    def __init__(self, spec: ProcessSpec, console: Console, lifeline: Lifeline) -> None:
        self.spec = spec
        self.deaths = 0
        self.last_line = b""
        self.popen: subprocess.Popen[bytes] | None = None
        self._console = console
        self._lifeline = lifeline
        self._reader: LineReader | None = None
        self._ended = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self.popen.pid if self.popen and self.popen.returncode is None else None

    def start(self) -> None:
        """Start the process. Raises OSError where there is nothing to run."""
        self._ended.clear()
        self.popen = None
        ours, theirs = os.pipe()
        try:
            self.popen = subprocess.Popen(
                self.spec.command,
                env=self.spec.environment,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                pass_fds=self.spec.descriptors,
                process_group=0,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._lifeline.started(self.popen.pid)
        self._reader = LineReader(ours, self._hear)

    def _hear(self, line: bytes) -> None:
        if self.spec.unheard and self.spec.unheard.search(line):
            return
        self.last_line = line
        self._console.line(self.spec.name, line)

    def reap(self) -> None:
        """Notice the end of the process, if it has ended, and end what it left in its group."""
        if self.popen is None or self._ended.is_set() or self.popen.poll() is None:
            return
        self._signal_group(signal.SIGKILL)
        self._lifeline.ended(self.popen.pid)
        self._ended.set()

    async def keep_running(self, on_start: Callable[[], None], may_refuse: Callable[[], bool]) -> None:
        """Start the process, and start it again whenever it dies, until it is told to stop.

        Raises Refused where it ends with code 2 while `may_refuse()` holds.
        """
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            born = time.monotonic()
            try:
                self.start()
            except OSError as error:
                ending = f"cannot be started ({error.strerror}: {error.filename})"
            else:
                on_start()
                await self._ended.wait()
                await self._hear_out()
                if self._stopping.is_set():
                    return
                ending = f"died ({self._how_it_ended()})"
                if self.popen and self.popen.returncode == REFUSED and may_refuse():
                    raise Refused(f"{self.spec.name} will not start: {self._last_words()}")
            self.deaths += 1
            if time.monotonic() - born >= STEADY_AFTER:
                delay = FIRST_DELAY
            self._console.say(f"{self.spec.name} {ending}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _hear_out(self) -> None:
        """Print what the process said last before saying that it is gone."""
        if self._reader is None:
            return
        try:
            await asyncio.wait_for(self._reader.finished.wait(), 1.0)
        except TimeoutError:
            # Something that left the group on purpose still holds the pipe; its output is no longer ours.
            self._reader.close()

    def _last_words(self) -> str:
        return self.last_line.decode(errors="replace").removeprefix("fastcms: ")

    def _how_it_ended(self) -> str:
        code = self.popen.returncode if self.popen else None
        if code is not None and code < 0:
            return f"killed by {SIGNAL_NAMES.get(-code, f'signal {-code}')}"
        return f"exit code {code}"

    async def stop(self, hurry: asyncio.Event) -> None:
        """SIGTERM, then SIGKILL for the whole group after STOP_WITHIN seconds or as soon as `hurry` is set."""
        self._stopping.set()
        if self.pid is None:
            return
        # To the leader alone: it knows how to drain its own workers, for whom a second signal would mean "at once".
        os.kill(self.pid, signal.SIGTERM)
        ended, hurried = asyncio.ensure_future(self._ended.wait()), asyncio.ensure_future(hurry.wait())
        await asyncio.wait((ended, hurried), timeout=STOP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            if not hurry.is_set():
                self._console.say(f"{self.spec.name} has not stopped within {STOP_WITHIN:g} s and is killed")
            self._signal_group(signal.SIGKILL)
        await ended
        await self._hear_out()

    def _signal_group(self, number: signal.Signals) -> None:
        if self.popen is None:
            return
        try:
            os.killpg(self.popen.pid, number)
        except (ProcessLookupError, PermissionError):
            # Nobody is left; macOS says EPERM where only zombies are.
            return


class Lifeline:
    """The supervisor's end of `lifeline.py`: a pipe that the kernel closes when the supervisor is gone."""

    def __init__(self, held: tuple[int, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("lifeline.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=held,
            process_group=0,
        )
        self.pid = self._process.pid

    def started(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def ended(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            # One write of a few bytes: a pipe takes it whole or not at all, also when we are killed meanwhile.
            os.write(stdin.fileno(), line.encode())
        except BrokenPipeError:
            # Killed from outside. The run goes on; on Linux PR_SET_PDEATHSIG still stands behind it.
            return

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


class Supervisor:
    """Runs a table of processes. Use it in the main thread of a process that has no other children to wait for."""

    def __init__(self, specs: Iterable[ProcessSpec], console: Console, lifeline: Lifeline) -> None:
        self.children = [Child(spec, console, lifeline) for spec in specs]
        self.settled = False
        """Once set, a process that refuses its settings is started again like any other that dies."""
        self._console = console
        self._hurry = asyncio.Event()

    async def run(self, stop: asyncio.Event, on_start: Callable[[], None]) -> None:
        """Keep all processes running until `stop` is set, then stop them in order.

        Raises Refused, after stopping the others, where one of them refuses its settings.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        stopped = asyncio.ensure_future(stop.wait())
        lives = [
            asyncio.ensure_future(child.keep_running(on_start, lambda: not self.settled)) for child in self.children
        ]
        try:
            await asyncio.wait((stopped, *lives), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._stop_all()
            stopped.cancel()
            for life in lives:
                life.cancel()
            outcomes = await asyncio.gather(*lives, return_exceptions=True)
            loop.remove_signal_handler(signal.SIGCHLD)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def hurry(self) -> None:
        """Give no process any more time to drain."""
        self._hurry.set()

    def _reap(self) -> None:
        for child in self.children:
            child.reap()

    async def _stop_all(self) -> None:
        def rank(child: Child) -> int:
            return child.spec.stop_rank

        for _, children in groupby(sorted(self.children, key=rank), key=rank):
            await asyncio.gather(*(child.stop(self._hurry) for child in children))


def dies_with(parent: int) -> Callable[[], None]:
    """For between fork and exec: have the kernel kill this process when the thread that forked it ends (Linux).

    Code between fork and exec must not need a lock that another thread may hold; the only other thread here is the
    console's, and a system call through ctypes needs none of its locks.
    """

    def ask() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
