"""MongoDB databases copied while others write.

A snapshot session (MongoDB 5.0, replica sets and sharded clusters) reads them as they were at one moment. Documents are
copied as the BSON that the server sends, and never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from bson import decode_file_iter, json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel, MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from fastcms_common.storage.snapshots import Advance, CopyFailed, Destination, Snapshot

Client = MongoClient[dict[str, Any]]
INDEXES = "indexes.json"
BATCH = 500
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class MongoSnapshot(Snapshot):
    """Databases by name, as (STORAGE_URL, the database's name there)."""

    def __init__(self, databases: Mapping[str, tuple[str, str]], *, fuzzy: bool) -> None:
        self._databases = databases
        self._fuzzy = fuzzy
        self._stack = ExitStack()
        self._clients: dict[str, Client] = {}
        self._sessions: dict[str, ClientSession | None] = {}

    def __enter__(self) -> Self:
        try:
            with _translated():
                for name in self._databases:
                    self._clients[name] = self._client(name)
                self.consistent = all(_shows_one_moment(client) for client in self._clients.values())
                if not self.consistent and not self._fuzzy:
                    raise CopyFailed(
                        "this MongoDB is no replica set and cannot show its data as they were at one moment: make it "
                        "one, or stop the suite and use --without-snapshot"
                    )
                for name, client in self._clients.items():
                    self._sessions[name] = self._begin(name, client) if self.consistent else None
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def parts(self) -> dict[str, int]:
        parts = {}
        with _translated():
            for name in self._databases:
                for collection in self._collections(name):
                    parts[f"{name}/{collection}.bson"] = self._size(name, collection)
                parts[f"{name}/{INDEXES}"] = 0
        return parts

    def copy(self, part: str, target: Path, advance: Advance) -> None:
        name, _, member = part.partition("/")
        with _translated():
            if member == INDEXES:
                target.write_text(json_util.dumps(self._indexes(name)), "utf-8")
                return
            collection = self._db(name)[member.removesuffix(".bson")]
            found = collection.find_raw_batches({}, sort=[("_id", 1)], session=self._sessions[name])
            with target.open("wb") as file:
                for batch in found:
                    file.write(batch)
                    advance(len(batch))

    def _client(self, name: str) -> Client:
        client: Client = MongoClient(self._databases[name][0], serverSelectionTimeoutMS=5000)
        self._stack.callback(client.close)
        return client

    def _begin(self, name: str, client: Client) -> ClientSession:
        """A session whose first read, done here, sets the moment."""
        session = self._stack.enter_context(client.start_session(snapshot=True))
        self._db(name)["_tables"].find_one({}, session=session)
        return session

    def _db(self, name: str) -> Any:
        return self._clients[name][self._databases[name][1]]

    def _collections(self, name: str) -> list[str]:
        return sorted(one for one in self._db(name).list_collection_names() if not one.startswith("system."))

    def _size(self, name: str, collection: str) -> int:
        return int(self._db(name).command("collStats", collection).get("size", 0))

    def _indexes(self, name: str) -> dict[str, Any]:
        return {one: list(self._db(name)[one].list_indexes()) for one in self._collections(name)}


class MongoDestination(Destination):
    """Databases by name, as (STORAGE_URL, the database's name there)."""

    def __init__(self, databases: Mapping[str, tuple[str, str]]) -> None:
        self._databases: dict[str, Any] = {
            name: MongoClient(url, serverSelectionTimeoutMS=5000, w="majority", journal=True)[database]
            for name, (url, database) in databases.items()
        }

    def occupied(self) -> list[str]:
        with _translated():
            return [f"the database {db.name}" for db in self._databases.values() if db.list_collection_names()]

    def clear(self, aside: str) -> None:
        """See `Destination`; nothing is kept `aside`."""
        with _translated():
            for db in self._databases.values():
                # Collection by collection: a user with readWrite may not drop the database.
                for collection in db.list_collection_names():
                    if not collection.startswith("system."):
                        db.drop_collection(collection)

    def put(self, part: str, source: Path) -> None:
        name, _, member = part.partition("/")
        if name not in self._databases or not member:
            raise CopyFailed(f"the backup holds {part}, for which there is no place here")
        db = self._databases[name]
        with _translated():
            if member == INDEXES:
                for collection, indexes in json_util.loads(source.read_text("utf-8")).items():
                    _build(db[collection], indexes)
                return
            collection = member.removesuffix(".bson")
            db.create_collection(collection)
            raw = db.get_collection(collection, codec_options=RAW)
            with source.open("rb") as file:
                batch: list[RawBSONDocument] = []
                for document in decode_file_iter(file, RAW):
                    batch.append(document)
                    if len(batch) == BATCH:
                        raw.insert_many(batch)
                        batch = []
                if batch:
                    raw.insert_many(batch)

    def close(self) -> None:
        for db in self._databases.values():
            db.client.close()


def _shows_one_moment(client: Client) -> bool:
    hello = client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _build(collection: Any, indexes: list[dict[str, Any]]) -> None:
    models = []
    for index in indexes:
        if index["name"] != "_id_":
            options = {key: value for key, value in index.items() if key not in ("v", "key", "ns")}
            models.append(IndexModel(list(index["key"].items()), **options))
    if models:
        collection.create_indexes(models)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise CopyFailed(f"MongoDB: {str(error).splitlines()[0][:300]}") from None
