"""Starts the whole suite for a test, the way a person does: `fastcms run`, with an environment, in a folder.

The tests see what a person sees: addresses, the log, the run file. Every wait is on a condition and bounded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import psutil

from fastcms_cli.processes import dies_with

START_WITHIN = 60.0
STOP_WITHIN = 40.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, *, within: float = 15.0) -> T:
    """Ask until the answer is true, and return it. Raises AssertionError that says what was waited for."""
    give_up = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)
    return answer


class Suite:
    """A suite that was started; a context manager that stops it."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, log_file: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self._log_file = log_file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything that it has printed so far, all processes together."""
        return self._log_file.read_text(errors="replace")

    def run_info(self) -> dict[str, Any]:
        """What `run.json` says: `pid, base_url, ready, redis_url`, and `processes` by name.

        Of each process `pid` (null while it is down), `deaths`, and the addresses `listen` and `metrics` (null where it
        has none). Empty before it is first written and after the run has ended.
        """
        try:
            content: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        except FileNotFoundError:
            return {}
        # A run that was killed leaves its file to the next one.
        return content if content["pid"] == self.process.pid else {}

    @property
    def base_url(self) -> str:
        return str(self.run_info()["base_url"])

    def address(self, name: str) -> str:
        """`host:port` of the gRPC port of a service (of HTTP for the gateway, of RESP for redis)."""
        return str(self.run_info()["processes"][name]["listen"])

    def pid(self, name: str) -> int | None:
        """The process by that name; None while it is not running."""
        process = self.run_info().get("processes", {}).get(name, {})
        pid: int | None = process.get("pid")
        return pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal one process of the suite; returns the pid that it had, for `wait_restarted`."""
        pid = wait_until(lambda: self.pid(name), f"{name} is running")
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> None:
        """Wait until another process has taken the place of the one with `old_pid`, and the suite is ready again."""
        wait_until(lambda: self.pid(name) not in (None, old_pid), f"{name} is started again")
        self.wait_ready()

    def wait_ready(self, within: float = START_WITHIN) -> None:
        """Wait until `/health/ready` answers 200. Fails at once, with the log, where the run ends instead."""
        try:
            wait_until(self._is_ready, "the suite is ready", within=within)
        except AssertionError as error:
            error.add_note(self.log)
            raise

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the run ended with exit code {self.process.returncode}")
        if not self.run_info().get("ready"):
            return False
        try:
            return httpx.get(f"{self.base_url}/health/ready", timeout=2, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def wait_log(self, text: str, within: float = 15.0) -> None:
        wait_until(lambda: text in self.log, f"the log says {text!r}", within=within)

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything below it, for a look at what is left of them later (`is_running`)."""
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor, unless it has ended, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_WITHIN)


def start_suite(data_dir: Path, *, port: int = 0, wait: bool = True, **environment: str) -> Suite:
    """Run the suite on `data_dir`; port 0 is a free one. `environment` is added to this process's own.

    With `wait` it returns when the suite is ready. What it prints goes to `<data_dir>.log`.
    """
    log_file = data_dir.with_name(data_dir.name + ".log")
    # Tests sign in more often than people do; those about the limits set their own.
    settings = {
        "FASTCMS_PORT": str(port),
        "FASTCMS_DATA_DIR": str(data_dir),
        "RATE_LIMIT_CREDENTIALS_PER_MINUTE": "1000000",
        "RATE_LIMIT_REQUESTS_PER_MINUTE": "10000000",
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fastcms_cli", "run"],
            env=os.environ | settings | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
        )
    suite = Suite(process, data_dir, log_file)
    if wait:
        try:
            suite.wait_ready()
        except BaseException:
            suite.stop()
            raise
    return suite
