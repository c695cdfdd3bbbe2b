"""The supervisor with real processes of a line each."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from fastcms_cli import processes
from fastcms_cli.console import Console
from fastcms_cli.processes import Lifeline, ProcessSpec, Refused, Supervisor

WAITS = "import signal; signal.pause()"


def python(name: str, code: str, **more: object) -> ProcessSpec:
    environment = {"PYTHONUNBUFFERED": "1"}
    return ProcessSpec(name, (sys.executable, "-S", "-c", code), environment, **more)  # type: ignore[arg-type]


class Running:
    """A supervisor at work; `log` is what it has printed."""

    def __init__(self, supervisor: Supervisor, stop: asyncio.Event, log_file: Path) -> None:
        self.supervisor = supervisor
        self.stop = stop
        self._log_file = log_file

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    def pid(self, name: str) -> int | None:
        return next(child.pid for child in self.supervisor.children if child.spec.name == name)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)
        assert condition(), what


@pytest.fixture
def supervise(tmp_path: Path) -> Callable[..., object]:
    @asynccontextmanager
    async def running(*specs: ProcessSpec) -> AsyncIterator[Running]:
        log_file = tmp_path / "log"
        with log_file.open("wb") as file:
            console = Console(descriptor=file.fileno())
            lifeline = Lifeline()
            supervisor = Supervisor(specs, console, lifeline)
            stop = asyncio.Event()
            run = asyncio.ensure_future(supervisor.run(stop, on_start=lambda: None))
            try:
                yield Running(supervisor, stop, log_file)
            finally:
                stop.set()
                await asyncio.wait((run,))
                lifeline.close()
                console.close()
            run.result()

    return running


async def test_a_process_that_dies_is_started_again_and_the_log_says_how_it_ended(supervise) -> None:
    async with supervise(python("brief", "print('hello'); raise SystemExit(3)")) as running:
        await running.until(lambda: running.log.count("hello") >= 2, "it was started twice")
        assert "brief died (exit code 3); starting it again in 0.2 s" in running.log


async def test_the_delay_doubles_up_to_its_limit(supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(processes, "LONGEST_DELAY", 0.04)
    async with supervise(python("brief", "")) as running:
        await running.until(lambda: running.log.count("in 0.04 s") >= 2, "the limit was reached")
        delays = [line.rsplit("in ", 1)[1] for line in running.log.splitlines() if "starting it again" in line]
        assert delays[:4] == ["0.01 s", "0.02 s", "0.04 s", "0.04 s"]


async def test_a_steady_life_makes_the_next_delay_short_again(supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STEADY_AFTER", 0.0)
    async with supervise(python("brief", "")) as running:
        await running.until(lambda: running.log.count("starting it again") >= 3, "it died three times")
        assert running.log.count("again in 0.2 s") == running.log.count("starting it again")


async def test_a_command_that_does_not_exist_is_said_and_tried_again(supervise) -> None:
    async with supervise(ProcessSpec("ghost", ("/nowhere/at/all",))) as running:
        await running.until(lambda: running.log.count("ghost cannot be started") >= 2, "it was tried twice")
        assert "No such file or directory: /nowhere/at/all" in running.log


async def test_processes_stop_rank_by_rank(supervise) -> None:
    code = """
import signal, sys, time
def stop(*_):
    print("stopping {0}"); time.sleep({1}); print("stopped {0}"); sys.exit()
signal.signal(signal.SIGTERM, stop); print("up {0}"); signal.pause()
"""
    specs = [
        python(name, code.format(name, rank and 0.01), stop_rank=rank) for name, rank in (("c", 2), ("a", 0), ("b", 1))
    ]
    async with supervise(*specs) as running:
        await running.until(lambda: running.log.count("up ") == 3, "all are up")
    said = [line.split("| ")[1] for line in running.log.splitlines() if "topp" in line]
    assert said == ["stopping a", "stopped a", "stopping b", "stopped b", "stopping c", "stopped c"]


async def test_a_process_that_does_not_stop_is_killed_with_all_it_started(
    supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_WITHIN", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{deaf}; import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}]); print('up'); {WAITS}"
    async with supervise(python("deaf", code)) as running:
        await running.until(lambda: "up" in running.log, "it is up")
        family = [psutil.Process(running.pid("deaf")), *psutil.Process(running.pid("deaf")).children()]
        assert len(family) == 2
    assert "deaf has not stopped within 0.1 s and is killed" in running.log
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


async def test_a_grandchild_that_holds_the_output_does_not_hide_the_death(supervise) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}]); print('up'); {WAITS}"
    async with supervise(python("parent", code)) as running:
        await running.until(lambda: "up" in running.log, "it is up")
        old = running.pid("parent")
        os.kill(old, signal.SIGKILL)
        await running.until(lambda: running.pid("parent") not in (None, old), "it was started again")


async def test_a_process_that_refuses_its_settings_stops_the_others_and_is_named(supervise) -> None:
    refuses = python("proud", "import time; time.sleep(0.2); print('fastcms: PORT: no good'); raise SystemExit(2)")
    with pytest.raises(Refused, match="proud will not start: PORT: no good"):
        async with supervise(python("other", f"print('up'); {WAITS}"), refuses) as running:
            await running.until(lambda: "other" in running.log, "the other is up")
            await running.until(lambda: running.pid("other") is None, "the other was stopped")


async def test_once_settled_exit_code_2_is_a_death_like_any_other(supervise) -> None:
    async with supervise(python("proud", "raise SystemExit(2)")) as running:
        running.supervisor.settled = True
        await running.until(lambda: running.log.count("exit code 2") >= 2, "it was started again")


async def test_small_talk_is_not_printed(supervise) -> None:
    code = "print('good morning'); print('the house is on fire'); import signal; signal.pause()"
    async with supervise(python("chatty", code, unheard=re.compile(rb"^good"))) as running:
        await running.until(lambda: "fire" in running.log, "what matters is printed")
        assert "good morning" not in running.log


async def test_a_process_gets_no_signal_of_the_terminal(supervise) -> None:
    async with supervise(python("child", WAITS)) as running:
        await running.until(lambda: running.pid("child"), "it is up")
        assert os.getpgid(running.pid("child")) == running.pid("child") != os.getpgrp()
