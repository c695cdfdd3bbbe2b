"""Empty databases for tests, of either engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastcms_common.storage import Store, Table, open_store
from tests.mongo_server import Kind, MongoServer

ENGINES = ("sqlite", "mongodb")


def needs(*features: str) -> pytest.MarkDecorator:
    """Marks a test of the fixture `storage` that needs these features of a MongoDB server (`tests.mongo_server`)."""
    return pytest.mark.needs(*features)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where an empty database is: `url` is a STORAGE_URL. `kind` is that of the MongoDB server, None for SQLite."""

    engine: str
    url: str
    kind: Kind | None = None

    def needs(self, *features: str) -> None:
        """Skips the test where the server is a stand-in that lacks one of them."""
        for feature in features:
            if self.lacks(feature):
                assert self.kind is not None
                pytest.skip(f"{self.kind.name}: {self.kind.gaps[feature]}")

    def lacks(self, feature: str) -> bool:
        """Whether the server is a stand-in without this feature."""
        return self.kind is not None and feature in self.kind.gaps

    async def open(self, *tables: Table) -> Store:
        """A store there, with these tables."""
        store = await open_store(self.url, "test")
        for table in tables:
            await store.ensure(table)
        return store


def sqlite_storage(home: Path) -> Storage:
    """SQLite files in a folder."""
    return Storage("sqlite", f"sqlite://{home}")


def mongo_storage(server: MongoServer) -> Storage:
    """Databases of a server, named like nobody else's. Skips the test where the engine cannot run on the server."""
    if server.kind.unusable:
        pytest.skip(f"{server.kind.name}: {server.kind.unusable}")
    base = server.new_base()
    return Storage("mongodb", urlsplit(server.url)._replace(path=f"/{base}").geturl(), server.kind)
