"""Whole databases, read as they are at one moment while others write, and put back: for backups.

A copy consists of named parts. `Snapshot.parts` says which, `copy` writes one of them into a file. A SQLite database is
one part, the file `<database>.db`; those of a MongoDB database are `<database>/<collection>.bson` (documents one after
the other, as `mongodump` writes them) and `<database>/indexes.json`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

Advance = Callable[[int], None]


class CopyFailed(Exception):
    """A database cannot be copied, or a copy cannot be put where it was to go; the text says why."""


class Snapshot(ABC):
    """Several databases at one moment, all of one engine. A context manager; CopyFailed from everything."""

    consistent: bool = True
    """Whether each database is shown as it was at one moment."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def parts(self) -> dict[str, int]:
        """The names of all parts, and about how many bytes each has."""

    @abstractmethod
    def copy(self, part: str, target: Path, advance: Advance) -> None:
        """Writes the part into the file `target`, calling `advance` with how many more bytes are done."""


class Destination(ABC):
    """Where databases are put back: those that the parts name, all of one engine. CopyFailed from everything."""

    @abstractmethod
    def occupied(self) -> list[str]:
        """What is there already, in words; nothing where a copy may come in."""

    @abstractmethod
    def clear(self, aside: str) -> None:
        """Takes away what is there. SQLite files are moved into a folder `aside` beside them, MongoDB's are dropped."""

    @abstractmethod
    def put(self, part: str, source: Path) -> None:
        """Puts one part back."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything."""


def engine_of(urls: Mapping[str, str]) -> str:
    """`sqlite` or `mongodb`: the engine of all these STORAGE_URLs. CopyFailed where they are not of one."""
    engines = {"mongodb" if url.startswith("mongodb") else "sqlite" for url in urls.values()}
    if len(engines) != 1:
        raise CopyFailed("the databases of one suite are all on one engine")
    return engines.pop()


def snapshot(urls: Mapping[str, str], *, fuzzy: bool = False) -> Snapshot:
    """The databases at these STORAGE_URLs, by name. `fuzzy`: also of a server that cannot show one moment."""
    if engine_of(urls) == "sqlite":
        from fastcms_common.storage.sqlite_snapshots import SqliteSnapshot

        return SqliteSnapshot({name: sqlite_file(url, name) for name, url in urls.items()})
    from fastcms_common.storage.mongo_snapshots import MongoSnapshot

    return MongoSnapshot({name: (url, mongo_name(url, name)) for name, url in urls.items()}, fuzzy=fuzzy)


def destination(urls: Mapping[str, str]) -> Destination:
    """Where the databases at these STORAGE_URLs are to be put, by name."""
    if engine_of(urls) == "sqlite":
        from fastcms_common.storage.sqlite_snapshots import SqliteDestination

        return SqliteDestination({name: sqlite_file(url, name) for name, url in urls.items()})
    from fastcms_common.storage.mongo_snapshots import MongoDestination

    return MongoDestination({name: (url, mongo_name(url, name)) for name, url in urls.items()})


def sqlite_file(url: str, name: str) -> Path:
    """The file that a `sqlite:` STORAGE_URL means for the database `name`; see `open_store`."""
    path = Path(unquote(urlsplit(url).path))
    return path if path.suffix == ".db" else path / f"{name}.db"


def mongo_name(url: str, name: str) -> str:
    """The database that a `mongodb:` STORAGE_URL means for `name`; see `open_store`."""
    return f"{urlsplit(url).path.strip('/') or 'fastcms'}_{name}"
