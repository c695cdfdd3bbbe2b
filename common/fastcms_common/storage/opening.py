"""`STORAGE_URL` to a store."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastcms_common.storage.snapshots import mongo_name, sqlite_file
from fastcms_common.storage.store import Store


async def open_store(url: str, name: str) -> Store:
    """Opens the database `name` at `url`. ValueError for a URL that is neither of these:

    - `sqlite:///absolute/folder` or `sqlite:relative/folder`: the file `<name>.db` in it (made if missing); a path that
      ends in `.db` is the file itself.
    - `mongodb://…` or `mongodb+srv://…`: the database `<base>_<name>`, where the base is the database that the URL
      names, else `fastcms`. (Never `<name>` alone: `admin` is MongoDB's own.)

    MongoDB need not be up: calls raise Unavailable until it is.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path:
            raise ValueError("a SQLite URL is sqlite:///absolute/folder or sqlite:relative/folder")
        from fastcms_common.storage.sqlite_store import SqliteStore

        return await SqliteStore.open(sqlite_file(url, name))
    if parts.scheme in ("mongodb", "mongodb+srv"):
        from fastcms_common.storage.mongo_store import MongoStore

        return await MongoStore.open(url, mongo_name(url, name))
    raise ValueError(f"a storage URL starts with sqlite: or mongodb:, not {parts.scheme}:")
