"""`STORAGE_URL` to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

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

        path = Path(unquote(parts.path))
        return await SqliteStore.open(path if path.suffix == ".db" else path / f"{name}.db")
    if parts.scheme in ("mongodb", "mongodb+srv"):
        from fastcms_common.storage.mongo_store import MongoStore

        base = parts.path.strip("/") or "fastcms"
        return await MongoStore.open(url, f"{base}_{name}")
    raise ValueError(f"a storage URL starts with sqlite: or mongodb:, not {parts.scheme}:")
