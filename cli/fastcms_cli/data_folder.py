"""The data folder of a run: made, locked for this run alone, and the home of its secrets and its run file."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from fastcms_cli.config import BadStart

UNFINISHED = "restore-unfinished"
"""The file that is there while a backup is being put back: a folder that has it is not one to run on."""

LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock: what is left of a run that was just killed needs a moment to go."""


class DataFolder:
    """The folder, held by an advisory lock on the directory itself, so that no lock file can stay behind.

    The lock lives as long as any process holds `lock_fd`; see `lifeline.py` for why that is not the supervisor alone.
    Raises BadStart where the folder cannot be made or written, or where another run has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        try:
            # 0700: hashes, keys and mails are in there, and no other user of the machine has any business with them.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._prove_writable()
            self.lock_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BadStart(f"FASTCMS_DATA_DIR {self.path} is no folder to write in: {error.strerror}") from None
        self._lock()

    def _prove_writable(self) -> None:
        probe = self.path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()

    def _lock(self) -> None:
        give_up = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > give_up:
                    raise BadStart(f"FASTCMS_DATA_DIR {self.path} is in use by another run") from None
                time.sleep(0.05)
            else:
                return

    def folder(self, name: str) -> Path:
        """A folder inside, made where it is missing, for this user alone."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def secret(self, name: str) -> Path:
        """The file `secrets/<name>`: 32 random bytes, base64url without padding, mode 0600, made once."""
        path = self.folder("secrets") / name
        if not path.exists():
            value = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=")
            replace_file(path, value)
        return path

    @property
    def run_file(self) -> Path:
        return self.path / "run.json"

    def write_run_file(self, content: dict[str, Any]) -> None:
        """Say what runs where, for tests and tools; 0600 because the address of Redis carries its password."""
        replace_file(self.run_file, json.dumps(content, indent=2).encode() + b"\n")

    def close(self) -> None:
        self.run_file.unlink(missing_ok=True)
        os.close(self.lock_fd)


def replace_file(path: Path, content: bytes) -> None:
    """Write the whole file or none of it: a crash halfway must not leave half a key behind."""
    part = path.with_name(path.name + ".new")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    part.rename(path)
