"""SQLite files copied while others write: a read transaction holds the moment, SQLite's backup API copies its pages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import apsw

from fastcms_common.storage.snapshots import Advance, CopyFailed, Destination, Snapshot

PAGES = 1024
PAGE_BYTES = 4096


class SqliteSnapshot(Snapshot):
    """All files at one moment, but for the milliseconds between opening the first and the last."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {f"{name}.db": file for name, file in files.items()}
        self._connections: dict[str, apsw.Connection] = {}

    def __enter__(self) -> Self:
        try:
            for part, file in self._files.items():
                if not file.is_file():
                    raise CopyFailed(f"there is no database {file}")
                with _translated(file):
                    self._connections[part] = connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
                    connection.set_busy_timeout(5000)
                    # As long as this transaction lasts the backup below meets no change, and never begins anew.
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def parts(self) -> dict[str, int]:
        return {
            part: int(connection.pragma("page_count") or 0) * int(connection.pragma("page_size") or PAGE_BYTES)
            for part, connection in self._connections.items()
        }

    def copy(self, part: str, target: Path, advance: Advance) -> None:
        with _translated(target):
            copy = apsw.Connection(str(target))
            try:
                with copy.backup("main", self._connections[part], "main") as backup:
                    before = 0
                    while not backup.done:
                        backup.step(PAGES)
                        done = backup.page_count - backup.remaining
                        advance((done - before) * PAGE_BYTES)
                        before = done
                # One file that is whole by itself; the store makes it WAL again.
                copy.pragma("journal_mode", "delete")
            finally:
                copy.close()


class SqliteDestination(Destination):
    """Files in a folder."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {f"{name}.db": file for name, file in files.items()}

    def occupied(self) -> list[str]:
        return [str(file) for file in self._files.values() if file.exists()]

    def clear(self, aside: str) -> None:
        for file in self._files.values():
            for old in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
                if old.exists():
                    kept = file.parent / aside
                    kept.mkdir(mode=0o700, exist_ok=True)
                    old.replace(kept / old.name)

    def put(self, part: str, source: Path) -> None:
        file = self._files.get(part)
        if file is None:
            raise CopyFailed(f"the backup holds {part}, for which there is no place here")
        with _translated(source):
            check = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                found = check.pragma("quick_check")
            finally:
                check.close()
        if found != "ok":
            raise CopyFailed(f"{part} is damaged: {found}")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source.chmod(0o600)
            source.replace(file)
            for path in (file, file.parent):
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
        except OSError as error:
            raise CopyFailed(f"{file} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """There is nothing to let go of."""


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise CopyFailed(f"{file}: {error}") from None
