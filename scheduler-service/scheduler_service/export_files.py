"""The files of export jobs, as admins see them: a folder that workers write into and scheduler-service reads.

A name from outside is looked at before any path is made of it, and what stands under a good name has to be a regular
file: so neither `..` nor a link leads anywhere else.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fastcms_common.errors import NotFound, Unavailable

_NAME = re.compile(r"([a-z][a-z0-9_]{0,62})-([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}\.(ndjson|csv)")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file that is complete. `size` in bytes; `created` is when its run began."""

    name: str
    task: str
    format: str
    size: int
    created: datetime


def file_name(task: str, run_id: str, format: str) -> str:
    """The file of a run. The time is that of its id (UUIDv7), so that whoever does the run gives it the same name."""
    millis = int(run_id.replace("-", "")[:12], 16)
    moment = datetime.fromtimestamp(millis / 1000, UTC)
    return f"{task}-{moment:{_TIME}}-{run_id[-8:]}.{format}"


class ExportFiles:
    """The files in `folder`. A folder that is not there has none; Unavailable where it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def page(self, task: str, limit: int, offset: int) -> tuple[list[ExportFile], int]:
        """One page of a job's files, or of all where `task` is empty, the newest first, and how many there are."""
        found = await asyncio.to_thread(self._all)
        wanted = [file for file in found if task in ("", file.task)]
        wanted.sort(key=lambda file: (file.created, file.name), reverse=True)
        return wanted[offset : offset + limit], len(wanted)

    async def open(self, name: str) -> tuple[ExportFile, BinaryIO]:
        """A file for reading; the caller closes it. Raises NotFound (EXPORT_NOT_FOUND)."""
        return await asyncio.to_thread(self._open, name)

    async def remove(self, name: str) -> ExportFile:
        """Removes a file; what it was. Raises NotFound (EXPORT_NOT_FOUND)."""
        return await asyncio.to_thread(self._remove, name)

    def _all(self) -> list[ExportFile]:
        try:
            with os.scandir(self._folder) as entries:
                return [file for entry in entries if (file := self._look(entry.name)) is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(error) from error

    def _look(self, name: str) -> ExportFile | None:
        try:
            return _described(name, (self._folder / name).lstat()) if _NAME.fullmatch(name) else None
        except FileNotFoundError:
            # It went while the folder was read.
            return None

    def _open(self, name: str) -> tuple[ExportFile, BinaryIO]:
        if _NAME.fullmatch(name) is None:
            raise _no_such_file()
        try:
            # Without waiting for a writer, should somebody have put a pipe there.
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise (_unreadable(error) if self._look(name) is not None else _no_such_file()) from error
        file = _described(name, os.fstat(descriptor))
        if file is None:
            os.close(descriptor)
            raise _no_such_file()
        return file, os.fdopen(descriptor, "rb")

    def _remove(self, name: str) -> ExportFile:
        file = self._look(name)
        if file is None:
            raise _no_such_file()
        try:
            (self._folder / name).unlink()
        except FileNotFoundError as error:
            raise _no_such_file() from error
        except OSError as error:
            raise _unreadable(error) from error
        return file


def _described(name: str, found: os.stat_result) -> ExportFile | None:
    parts = _NAME.fullmatch(name)
    if parts is None or not stat.S_ISREG(found.st_mode):
        return None
    try:
        created = datetime.strptime(parts[2], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return ExportFile(name, parts[1], parts[3], found.st_size, created)


def _no_such_file() -> NotFound:
    return NotFound("There is no such export.", reason="EXPORT_NOT_FOUND")


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(f"The exports cannot be reached: {error.strerror}.")
