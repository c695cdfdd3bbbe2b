"""A real Redis for tests that need one without the suite around it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import redis

from fastcms_cli.ports import LOOPBACK, listen
from fastcms_cli.processes import dies_with
from fastcms_cli.redis_server import configuration, find_server
from tests.suite import wait_until

PASSWORD = "test"


class RedisProcess:
    """Started at once; `kill` and `start` let a test take it away and bring it back with its data."""

    def __init__(self, home: Path) -> None:
        with listen(LOOPBACK, 0) as listener:
            port: int = listener.getsockname()[1]
        self.url = f"redis://:{PASSWORD}@{LOOPBACK}:{port}/0"
        self._file = home / "redis.conf"
        self._file.write_text(configuration(home=home, port=port, password=PASSWORD))
        self._log = home / "redis.log"
        self.start()

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [find_server(), self._file],
                stdout=log,
                stderr=log,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 see there
            )
        wait_until(self._answers, f"Redis answers; its log is {self._log}")

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
