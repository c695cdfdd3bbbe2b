"""What the bench asks of a system, and what all of them need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from bench.loads import Load
from bench.progress import say
from fastcms_cli.processes import dies_with

BUILD = Path(__file__).parents[2] / ".build" / "bench"
EMAIL = "root@example.com"
PASSWORD = "Correct horse 1 battery staple"
_START_WITHIN = 60.0


class System(ABC):
    """Started once, filled once, asked many times, stopped."""

    name: str
    version: str

    def __init__(self) -> None:
        self.folder = BUILD / self.name
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def install(self) -> None:
        """Makes it ready to be started."""

    @abstractmethod
    def start(self) -> None:
        """Returns when it answers, on an empty database."""

    @abstractmethod
    def fill(self, count: int) -> None:
        """Makes the admin, the collections and `count` records in each that is read."""

    @abstractmethod
    def load(self, kind: str) -> Load | None:
        """What to ask it for a kind of request; None where it has no such thing."""

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, trust_env=False, headers=headers)

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Spent so far by all of its processes that live."""
        total = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def memory_mib(self) -> float:
        """Of all its processes; what they share is counted once where the system tells (PSS), else each time (RSS)."""
        return sum(mib(process) for process in self.processes())

    def memory_parts(self) -> dict[str, float]:
        """The same by process, where a system is several."""
        return {}

    def _spawn(self, command: list[str], environment: Mapping[str, str], *, folder: Path) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )

    def _wait_until_it_answers(self, path: str) -> None:
        give_up = time.monotonic() + _START_WITHIN
        while True:
            assert self.process is not None
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended instead of answering; see {self._log_name()}")
            try:
                with self.client() as client:
                    if client.get(path).is_success:
                        return
            except httpx.HTTPError:
                pass
            if time.monotonic() > give_up:
                raise SystemExit(f"{self.name} does not answer; see {self._log_name()}")
            time.sleep(0.1)

    def _log_name(self) -> Path:
        return (self.folder / "log").relative_to(BUILD.parents[1])

    def _empty(self) -> Path:
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        return data

    def _install_from_pypi(self, package: str, program: str) -> Path:
        """The program, from an environment of its own that is made once."""
        environment = self.folder / f"venv-{self.version}"
        found = environment / "bin" / program
        if not found.exists():
            say(f"installing {package} {self.version}")
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
            pip = [
                str(environment / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            subprocess.run([*pip, f"{package}=={self.version}"], check=True)
        return found


def mib(process: psutil.Process) -> float:
    """The memory of one process in MiB, as in `System.memory_mib`; 0 where it is gone."""
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
    return float(getattr(memory, "pss", 0) or memory.rss) / 2**20


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is a good one. Ends the bench otherwise: nothing measured after it would mean anything."""
    if not answer.is_success:
        raise SystemExit(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}")
    return answer
